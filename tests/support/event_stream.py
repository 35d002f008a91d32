"""A client of server-sent events as browsers' `EventSource` is: it comes back with the last number it got."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

import aiohttp


class EventStream:
    """Reads `/events` of one server, across everything that may happen to it.

    Attributes:
        entries: what it was given, in order; `told` are their (number, killmail).
        last: the number it comes back with.
        returns: how often it came back.
        refusals: answers that no client can do anything with, such as that the log does not go back so far.
    """

    def __init__(self, url: str, after: int = 0, pause: float = 0.3) -> None:
        self.url, self.last, self.pause = url, after, pause
        self.entries: list[dict[str, Any]] = []
        self.told: list[tuple[int, int]] = []
        self.returns = 0
        self.refusals: list[str] = []

    async def run(self) -> None:
        """Read until cancelled."""
        # A comment comes every 15 seconds: whoever is silent for longer is gone.
        times = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=25)
        # A great battle is one long line.
        async with aiohttp.ClientSession(timeout=times, read_bufsize=2**23) as http:
            while True:
                with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
                    await self._read(http)
                self.returns += 1
                await asyncio.sleep(self.pause)

    async def _read(self, http: aiohttp.ClientSession) -> None:
        headers = {"Last-Event-ID": str(self.last), "Accept": "text/event-stream"}
        async with http.get(f"{self.url}/events", headers=headers) as answer:
            if answer.status != 200:
                if answer.status not in (429, 502, 503):
                    self.refusals.append(f"{answer.status}: {await answer.text()}")
                return
            number, data = None, None
            async for line in answer.content:
                # What has no end was not said: the line, and the event without its empty line.
                if not line.endswith(b"\n"):
                    return
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name == "id":
                    number = int(value)
                elif name == "data":
                    data = value
                elif not name and data is not None and number is not None:
                    entry = json.loads(data)
                    self.entries.append(entry)
                    self.told.append((number, entry["killmail_id"]))
                    self.last, number, data = number, None, None

    def problems(self, log: list[tuple[int, int]]) -> list[str]:
        """How what it was told differs from the log's (number, killmail); nothing when it does not."""
        found = [f"the stream was refused: {text}" for text in dict.fromkeys(self.refusals)]
        if self.told != log:
            found.append(f"the stream told {len(self.told)} events that are not the log's {len(log)}")
        return found
