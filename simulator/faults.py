"""Faults on request: what goes wrong, on which routes, how often and for how long."""

from __future__ import annotations

import asyncio
import fnmatch
import random
from dataclasses import dataclass
from typing import Any

from aiohttp import web

HTML = "<html><head><title>{0}</title></head><body><center><h1>{0}</h1></center><hr>gateway</body></html>"


@dataclass
class Fault:
    """One thing that goes wrong.

    Attributes:
        path: a shell pattern over the request's path, such as `/killmails/*`.
        kind: "status", "html", "cut", "reset", "drip", "big", "error object", "content type", "wrong types",
            "string ids", "redirect", "latency", "no headers 429", "not json".
        status: for "status" and "html".
        probability: of each matching request.
        count: how many requests it strikes; None for all.
        seconds: for "latency" and "drip".
        until: simulated epoch seconds at which it ends; None for never.
        skip: matching requests that pass before it strikes.
    """

    path: str = "*"
    kind: str = "status"
    status: int = 502
    probability: float = 1.0
    count: int | None = None
    seconds: float = 0.0
    until: float | None = None
    skip: int = 0

    def strikes(self, path: str, now: float, rng: random.Random) -> bool:
        """Whether it strikes this request; counts it."""
        if not fnmatch.fnmatchcase(path, self.path) or (self.until is not None and now >= self.until):
            return False
        if self.count == 0 or rng.random() >= self.probability:
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        if self.count is not None:
            self.count -= 1
        return True


#: Faults that stand in for the real answer, before any of the route's work and accounting.
BEFORE = {"reset", "html", "no headers 429"}


async def before(fault: Fault, request: web.Request) -> web.StreamResponse:
    """The answer of a fault that strikes before the route."""
    if fault.kind == "reset":
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=500)
    if fault.kind == "no headers 429":
        return web.json_response({"error": "Too many requests"}, status=429, headers={"Retry-After": "3"})
    return web.Response(status=fault.status, text=HTML.format(f"{fault.status} Bad Gateway"), content_type="text/html")


async def after(fault: Fault, request: web.Request, response: web.Response) -> web.StreamResponse:
    """The route's answer, spoiled."""
    body = response.body if isinstance(response.body, bytes) else b""
    headers = {name: value for name, value in response.headers.items() if name.lower() != "content-length"}
    if fault.kind == "latency":
        await asyncio.sleep(fault.seconds)
        return response
    if fault.kind in ("cut", "drip"):
        return await _partly(fault, request, response.status, headers, body)
    texts: dict[str, Any] = {
        "big": b'[' + b'"' + b"x" * 5_000_000 + b'"]',
        "error object": b'{"error": "something is wrong"}',
        "not json": b"<html>maintenance</html>",
        "wrong types": b'{"killmail_id": true, "victim": []}',
        "string ids": body.replace(b'"killmail_id":', b'"killmail_id": "1", "_":'),
    }  # fmt: skip
    if fault.kind == "redirect":
        return web.Response(status=301, headers={"Location": "https://elsewhere.invalid/"})
    if fault.kind == "content type":
        headers["Content-Type"] = "text/html"
        return web.Response(status=200, body=body, headers=headers)
    return web.Response(status=200, body=texts[fault.kind], headers=headers)


async def _partly(
    fault: Fault, request: web.Request, status: int, headers: dict[str, str], body: bytes
) -> web.StreamResponse:
    """Promise the whole body, send half of it; at once, or drop by drop."""
    stream = web.StreamResponse(status=status, headers={**headers, "Content-Length": str(len(body))})
    await stream.prepare(request)
    half = body[: len(body) // 2]
    if fault.kind == "cut":
        await stream.write(half)
    else:
        for byte in half:
            await stream.write(bytes([byte]))
            await asyncio.sleep(fault.seconds)
    if request.transport is not None:
        request.transport.close()
    return stream
