"""/healthz (this process) and /readyz (database and broker): cheap, whoever asks, and however often."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor

from aiohttp import web

from killsync.access.decision import Need
from killsync.observability.queries import ping
from killsync.web.guard import needs
from models.db import connection

#: Seconds a check may take before the part counts as down.
CHECK_SECONDS = 4.0
#: Whoever asks, the parts are looked at once in so many seconds.
KEEP_SECONDS = 1.0
PARTS = ("database", "broker")


class Readiness:
    """What the last look at database and broker found. Whoever asks during a look waits for that one.

    It has threads of its own: that readers keep all others busy does not make this process useless.
    """

    def __init__(self, ping_broker: Callable[[], None]) -> None:
        self._checks: dict[str, Callable[[], None]] = {"database": _ping_database, "broker": ping_broker}
        #: One thread for each check, and as many again for those that hang.
        self._threads = ThreadPoolExecutor(2 * len(PARTS), thread_name_prefix="killsync-health")
        self._looking: asyncio.Task[dict[str, str]] | None = None
        self._began_at = float("-inf")

    async def states(self) -> dict[str, str]:
        """`ok`, or what is wrong, of each part."""
        is_old = time.monotonic() - self._began_at >= KEEP_SECONDS
        if self._looking is None or (self._looking.done() and is_old):
            self._began_at = time.monotonic()
            self._looking = asyncio.create_task(self._look())
        return await asyncio.shield(self._looking)

    async def _look(self) -> dict[str, str]:
        found = await asyncio.gather(*(self._state(name) for name in PARTS))
        return dict(zip(PARTS, found, strict=True))

    async def _state(self, name: str) -> str:
        try:
            running = asyncio.get_running_loop().run_in_executor(self._threads, self._checks[name])
            await asyncio.wait_for(running, CHECK_SECONDS)
        except TimeoutError:
            return f"the {name} does not answer in {CHECK_SECONDS:.0f} s"
        except Exception as error:
            if getattr(error, "is_refusal", False):
                return f"the {name} does not let us in: user, password or vhost are wrong"
            return f"the {name} does not answer"
        return "ok"

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


READINESS = web.AppKey("readiness", Readiness)


def _ping_database() -> None:
    with connection():
        ping()


async def healthz(_request: web.Request) -> web.Response:
    """The process answers."""
    return web.json_response({"status": "ok"})


async def readyz(request: web.Request) -> web.Response:
    """Database and broker answer; 503 names the one that does not."""
    states = await request.app[READINESS].states()
    is_down = any(state != "ok" for state in states.values())
    return web.json_response({"status": "down" if is_down else "ok", **states}, status=503 if is_down else 200)


def setup(app: web.Application, ping_broker: Callable[[], None]) -> None:
    """Add the routes."""

    async def run(app: web.Application) -> AsyncIterator[None]:
        app[READINESS] = Readiness(ping_broker)
        yield
        app[READINESS].close()

    app.cleanup_ctx.append(run)
    app.router.add_get("/healthz", needs(Need.OPEN, healthz))
    app.router.add_get("/readyz", needs(Need.OPEN, readyz))
