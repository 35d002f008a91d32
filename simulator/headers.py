"""Headers of cached answers, and answers that anybody may have."""

from __future__ import annotations

import hashlib
from email.utils import formatdate
from functools import lru_cache

from aiohttp import web


@lru_cache(maxsize=4096)
def http_date(second: int) -> str:
    """An HTTP date of whole epoch seconds."""
    return formatdate(second, usegmt=True)


def etag_of(body: bytes) -> str:
    """The ETag of a body, without its quotes."""
    return hashlib.sha1(body, usedforsecurity=False).hexdigest()


def cache_headers(etag: str, made_at: float, expires: float, now: float, age: float) -> dict[str, str]:
    """The headers of an answer that ESI's cache holds."""
    return {
        "ETag": f'"{etag}"',
        "Date": http_date(int(now)),
        "Expires": http_date(int(expires)),
        "Last-Modified": http_date(int(made_at)),
        "Cache-Control": f"private, max-age={int(age)}",
    }


def public(request: web.Request, body: bytes, now: float, age: float, etag: str = "") -> web.Response:
    """A public answer that is cached for *age* seconds; 304 for who has it."""
    etag = etag or etag_of(body)
    headers = cache_headers(etag, now, now + age, now, age)
    if request.headers.get("If-None-Match", "").removeprefix("W/").strip('"') == etag:
        return web.Response(status=304, headers=headers)
    return web.Response(body=body, content_type="application/json", headers=headers)
