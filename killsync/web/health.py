"""/healthz (this process) and /readyz (database and broker)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiohttp import web

from killsync.observability.queries import ping
from models.threads import in_db

#: Seconds a check may take before the part counts as down.
CHECK_SECONDS = 4.0

PING_BROKER: web.AppKey[Callable[[], None]] = web.AppKey("ping_broker")


async def healthz(_request: web.Request) -> web.Response:
    """The process answers."""
    return web.json_response({"status": "ok"})


async def readyz(request: web.Request) -> web.Response:
    """Database and broker answer; 503 names the one that does not."""
    down = {}
    for name, check in (("database", ping), ("broker", request.app[PING_BROKER])):
        problem = await _problem(name, check)
        if problem:
            down[name] = problem
    states = {name: down.get(name, "ok") for name in ("database", "broker")}
    return web.json_response({"status": "down" if down else "ok", **states}, status=503 if down else 200)


async def _problem(name: str, check: Callable[[], object]) -> str | None:
    try:
        if name == "database":
            await asyncio.wait_for(in_db(check), CHECK_SECONDS)
        else:
            await asyncio.wait_for(asyncio.get_running_loop().run_in_executor(None, check), CHECK_SECONDS)
    except TimeoutError:
        return f"the {name} does not answer in {CHECK_SECONDS:.0f} s"
    except Exception as error:
        if getattr(error, "is_refusal", False):
            return f"the {name} does not let us in: user, password or vhost are wrong"
        return f"the {name} does not answer"
    return None


def setup(app: web.Application, ping_broker: Callable[[], None]) -> None:
    """Add the routes."""
    app[PING_BROKER] = ping_broker
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
