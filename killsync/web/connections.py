"""Connections of the web server: how many there may be, how long each may take, how much may lie unread.

`listen` is the one way to open the server's port. What is counted here is known before anything of a request is: the address
of the peer, the time, and what the kernel has not taken. A trusted proxy may have as many connections as there are.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import time
from collections import OrderedDict
from typing import Any

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from killsync.logging import Quiet, get_logger
from killsync.web.protocol import IDLE_SECONDS, LEAST_TAKEN, Protocol
from killsync.web.quick import QUICK, quickly
from killsync.web.security import SETTINGS, Handler, is_within, network_of

log = get_logger("web")

#: How often all that is looked at.
WATCH_SECONDS = 0.5
#: Connections of one address (IPv6: its /64), and of all if the process may have enough file descriptors.
MOST_OF_ONE = 200
MOST_IN_ALL = 6_000
#: File descriptors that are left for the database, the broker, ESI, webhooks, files and health checks.
KEPT_DESCRIPTORS = 256
#: Bytes of answers that lie unread: of one address, and of all.
MOST_UNREAD_OF_ONE = 8_388_608
MOST_UNREAD_IN_ALL = 67_108_864
#: Connections that the kernel holds until they are accepted.
BACKLOG = 256
#: Connections of one network that are looked at for one to close.
MOST_CANDIDATES = 32

_FULL = (
    b"HTTP/1.1 %s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\nRetry-After: 10\r\n"
    b"Connection: close\r\n\r\n%s"
)


class Connections(web.Server):
    """The server, with all its connections by network."""

    def __init__(self, inner: web.Server, app: web.Application, most: int) -> None:
        handler = quickly(inner.request_handler, app[QUICK])
        super().__init__(handler, request_factory=inner.request_factory, **inner._kwargs)
        self._settings = app[SETTINGS]
        self._most = most
        self._number = 0
        #: By network, in the order in which they came.
        self._networks: dict[str | None, OrderedDict[Protocol, None]] = {}
        self._say = Quiet(log)

    def __call__(self) -> RequestHandler:
        return Protocol(self, loop=self._loop, **self._kwargs)

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        assert isinstance(handler, Protocol)
        handler.peer_transport = transport
        peer = transport.get_extra_info("peername")
        address = str(peer[0]) if peer else "unknown"
        if not is_within(address, self._settings.trusted_proxies):
            handler.network = network_of(address)
        self._networks.setdefault(handler.network, OrderedDict())[handler] = None
        self._number += 1
        theirs = self._networks[handler.network]
        if handler.network is not None and len(theirs) > MOST_OF_ONE and not self._make_room(theirs, handler):
            self._refuse(handler, b"429 Too Many Requests", "too many connections of one address")
        elif self._number > self._most:
            widest = max(self._networks.values(), key=len)
            if not (self._make_room(widest, handler) or self._make_room(theirs, handler)):
                self._refuse(handler, b"503 Service Unavailable", "too many connections")

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        super().connection_lost(handler, exc)
        assert isinstance(handler, Protocol)
        handler.peer_transport = None
        self._forget(handler)

    def _make_room(self, among: OrderedDict[Protocol, None], newcomer: Protocol) -> bool:
        """Close the oldest connection without a request; False where the oldest all have one."""
        for _ in range(min(MOST_CANDIDATES, len(among))):
            handler = next(iter(among))
            if handler is not newcomer and handler.is_waiting:
                self._close(handler, "another one comes, and it has no request")
                return True
            among.move_to_end(handler)
        return False

    def _refuse(self, handler: Protocol, status: bytes, reason: str) -> None:
        self._say("connections refused", reason=reason, network=handler.network)
        transport = handler.peer_transport
        if transport is not None:
            text = reason.capitalize().encode() + b".\n"
            transport.write(_FULL % (status, len(text), text))
            handler._force_close = True
            transport.close()

    def _close(self, handler: Protocol, reason: str) -> None:
        self._say("connections cut off", reason=reason, network=handler.network)
        if handler.peer_transport is not None:
            handler.peer_transport.abort()
        # Counted no longer, though the transport ends only with the loop's next turn.
        self._forget(handler)

    def _forget(self, handler: Protocol) -> None:
        """Count a connection no longer."""
        theirs = self._networks.get(handler.network)
        if theirs is not None and theirs.pop(handler, False) is None:
            self._number -= 1
            if not theirs:
                del self._networks[handler.network]

    def look(self) -> None:
        """Cut off whatever takes too long, and the slowest readers while too much lies unread."""
        now = time.monotonic()
        for theirs in tuple(self._networks.values()):
            for handler in tuple(theirs):
                reason = handler.fault(now)
                if reason is not None:
                    self._close(handler, reason)
        over = self.unread() - MOST_UNREAD_IN_ALL
        if over > 0:
            stalled = [each for theirs in self._networks.values() for each in theirs if each.stalled is not None]
            for handler in sorted(stalled, key=lambda each: each.stalled[0] if each.stalled else now):
                over -= handler.unread
                self._close(handler, "too much lies unread")
                if over <= 0:
                    return

    def unread(self, network: str | None = None) -> int:
        """Bytes that lie unread: of one network, or of all."""
        groups = self._networks.values() if network is None else [self._networks.get(network, OrderedDict())]
        return sum(handler.unread for theirs in groups for handler in theirs)


CONNECTIONS: web.AppKey[list[Connections]] = web.AppKey("connections")


@web.middleware
async def bound_unread(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give a large answer only to who takes the ones it has."""
    response = await handler(request)
    body = response.body if isinstance(response, web.Response) else None
    if isinstance(body, bytes) and len(body) > LEAST_TAKEN:
        for connections in request.app[CONNECTIONS]:
            network = getattr(request.protocol, "network", None)
            unread = connections.unread(network) if network is not None else 0
            if unread + len(body) > MOST_UNREAD_OF_ONE and unread:
                raise web.HTTPTooManyRequests(
                    headers={"Retry-After": "10"}, text="Read the answers that wait for you first.\n"
                )
    return response


def setup(app: web.Application) -> None:
    """Bound what lies unread; `listen` bounds the rest."""
    app[CONNECTIONS] = []
    app[QUICK] = []
    app.middlewares.append(bound_unread)


class _Runner(web.AppRunner):
    """Serves an application by `Connections`, and looks at them as long as it does."""

    __slots__ = ("_watching",)

    async def _make_server(self) -> web.Server:
        connections = Connections(await super()._make_server(), self.app, _most_connections())
        self.app[CONNECTIONS].append(connections)
        self._watching = asyncio.create_task(_watch(connections))
        return connections

    async def _cleanup_server(self) -> None:
        self._watching.cancel()
        await super()._cleanup_server()


async def _watch(connections: Connections) -> None:
    while True:
        await asyncio.sleep(WATCH_SECONDS)
        try:
            connections.look()
        except Exception:
            log.exception("connections not looked at")


def _most_connections() -> int:
    """How many connections leave enough file descriptors for everything else; asks for more of them if that is allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_IN_ALL + KEPT_DESCRIPTORS
    if hard == resource.RLIM_INFINITY or hard > soft:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(
                resource.RLIMIT_NOFILE, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard)
            )
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(soft // 2, min(MOST_IN_ALL, soft - KEPT_DESCRIPTORS))


async def listen(app: web.Application, host: str, port: int, *, shutdown_seconds: float = 10.0) -> web.AppRunner:
    """Serve *app*; the runner's `cleanup` ends that.

    Raises:
        OSError: the address cannot be bound.
    """
    runner = _Runner(
        app, access_log=None, keepalive_timeout=IDLE_SECONDS, lingering_time=2.0, shutdown_timeout=shutdown_seconds
    )
    await runner.setup()
    _be_quiet(asyncio.get_running_loop())
    try:
        await web.TCPSite(runner, host, port, backlog=BACKLOG).start()
    except OSError:
        await runner.cleanup()
        raise
    return runner


def _be_quiet(loop: asyncio.AbstractEventLoop) -> None:
    """The loop that accepts connections says for each one in vain that there are no file descriptors: once is enough."""
    say = Quiet(log)

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if str(context.get("message", "")).startswith("socket.accept()"):
            say("connections not accepted", reason=type(context.get("exception")).__name__)
        else:
            loop.default_exception_handler(context)

    loop.set_exception_handler(handle)
