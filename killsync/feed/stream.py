"""Server-sent events: the log as a stream, for programs that speak no GraphQL. `curl -N` shows killmails."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable

from aiohttp import web

from killsync.access.decision import Need
from killsync.events.hub import HUB, NotInLog
from killsync.events.recent import Numbered
from killsync.feed.entries import Entries, Gone, Packed
from killsync.feed.outlet import Held, Outlet
from killsync.feed.public import CORS, problem
from killsync.killmails.killmail import Killmail
from killsync.logging import get_logger
from killsync.web import filter_address, guard, sessions
from killsync.web.filter_address import BadAddress
from killsync.web.security import client_ip, network_of
from models.errors import is_away
from models.threads import Busy
from models.work import PATIENCE

log = get_logger("feed")

#: Streams one process serves, and one address may hold open.
MOST_STREAMS, MOST_OF_ONE = 5_000, 150
#: A stream on which nothing happens says so this often, so that a dead one is noticed, seconds.
BEAT_SECONDS = 15.0
#: How often it is seen that a client closed its connection, seconds.
LOOK_SECONDS = 5.0
#: Who reads a stream is looked up anew this often: a session ends, a key is revoked, a member leaves, seconds.
KNOWN_SECONDS = 2.0
#: What a client waits before it comes back, milliseconds. It is said with the first event, and a comment has no empty line
#: behind it: clients such as httpx-sse take whatever ends in one for an event.
RETRY = b"retry: 2000\n"
BEAT = b":\n"
HEADERS = {"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}

ENTRIES = web.AppKey("feed_entries", Entries)
_OPEN = web.AppKey("open_streams", dict["asyncio.Task[None]", str])
_HELD = web.AppKey("held_by_streams", Held)


async def events(request: web.Request) -> web.StreamResponse:
    """GET /events: each killmail as it is stored, with its number; `Last-Event-ID` first gives what came after that one.

    `?lastEventId=` is the same for who cannot send a header; the other parameters filter as on pages.
    """
    given = request.headers.get("Last-Event-ID") or request.query.get("lastEventId")
    try:
        chosen = filter_address.read(request.query)
        after = None if given is None else filter_address.read_id(given, "killmail in the log")
    except BadAddress as error:
        return problem(400, str(error))
    viewer = await sessions.viewer_of(request) if chosen.is_mine else None
    if chosen.is_mine and viewer is None:
        return problem(401, "log in to follow your own killmails")
    wants = None if chosen.is_everything else chosen.filter(viewer.character_ids if viewer else None).matches
    PATIENCE.set(None)
    streams, address = request.app[_OPEN], network_of(client_ip(request))
    if len(streams) >= MOST_STREAMS or sum(each == address for each in streams.values()) >= MOST_OF_ONE:
        return problem(503, "too many open streams", **{"Retry-After": "30"})
    try:
        begin = await request.app[HUB].begin(after)
    except NotInLog as error:
        return problem(410, str(error))
    response = web.StreamResponse(headers={**HEADERS, **CORS})
    writer = await response.prepare(request)
    if request.method == "HEAD" or writer is None or request.transport is None:
        return response
    outlet = Outlet(response, writer, request.transport, request.app[_HELD])
    # A task of its own, so that a process that stops can end it.
    need = Need.OWN if chosen.is_mine else Need.READ
    task = asyncio.create_task(_follow(request, outlet, begin, wants, need))
    streams[task] = address
    try:
        await asyncio.wait([task])
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, ConnectionError, TimeoutError):
            await task
        del streams[task]
    return response


async def _follow(
    request: web.Request, outlet: Outlet, begin: int, wants: Callable[[Killmail], bool] | None, need: Need
) -> None:
    entries = request.app[ENTRIES]
    await outlet.say(BEAT)
    first = RETRY
    try:
        async with contextlib.aclosing(request.app[HUB].batches(begin)) as batches:
            waiting: asyncio.Future[list[Numbered]] | None = None
            sent_at = time.monotonic()
            try:
                while outlet.is_open:
                    waiting = waiting or asyncio.ensure_future(anext(batches))
                    done, _ = await asyncio.wait([waiting], timeout=LOOK_SECONDS)
                    if done:
                        batch, waiting = waiting.result(), None
                        if await guard.ending_of(request, need, KNOWN_SECONDS):
                            return
                        async for entry in _entries(batch, entries, wants):
                            await outlet.tell(entry, first)
                            first = b""
                            sent_at = time.monotonic()
                    if time.monotonic() - sent_at >= BEAT_SECONDS:
                        await outlet.say(BEAT)
                        sent_at = time.monotonic()
            finally:
                if waiting is not None:
                    waiting.cancel()
                    with contextlib.suppress(asyncio.CancelledError, Exception):
                        await waiting
    except (NotInLog, Gone):
        # It comes back with its number, and is told so.
        log.info("a stream was left behind by the log")


async def _entries(
    batch: list[Numbered], entries: Entries, wants: Callable[[Killmail], bool] | None
) -> AsyncGenerator[Packed, None]:
    # Not the killmails: a client that reads slowly would hold them.
    numbers = [sequence for sequence, killmail in batch if wants is None or wants(killmail)]
    batch.clear()
    for sequence in numbers:
        while True:
            try:
                yield await entries.get(sequence)
                break
            except Exception as error:
                if not (isinstance(error, Busy) or is_away(error)):
                    raise
                await asyncio.sleep(0.5)


def setup(app: web.Application) -> None:
    """Keep the open streams, and end them when the process stops."""
    app[_OPEN] = {}
    app[_HELD] = Held()
    app.on_shutdown.append(_end_all)


async def _end_all(app: web.Application) -> None:
    streams = app[_OPEN]
    for task in tuple(streams):
        task.cancel()
