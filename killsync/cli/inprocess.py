"""Workers, web server and scheduler inside this process, on Dramatiq's in-memory broker.

`run` and `demo` use all three, `killsync sync` the workers alone. The parts are the ones of production; the settings of the
process (`killsync.process.begin`) name the in-memory broker before any of them is started.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import dramatiq
from aiohttp import web

from killsync import http_session
from killsync.broker.memory import MemoryBroker
from killsync.settings import Settings
from killsync.web.connections import listen

#: Worker threads of this process, as many as one of a deployment has: they wait for ESI most of the time, or to write.
THREADS = 16


@contextmanager
def worker() -> Iterator[None]:
    """Workers on every queue while the block runs. What they leave behind is in the ledger, not in memory."""
    import actors  # noqa: F401 - makes the broker of the settings and declares the actors

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


@contextmanager
def web_server(settings: Settings) -> Iterator[None]:
    """The web server of *settings* in a thread of its own while the block runs."""
    from graphql_api.app import create_app

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="web", daemon=True)
    thread.start()

    async def begin() -> web.AppRunner:
        return await listen(await create_app(settings), settings.web_host, settings.web_port)

    runner = asyncio.run_coroutine_threadsafe(begin(), loop).result(timeout=30)
    try:
        yield
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(timeout=30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=10)
        loop.close()


@contextmanager
def ticks(settings: Settings) -> Iterator[None]:
    """The scheduler's ticks while the block runs."""
    from killsync.scheduling.scheduler import Scheduler

    scheduler = Scheduler(settings)
    scheduler.start()
    try:
        yield
    finally:
        scheduler.stop()


def stop_signal() -> threading.Event:
    """An event that Ctrl-C and SIGTERM set."""
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    return stopped
