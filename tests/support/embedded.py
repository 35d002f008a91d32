"""Web server and workers in the tests' own process, as `make run` has them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from killsync.cli.inprocess import worker
from killsync.settings import Settings
from tests.support.web_server import served


@contextlib.asynccontextmanager
async def embedded(settings: Settings) -> AsyncIterator[str]:
    """Web server and workers in this process, as `make run` has them."""
    with worker():
        async with served(settings) as url:
            yield url
