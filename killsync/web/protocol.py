"""One connection: which part of a request or an answer takes too long.

aiohttp has a time limit for the pause between two requests alone. Time is measured for the whole of a head or body, and for
an answer in bytes that were taken, so that a byte now and then changes nothing.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from killsync.logging import Quiet, get_logger

#: From the connection, or from its next request's first byte, to the end of the request's head, seconds.
HEAD_SECONDS = 10.0
#: From there to the end of the request's body.
BODY_SECONDS = 20.0
#: Between two requests: longer than proxies keep theirs (nginx 60), so that it is they who close.
IDLE_SECONDS = 75.0
#: A client that took less than `LEAST_TAKEN` bytes of its answer in this time is cut off.
WRITE_SECONDS = 20.0
LEAST_TAKEN = 65_536
_say = Quiet(get_logger("web"))


class Protocol(RequestHandler):
    """aiohttp's, that also knows since when it waits for what."""

    __slots__ = ("network", "peer_transport", "request_since", "stalled", "waits_since", "watched")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.network: str | None = None
        self.peer_transport: asyncio.Transport | None = None
        #: Since when a request's head is awaited; None while there is a request, or none was begun.
        self.waits_since: float | None = time.monotonic()
        #: The request that is answered, and since when.
        self.watched: web.BaseRequest | None = None
        self.request_since = 0.0
        #: (since when, how much) lies unread without enough of it being taken.
        self.stalled: tuple[float, int] | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether there is no request: neither one that is answered nor one that waits for that."""
        return self._waiter is not None and not self._waiter.done() and not self._messages

    async def start(self) -> None:
        """Answer requests; a connection that has ended before its first turn has none."""
        if self._manager is not None:
            await super().start()

    def data_received(self, data: bytes) -> None:
        if self.waits_since is None and self.is_waiting:
            self.waits_since = time.monotonic()
        super().data_received(data)
        if self.waits_since is not None and not self.is_waiting and self._waiter is not None:
            self.waits_since = None

    @property
    def unread(self) -> int:
        """Bytes of answers that the client has not taken."""
        transport = self.peer_transport
        return transport.get_write_buffer_size() if transport is not None else 0

    def fault(self, now: float) -> str | None:
        """What this connection takes too long over, if anything."""
        if self._stalls(now):
            return "its answer is not taken"
        if self._payload_parser is not None:
            return None  # a WebSocket, which has time limits of its own
        if self.is_waiting:
            self.watched = None
            is_late = self.waits_since is not None and now - self.waits_since > HEAD_SECONDS
            return "its request does not come" if is_late else None
        request = self._current_request
        if request is not None and request is not self.watched:
            self.watched, self.request_since = request, now
        if request is not None and not request._payload.is_eof() and now - self.request_since > BODY_SECONDS:
            return "the body of its request does not come"
        return None

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """Answer what is no request, in a line of the log now and then: aiohttp logs all that was sent, with a traceback.

        Raises:
            ConnectionError: there is nobody to answer.
        """
        if isinstance(exc, ConnectionError):
            raise exc
        if status >= 500:
            return super().handle_error(request, status, exc, message)
        _say("requests not understood", reason=type(exc).__name__, network=self.network)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer was begun already")
        response = web.Response(status=status, text="This is no request of HTTP.\n")
        response.force_close()
        return response

    def _stalls(self, now: float) -> bool:
        unread = self.unread
        if not unread:
            self.stalled = None
        elif self.stalled is None or unread <= self.stalled[1] - LEAST_TAKEN or self._moves(unread):
            self.stalled = (now, unread)
        return self.stalled is not None and now - self.stalled[0] > WRITE_SECONDS

    def _moves(self, unread: int) -> bool:
        """Whether something else lies unread than before: events follow each other, and each is a beginning."""
        assert self.stalled is not None
        return self._payload_parser is not None and unread != self.stalled[1]
