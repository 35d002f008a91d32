"""What holds for every answer of the feeds: any site's page may read it, nobody may ask without end, errors are JSON."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from aiohttp import web

from killsync.web.security import check_rate, has_begun
from models.errors import is_away
from models.threads import Busy
from models.work import OutOfTime

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "ETag, Retry-After",
    "Cross-Origin-Resource-Policy": "cross-origin",
    # It is data: a browser that shows it runs nothing.
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
#: Of answers that nobody keeps.
NEVER_KEPT = {**CORS, "Cache-Control": "no-store"}
_PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, HEAD, OPTIONS",
    "Access-Control-Allow-Headers": "Authorization, If-None-Match, Last-Event-ID, Accept, Cache-Control",
    "Access-Control-Max-Age": "86400",
}


def public(kind: str, handler: Handler) -> Handler:
    """*handler* for everybody; *kind* is the rate that its callers are held to."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response: web.StreamResponse
        try:
            check_rate(request, kind)
            response = await handler(request)
        except web.HTTPException as error:
            headers = {name: error.headers[name] for name in ("Retry-After",) if name in error.headers}
            response = problem(error.status, (error.text or error.reason).strip(), **headers)
        except OutOfTime:
            response = problem(503, "this takes too long: ask for less", **{"Retry-After": "60"})
        except Exception as error:
            # One that has begun is beyond help, and `killsync.web.security` cuts it off.
            if has_begun(request) or not (isinstance(error, Busy) or is_away(error)):
                raise
            response = problem(503, "the server is busy", **{"Retry-After": "5"})
        if not response.prepared:
            response.headers.update(CORS)
        return response

    return answer


async def preflight(_request: web.Request) -> web.Response:
    """OPTIONS: what a browser asks before it lets another site's page ask."""
    return web.Response(status=204, headers={**CORS, **_PREFLIGHT})


async def wrong_method(_request: web.Request) -> web.Response:
    """Whatever would change something: there is nothing to change."""
    answer = problem(405, "this is read with GET", Allow="GET, HEAD, OPTIONS")
    answer.headers.update(CORS)
    return answer


def problem(status: int, text: str, **headers: str) -> web.Response:
    """An error as programs read it; nobody keeps it."""
    return web.Response(
        status=status, body=error_body(text), content_type="application/json",
        headers={"Cache-Control": "no-store", **headers},
    )  # fmt: skip


def error_body(text: str) -> bytes:
    """An error, said in JSON."""
    return msgspec.json.encode({"error": text})


def answer(request: web.Request, body: bytes, gzipped: bytes | None, etag: str, cache: str) -> web.Response:
    """JSON that may be kept: 304 for who has it, packed for who takes it."""
    headers: dict[str, Any] = {"Cache-Control": cache, "ETag": f'"{etag}"', "Vary": "Accept-Encoding"}
    known = request.headers.get("If-None-Match")
    if known is not None and (known.strip() == "*" or etag in known):
        return web.Response(status=304, headers=headers)
    if gzipped is not None and "gzip" in request.headers.get("Accept-Encoding", ""):
        headers["ETag"] = f'"{etag}-gzip"'
        headers["Content-Encoding"] = "gzip"
        body = gzipped
    return web.Response(body=body, content_type="application/json", headers=headers)
