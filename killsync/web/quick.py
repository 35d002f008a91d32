"""Answers that nothing but memory is needed for: given before the application's middleware, as bytes that are ready to be sent.

Who gives one answers for what that middleware does: rates, who may read, security headers, and that it is counted.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from email.utils import formatdate
from typing import cast

from aiohttp import HttpVersion11, web

from killsync.web.security import HEADERS, STRICT_TRANSPORT

#: Headers that every such answer has.
_FIXED = {**HEADERS, "Content-Type": "application/json"}


class Ready:
    """What aiohttp asks of a response, and nothing more."""

    __slots__ = ("_data",)
    keep_alive = True

    def __init__(self, data: bytes) -> None:
        self._data = data

    async def prepare(self, request: web.BaseRequest) -> None:
        """Send it; waits while the client does not take what it was given before."""
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client is gone")
        transport.write(self._data)
        await request.writer.drain()

    async def write_eof(self) -> None:
        """Nothing is left to send."""


#: Gives an answer at once, or None where the application has to.
Quick = Callable[[web.Request], Ready | None]
QUICK: web.AppKey[list[Quick]] = web.AppKey("quick")
_Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


def is_plain(request: web.Request) -> bool:
    """Whether a request is a GET without anything that needs a closer look: a body, a key, a condition, an old protocol."""
    headers = request.headers
    return (
        request.method == "GET"
        and request.version == HttpVersion11
        and request.keep_alive
        and not request.can_read_body
        and "Authorization" not in headers
        and "If-None-Match" not in headers
        and "Upgrade" not in headers
    )


def head(status: str, headers: Mapping[str, str], *, is_https: bool) -> bytes:
    """The head of an answer of *status*, such as `200 OK`, but for its date, its length, and what else differs each time."""
    secure = {"Strict-Transport-Security": STRICT_TRANSPORT} if is_https else {}
    lines = [f"{name}: {value}\r\n" for name, value in {**_FIXED, **headers, **secure}.items()]
    return f"HTTP/1.1 {status}\r\n{''.join(lines)}".encode()


class DateLine:
    """The line of a head that says when it was sent."""

    def __init__(self) -> None:
        self._second, self._line = 0, b""

    def now(self) -> bytes:
        second = int(time.time())
        if second != self._second:
            self._second, self._line = second, f"Date: {formatdate(second, usegmt=True)}\r\n".encode()
        return self._line


def quickly(handler: _Handler, quick: list[Quick]) -> _Handler:
    """*handler*, but for what can be answered at once."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        for each in quick:
            ready = each(cast(web.Request, request))
            if ready is not None:
                return cast(web.StreamResponse, ready)
        return await handler(request)

    return answer
