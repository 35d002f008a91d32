"""The overview of this web process: /ops and /metrics read one, as old as each of them takes it, and never two at a time."""

from __future__ import annotations

import asyncio
import time

from aiohttp import web

from killsync.observability.figures import Overview
from killsync.observability.overview import gather


class KeptOverview:
    """The overview as it was last read. Whoever asks while it is being read waits for that; what failed is kept as well."""

    def __init__(self) -> None:
        self._reading: asyncio.Future[Overview] | None = None
        self._began_at = float("-inf")

    async def read(self, max_age: float) -> Overview:
        """The overview, at most *max_age* seconds old.

        Raises:
            Exception: whatever reading it raised, at most *max_age* seconds ago.
        """
        reading = self._reading
        if reading is None or (reading.done() and time.monotonic() - self._began_at >= max_age):
            reading = asyncio.get_running_loop().run_in_executor(None, lambda: gather(exact=False))
            self._reading, self._began_at = reading, time.monotonic()
        # A caller that gives up does not end it for the others.
        return await asyncio.shield(reading)


OVERVIEW = web.AppKey("overview", KeptOverview)


def setup(app: web.Application) -> None:
    """Make the one of this process; whoever needs it may ask for it."""
    if OVERVIEW not in app:
        app[OVERVIEW] = KeptOverview()
