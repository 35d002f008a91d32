"""ESI's answers: errors, and bodies that may be cached and asked for again by their ETag."""

from __future__ import annotations

from aiohttp import web

from simulator.headers import etag_of, http_date


class Refused(Exception):
    """An error answer."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status, self.text = status, text


def cache_headers(etag: str, made_at: float, expires: float, now: float, age: float) -> dict[str, str]:
    """The headers of a body that was made at one moment and is kept until another."""
    return {
        "ETag": f'"{etag}"',
        "Date": http_date(int(now)),
        "Expires": http_date(int(expires)),
        "Last-Modified": http_date(int(made_at)),
        "Cache-Control": f"private, max-age={int(age)}",
    }


def cacheable(request: web.Request, body: bytes, now: float, age: float, etag: str = "") -> web.Response:
    """A body that anybody may keep for *age* seconds, or 304 to whoever has it."""
    etag = etag or etag_of(body)
    headers = cache_headers(etag, now, now + age, now, age)
    if request.headers.get("If-None-Match", "").removeprefix("W/").strip('"') == etag:
        return web.Response(status=304, headers=headers)
    return web.Response(body=body, content_type="application/json", headers=headers)
