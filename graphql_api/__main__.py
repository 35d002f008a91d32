"""`python -m graphql_api`: serves page, login and GraphQL on WEB_HOST:WEB_PORT until SIGTERM."""

from __future__ import annotations

import asyncio
import gc
import signal

from graphql_api.app import create_app
from killsync import startup
from killsync.broker.connection import BrokerAway, ping
from killsync.broker.setup import make_broker
from killsync.logging import get_logger
from killsync.settings import Settings, refuse
from killsync.web.connections import listen

log = get_logger("web")


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT."""
    try:
        runner = await listen(await create_app(settings), settings.web_host, settings.web_port)
    except OSError as error:
        refuse(
            f"WEB_HOST:WEB_PORT {settings.web_host}:{settings.web_port} cannot be bound ({error.strerror}): choose another"
        )
    # What was made at the start stays for good: a full collection, which stops everything, need not look at it again.
    gc.collect()
    gc.freeze()
    host, port = runner.addresses[0][:2]
    log.info("web server started", url=f"http://{host}:{port}/")
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    await stopped.wait()
    await runner.cleanup()
    log.info("web server stopped")


def main() -> None:
    """Check the settings and serve."""
    settings = startup.start("database", "broker", "sso", "secrets")
    make_broker(settings)
    try:
        ping()
    except BrokerAway as error:
        log.warning("serving without the broker until it answers", reason=startup.broker_away(settings, error))
    asyncio.run(serve(settings))


if __name__ == "__main__":
    main()
