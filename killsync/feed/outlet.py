"""What is on its way to the readers of event streams: large events in pieces, and never more of them than a process can hold.

An entry's bytes are shared with whoever else is sent it. A reader holds no more of its own than a piece of it, and when many
slow readers together keep too many different large entries in memory, those that have taken longest are cut off: each comes back
with the number that it has.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Coroutine
from typing import Any

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from killsync.feed.entries import Packed
from killsync.logging import get_logger

log = get_logger("feed")

#: Bytes of an event that are handed on at a time, and that wait in a connection's buffer before its sender waits, too.
PIECE = 16_384
#: Bytes of different large entries that slow readers keep in memory, in all.
MOST_HELD = 32 * 2**20
#: How long a client may take to read an event before it is cut off, seconds.
SEND_SECONDS = 20.0


class Held:
    """The large entries that are on their way to somebody; who has taken longest comes first.

    Attributes:
        in_all: bytes of them, each counted once.
    """

    def __init__(self) -> None:
        self._senders: OrderedDict[asyncio.Transport, Packed] = OrderedDict()
        self._readers: Counter[int] = Counter()
        self.in_all = 0

    def add(self, transport: asyncio.Transport, entry: Packed) -> None:
        """*entry* goes to *transport* from now on; where that is too much, others are cut off."""
        self._senders[transport] = entry
        self._readers[entry.sequence] += 1
        if self._readers[entry.sequence] == 1:
            self.in_all += len(entry.body)
        while self.in_all > MOST_HELD and len(self._senders) > 1:
            slowest = next(iter(self._senders))
            log.info("slow client cut off: it keeps too much in memory with others")
            self.drop(slowest)
            slowest.abort()

    def drop(self, transport: asyncio.Transport) -> None:
        """Nothing goes to *transport* any more."""
        entry = self._senders.pop(transport, None)
        if entry is None:
            return
        self._readers[entry.sequence] -= 1
        if self._readers[entry.sequence] <= 0:
            del self._readers[entry.sequence]
            self.in_all -= len(entry.body)


class Outlet:
    """The way to one reader. Only one task sends at a time."""

    def __init__(
        self, response: web.StreamResponse, writer: AbstractStreamWriter, transport: asyncio.Transport, held: Held
    ) -> None:
        transport.set_write_buffer_limits(high=PIECE)
        self._response = response
        self._writer = writer
        self._transport = transport
        self._held = held

    @property
    def is_open(self) -> bool:
        return not self._transport.is_closing()

    @property
    def waiting(self) -> int:
        """Bytes of its own that wait in this process for the client."""
        return self._transport.get_write_buffer_size()

    async def say(self, line: bytes) -> None:
        """Send something short.

        Raises:
            ConnectionError: the client has gone, or does not read.
        """
        await self._in_time(self._write(line))

    async def tell(self, entry: Packed, before: bytes = b"") -> None:
        """Send an entry as an event, with *before* in front of it.

        Raises:
            ConnectionError: the client has gone, or does not read.
        """
        start = b"%bid: %d\ndata: " % (before, entry.sequence)
        if len(entry.body) <= PIECE:
            await self._in_time(self._write(b"%b%b\n\n" % (start, entry.body)))
            return
        self._held.add(self._transport, entry)
        try:
            await self._in_time(self._pieces(start, memoryview(entry.body), b"\n\n"))
        finally:
            self._held.drop(self._transport)

    async def _pieces(self, start: bytes, body: memoryview, end: bytes) -> None:
        await self._write(start)
        for place in range(0, len(body), PIECE):
            await self._write(body[place : place + PIECE])
        await self._write(end)

    async def _write(self, data: bytes | memoryview) -> None:
        await self._response.write(data)
        # The library waits for the client only after 64 KB.
        await self._writer.drain()

    async def _in_time(self, sending: Coroutine[Any, Any, None]) -> None:
        try:
            await asyncio.wait_for(sending, SEND_SECONDS)
        except TimeoutError:
            log.info("slow client cut off")
            self._transport.abort()
            raise ConnectionResetError("the client does not read") from None
