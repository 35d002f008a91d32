"""A worker inside this process, on Dramatiq's in-memory broker: for `run`, `demo` and a sync in the foreground."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from killsync import settings as settings_module

#: Worker threads of the embedded mode: enough to keep ESI's latency from mattering, few enough for SQLite.
THREADS = 8


def choose_memory_broker() -> None:
    """Make this process use the in-memory broker. Call it before anything imports `actors`."""
    os.environ["BROKER_URL"] = "memory://"
    settings_module.current.cache_clear()


@contextmanager
def worker() -> Iterator[None]:
    """Workers on every queue while the block runs. What they leave behind is in the ledger, not in memory."""
    import dramatiq

    import actors  # noqa: F401 - makes the broker and declares the actors
    from killsync import http_session
    from killsync.broker.memory import MemoryBroker

    broker = dramatiq.get_broker()
    assert isinstance(broker, MemoryBroker)
    running = dramatiq.Worker(broker, worker_timeout=100, worker_threads=THREADS)
    running.start()
    broker.worker_threads = THREADS
    try:
        yield
    finally:
        broker.worker_threads = 0
        running.stop(timeout=10_000)
        http_session.close()
