"""A receiver of webhooks over real HTTP that plays Discord, Slack or anybody, and misbehaves as it is told."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass
class Received:
    """One request that arrived, whether it was answered well or not."""

    path: str
    headers: dict[str, str]
    body: bytes
    status: int
    at: float = field(default_factory=time.monotonic)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Receiver:
    """Answers 204 unless `script` holds something else for the next request: a status, (status, headers, body), "reset"
    or a number of seconds to wait first."""

    url: str = ""
    script: list[Any] = field(default_factory=list)
    requests: list[Received] = field(default_factory=list)
    pause: float = 0.0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        step = self.script.pop(0) if self.script else 204
        status, headers, text = step if isinstance(step, tuple) else (step, {}, "")
        got = Received(request.path_qs, dict(request.headers), body, status if isinstance(status, int) else 0)
        self.requests.append(got)
        if self.pause:
            await asyncio.sleep(self.pause)
        if step == "reset":
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if isinstance(step, float):
            await asyncio.sleep(step)
            # Nobody takes a late answer from whoever has given up waiting for it.
            if request.transport is not None and not request.transport.is_closing():
                got.status = 204
            return web.Response(status=204)
        return web.Response(status=status, headers=headers, text=text)

    def taken(self) -> list[Received]:
        """What was answered with success."""
        return [each for each in self.requests if 200 <= each.status < 300]


@contextlib.contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver on 127.0.0.1 in a thread of its own."""
    receiver = Receiver()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def begin() -> web.AppRunner:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", receiver.answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return runner

    runner = asyncio.run_coroutine_threadsafe(begin(), loop).result(timeout=10)
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield receiver
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(timeout=10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=5)
