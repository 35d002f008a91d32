"""The simulator as one aiohttp application: SSO, ESI and the control routes of tests, in a loop or in a thread."""

from __future__ import annotations

import asyncio
import random
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar

from aiohttp import web

from simulator import catalog, faults
from simulator.config import Clock, SimulatorConfig
from simulator.control import add_control_routes
from simulator.esi import Esi
from simulator.faults import Fault
from simulator.sso import Sso
from simulator.universe import Kill, Universe

T = TypeVar("T")


class Simulator:
    """One simulated EVE."""

    def __init__(self, config: SimulatorConfig | None = None) -> None:
        self.config = config or SimulatorConfig()
        self.clock = Clock(self.config.speed)
        self.universe = Universe(self.config, self.clock.now())
        self.sso = Sso(self)
        self.esi = Esi(self)
        self.faults: list[Fault] = []
        self.forced_pages: int | None = None
        self.is_down = False
        #: Categories that `POST /universe/names` refuses: a list that holds one of them is answered 404.
        self.unnamed_categories: set[str] = set()
        #: Ids that `POST /universe/names` does not know yet, as of characters that were just born.
        self.newborn: set[int] = set()
        #: Ids that no route names.
        self.unnamed_ids: set[int] = set()
        #: The body of `GET /markets/prices` in place of the usual one.
        self.prices: bytes | None = None
        #: How often `POST /universe/names` was asked for each id.
        self.names_asked: Counter[int] = Counter()
        self.url = ""
        self._rng = random.Random(self.config.seed)
        self._runner: web.AppRunner | None = None
        self._arrivals: asyncio.Task[None] | None = None

    def application(self) -> web.Application:
        """The aiohttp application."""
        app = web.Application(middlewares=[self._trouble])
        self.sso.add_routes(app)
        self.esi.add_routes(app)
        app.router.add_get("/static-data/latest.jsonl", self._latest)
        app.router.add_get(f"/static-data/eve-online-static-data-{catalog.BUILD}-jsonl.zip", self._archive)
        add_control_routes(app, self)
        return app

    async def _latest(self, _request: web.Request) -> web.Response:
        return web.Response(body=catalog.latest(), content_type="application/jsonl")

    async def _archive(self, request: web.Request) -> web.StreamResponse:
        """The static data export; parts of it where a range is asked for."""
        body = catalog.archive()
        try:
            part = request.http_range
        except ValueError:
            return web.Response(status=416)
        if part.start is None:
            return web.Response(body=body, content_type="application/zip", headers={"Accept-Ranges": "bytes"})
        if part.start >= len(body):
            return web.Response(status=416)
        chosen = body[part]
        covered = f"bytes {part.start}-{part.start + len(chosen) - 1}/{len(body)}"
        headers = {"Content-Range": covered, "Accept-Ranges": "bytes"}
        return web.Response(status=206, body=chosen, content_type="application/zip", headers=headers)

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen; `url` says where."""
        self._runner = web.AppRunner(self.application(), access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        await site.start()
        address = self._runner.addresses[0]
        self.url = f"http://{host}:{address[1]}"
        if self.config.new_kill_interval > 0:
            self._arrivals = asyncio.create_task(self._arrive())

    async def stop(self) -> None:
        """Stop listening."""
        if self._arrivals is not None:
            self._arrivals.cancel()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _arrive(self) -> None:
        while True:
            await asyncio.sleep(self.config.new_kill_interval)
            self.new_kill(self._rng.choice(self.universe.demo_characters).character_id)

    def new_kill(self, character_id: int, **how: Any) -> Kill:
        """A kill of this moment, with *character_id* in it. Lists name it once their cache has run out."""
        return self.universe.add_kill(character_id, self.clock.now() - 1.0, **how)

    def late_kill(self, character_id: int, age: float) -> Kill:
        """A kill of *age* seconds ago that lists name only from now on."""
        now = self.clock.now()
        return self.universe.add_kill(character_id, now - age, visible_at=now - 1.0)

    def drop_caches(self) -> None:
        """End the life of every cached page, as if their time had run out."""
        self.esi._cache.clear()
        self.esi._asked.clear()

    def sell_character(self, character_id: int) -> None:
        """The character goes to another owner."""
        self.universe.characters[character_id].owner = f"sold-{self._rng.random()}"

    def forced_status(self, path: str) -> int | None:
        """The status that a fault wants the route itself to answer, with all its accounting."""
        for fault in self.faults:
            if fault.kind == "status" and fault.strikes(path, self.clock.now(), self._rng):
                return fault.status
        return None

    @web.middleware
    async def _trouble(self, request: web.Request, handler: Callable[..., Any]) -> web.StreamResponse:
        if request.path.startswith("/_sim/"):
            return await handler(request)  # type: ignore[no-any-return]
        if self.config.latency:
            await asyncio.sleep(self.config.latency)
        is_sso = request.path.startswith(("/v2/oauth", "/oauth", "/.well-known"))
        if self.is_down and not is_sso:
            return web.Response(
                status=503, text=faults.HTML.format("503 Service Unavailable"), content_type="text/html"
            )
        struck = [
            fault for fault in self.faults
            if (fault.kind != "status" or is_sso) and fault.strikes(request.path, self.clock.now(), self._rng)
        ]  # fmt: skip
        for fault in struck:
            if fault.kind in faults.BEFORE:
                return await faults.before(fault, request)
            if fault.kind == "status":
                return web.json_response({"error": "forced by a fault"}, status=fault.status)
        response = await handler(request)
        for fault in struck:
            if response.status == 200 or fault.kind == "latency":
                return await faults.after(fault, request, response)
        return response  # type: ignore[no-any-return]


class Handle:
    """A simulator that runs in a thread of its own."""

    def __init__(self, config: SimulatorConfig | None, host: str, port: int) -> None:
        self.simulator = Simulator(config)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="simulator", daemon=True)
        self._thread.start()
        self._wait(self.simulator.start(host, port))

    @property
    def url(self) -> str:
        return self.simulator.url

    def _wait(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout=30)

    def call(self, work: Callable[[Simulator], T]) -> T:
        """Run *work* on the simulator in its own thread, so that it never races with a request."""

        async def run() -> T:
            return work(self.simulator)

        result: T = self._wait(run())
        return result

    def stop(self) -> None:
        """Stop it and its thread."""
        if self._loop.is_closed():
            return
        self._wait(self.simulator.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)
        self._loop.close()


def run_in_thread(config: SimulatorConfig | None = None, host: str = "127.0.0.1", port: int = 0) -> Handle:
    """Start a simulator in a thread of its own."""
    return Handle(config, host, port)
