"""Web server and workers in the tests' own process, as `make run` has them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import dramatiq

from killsync.broker import queues
from killsync.cli.inprocess import worker
from killsync.settings import Settings
from tests.support.web_server import served


@contextlib.asynccontextmanager
async def embedded(settings: Settings) -> AsyncIterator[str]:
    """Web server and workers in this process, as `make run` has them."""
    for queue in dramatiq.get_broker().queues.values():
        # A worker that stops puts back what it has fetched ahead, which counts it twice.
        with queue.mutex:
            queue.queue.clear()
            queue.unfinished_tasks = 0
    with worker():
        async with served(settings) as url:
            yield url


def has_syncs() -> bool:
    """Whether a sync's message waits or is worked on: what comes after a sync, such as its corporation's, is asked for in it."""
    held = dramatiq.get_broker().queues
    return any(
        held[name].unfinished_tasks for name in (queues.USER_KILLMAILS, f"{queues.USER_KILLMAILS}.DQ") if name in held
    )
