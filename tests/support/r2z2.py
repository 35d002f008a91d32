"""A client of R2Z2 as its readers are written: the newest number once, then one number after the other; 404 means wait."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Coroutine, Iterator
from typing import Any

import aiohttp


@contextlib.contextmanager
def in_a_thread(*clients: Coroutine[Any, Any, None]) -> Iterator[None]:
    """Have clients run in a thread of their own while the block does."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    running = [asyncio.run_coroutine_threadsafe(client, loop) for client in clients]
    try:
        yield
    finally:
        # One that ended by itself says why.
        faults = [each.exception() for each in running if each.done()]
        for each in running:
            each.cancel()
        with contextlib.suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(asyncio.sleep(0.2), loop).result(5)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
    assert not faults, faults


class R2Z2:
    """Polls one server, across everything that may happen to it.

    Attributes:
        entries: what it was given, in order.
        heard_at: when, on the monotonic clock, by the killmail's id.
    """

    def __init__(self, url: str, pause: float = 1.0, begin: int | None = None) -> None:
        self.url, self.pause, self.next = url, pause, begin
        self.entries: list[dict[str, Any]] = []
        self.heard_at: dict[int, float] = {}

    async def run(self, wanted: int) -> None:
        """Poll until it has so many."""
        async with aiohttp.ClientSession() as http:
            while len(self.entries) < wanted:
                try:
                    await self._step(http)
                except (aiohttp.ClientError, OSError, TimeoutError):
                    await asyncio.sleep(self.pause)

    async def _step(self, http: aiohttp.ClientSession) -> None:
        if self.next is None:
            async with http.get(f"{self.url}/ephemeral/sequence.json") as answer:
                if answer.status == 200:
                    self.next = (await answer.json())["sequence"]
                    return
        else:
            async with http.get(f"{self.url}/ephemeral/{self.next}.json") as answer:
                if answer.status == 200:
                    entry = await answer.json()
                    self.heard_at[entry["killmail_id"]] = time.monotonic()
                    self.entries.append(entry)
                    self.next += 1
                    return
                if answer.status == 429:
                    await asyncio.sleep(float(answer.headers["Retry-After"]))
                    return
                assert answer.status in (404, 503), answer.status
        await asyncio.sleep(self.pause)

    def check(self) -> None:
        """Every number once, in order, and no killmail twice."""
        numbers = [entry["sequence_id"] for entry in self.entries]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), numbers
        assert len({entry["killmail_id"] for entry in self.entries}) == len(numbers)
