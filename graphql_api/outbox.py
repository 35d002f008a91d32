"""What one WebSocket is sent: message by message, each when the one before was taken, and no more of it than one may hold."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import msgspec
from aiohttp import WSMsgType, web

from graphql_api.messages import Close
from killsync.logging import Quiet, get_logger
from killsync.web.shares import Held, Holder, Shares, TooMuch

log = get_logger("socket")
_say = Quiet(log)

#: How long a client may take to read one message before it is cut off, seconds.
SEND_SECONDS = 20.0
#: RFC 6455: closed since the client breaks a rule of this server, and a reason has at most 123 bytes.
POLICY, MOST_REASON = 1008, 120
#: An answer that is not taken lies in memory twice: as it was written, and what is left of it with the transport.
COPIES = 2
#: How long the closing of a socket may take, seconds.
CLOSE_SECONDS = 5.0


class Outbox:
    """The messages to one client."""

    def __init__(self, socket: web.WebSocketResponse, request: web.Request, shares: Shares, holder: Holder) -> None:
        self._socket = socket
        self._request = request
        self._shares = shares
        self._holder = holder
        self._sending = asyncio.Lock()
        self._is_closing = False

    async def taken(self) -> None:
        """Wait until the client has taken what was sent by now."""
        if self._sending.locked():
            async with self._sending:
                pass

    async def send(self, message: dict[str, Any]) -> None:
        """Send a message.

        Raises:
            ConnectionError: the client is gone, or was cut off.
        """
        async with self._sending:
            await self._write(msgspec.json.encode(message))

    async def send_result(self, number: str, body: bytes) -> None:
        """Send the result (JSON) of the operation *number*. Until it is taken it counts for the client.

        Raises:
            ConnectionError: the client is gone, or was cut off.
        """
        held = await self._hold(len(body))
        try:
            async with self._sending:
                await self._write(b'{"id":' + msgspec.json.encode(number) + b',"type":"next","payload":' + body + b"}")
        finally:
            held.release()

    async def send_answer(self, message: list[bytes]) -> None:
        """Send the only element of *message*, which nobody has any more then. Until it is taken it counts for the client.

        Raises:
            ConnectionError: the client is gone, or was cut off.
        """
        held = await self._hold(len(message[0]))
        try:
            async with self._sending:
                await self._write(message.pop())
        finally:
            held.release()

    async def _hold(self, size: int) -> Held:
        """Count *size* bytes for the client.

        Raises:
            ConnectionError: that is more than one may leave lying; the socket was closed.
        """
        try:
            return self._shares.take("bytes of answers not taken", self._holder, COPIES * size)
        except TooMuch as error:
            _say("socket closed", reason="answers not taken", of=error.whose)
            await self.close(
                Close(POLICY, f"{error.what} of one {error.whose}: {error.found}; the limit is {error.limit}")
            )
            raise ConnectionResetError("the client does not take its answers") from None

    async def pong(self, data: bytes) -> None:
        """Answer a ping of the WebSocket protocol."""
        async with self._sending:
            await self._write(data, WSMsgType.PONG)

    async def _write(self, data: bytes, kind: WSMsgType = WSMsgType.TEXT) -> None:
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await self._socket.send_frame(data, kind)
        except TimeoutError:
            _say("socket cut off", reason="slow client")
            self.abort()
            raise ConnectionResetError("the client does not read") from None

    async def close(self, close: Close) -> None:
        """Close the socket with a code and a reason, which a client that does not read cannot keep waiting."""
        if self._is_closing:
            return
        self._is_closing = True
        with contextlib.suppress(ConnectionError):
            try:
                async with asyncio.timeout(CLOSE_SECONDS):
                    await self._socket.close(code=close.code, message=str(close).encode()[:MOST_REASON])
            except TimeoutError:
                self.abort()
            except asyncio.CancelledError:
                # All who wait for room in the connection wait for one future of aiohttp's: who gave up on it cancelled us too.
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    raise
                self.abort()

    def abort(self) -> None:
        """End the connection at once."""
        if self._request.transport is not None:
            self._request.transport.abort()
