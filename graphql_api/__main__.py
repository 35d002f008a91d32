"""`python -m graphql_api`: serves page, login and GraphQL on WEB_HOST:WEB_PORT until SIGTERM."""

from __future__ import annotations

import asyncio
import ctypes
import errno
import signal
import sys

from graphql_api.app import create_app
from killsync import startup, supervision
from killsync.broker.connection import BrokerAway, ping
from killsync.broker.setup import make_broker
from killsync.logging import get_logger
from killsync.settings import Settings, refuse
from killsync.version import is_told, version
from killsync.web.connections import listen

log = get_logger("web")

#: Seconds that open requests get at the end: whoever started this process waits for five.
SHUTDOWN_SECONDS = 2.0
#: `mallopt` of the C library (malloc.h): pools of memory that threads share, and free bytes at the end of one that are kept.
ARENA_MAX, TRIM_THRESHOLD = -8, -1


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT."""
    try:
        runner = await listen(await create_app(settings), settings.web_host, settings.web_port)
    except OSError as error:
        holder = supervision.listener(settings.web_port) if error.errno == errno.EADDRINUSE else None
        what = f"{holder} listens there: end it, or choose" if holder else f"{error.strerror}: choose"
        refuse(f"WEB_HOST:WEB_PORT {settings.web_host}:{settings.web_port} cannot be bound, {what} another")
    startup.spare_garbage_collection()
    host, port = runner.addresses[0][:2]
    log.info("web server started", version=version(), url=f"http://{host}:{port}/")
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    supervision.notify("READY=1")
    await stopped.wait()
    supervision.notify("STOPPING=1")
    await runner.cleanup()
    log.info("web server stopped")


def _give_memory_back() -> None:
    """Have the C library return what is free, where it can be told so (glibc).

    Else each database thread keeps a pool as large as the largest result that it ever read: 70 MB after some great battles.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(ARENA_MAX, 2)
        mallopt(TRIM_THRESHOLD, 131_072)


def main() -> None:
    """Check the settings and serve; `--version` alone is answered."""
    if is_told(sys.argv[1:]):
        return
    _give_memory_back()
    supervision.end_with_manager()
    settings = startup.start("database", "broker", "sso", "secrets")
    make_broker(settings)
    try:
        ping()
    except BrokerAway as error:
        log.warning("serving without the broker until it answers", reason=startup.broker_away(settings, error))
    asyncio.run(serve(settings))


if __name__ == "__main__":
    main()
