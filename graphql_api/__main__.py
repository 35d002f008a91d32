"""`python -m graphql_api`: serves page, login and GraphQL on WEB_HOST:WEB_PORT until SIGTERM."""

from __future__ import annotations

import asyncio
import signal

from aiohttp import web

import logs
from actors import boot, broker
from graphql_api.app import create_app
from settings import Settings, refuse

log = logs.get("web")


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT."""
    runner = web.AppRunner(await create_app(settings), access_log=None, shutdown_timeout=10.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, settings.web_host, settings.web_port).start()
    except OSError as error:
        await runner.cleanup()
        refuse(
            f"WEB_HOST:WEB_PORT {settings.web_host}:{settings.web_port} cannot be bound ({error.strerror}): choose another"
        )
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
    settings = boot.start("database", "broker", "sso", "secrets")
    try:
        broker.ping()
    except broker.BrokerAway:
        log.warning("serving without the broker until it answers", reason=boot.broker_away(settings))
    asyncio.run(serve(settings))


if __name__ == "__main__":
    main()
