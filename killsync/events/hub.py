"""What is told as it happens: follows the event table and hands each event to this process's subscribers.

On PostgreSQL a connection of its own LISTENs, so an event arrives with the commit that made it true; after a broken
connection the table is read for what was missed. On SQLite the table is read a few times a second. Nothing is written.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import threading
import time
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import psycopg2
from aiohttp import web

from killsync.killmails import queries
from killsync.logging import get_logger
from killsync.settings import Settings
from killsync.sync import run_queries
from models.db import connection, open_listener
from models.errors import is_away
from models.events import KILLMAIL_SAVED, SYNC_PROGRESS
from models.sql import rows, sql_now
from models.threads import Busy, read_db

log = get_logger("events")

#: How often SQLite's table is read, and how long a PostgreSQL listener waits before it looks around, seconds.
POLL_SECONDS = 0.1
WAKE_SECONDS = 1.0
#: After a broken connection the table is read this far back: ids can commit out of order.
OVERLAP_SECONDS = 120.0
#: A PostgreSQL connection that says nothing is tried this often, so that a dead one is noticed, seconds.
PROBE_SECONDS = 20.0
#: Events remembered as told, so that catching up tells none twice.
REMEMBERED = 50_000
#: Things a subscriber may lag behind before it misses the oldest.
MOST_WAITING = 200
#: Killmails that are loaded by one page of statements.
BATCH = 50


@dataclass(frozen=True, slots=True)
class Event:
    """One row of the event table."""

    id: int
    kind: str
    subject_id: int
    user_id: int | None


@dataclass(eq=False)
class Subscriber:
    """One reader of events of one kind; when it is slow it misses the oldest, and `take` says how many."""

    kind: str
    wants: Callable[[Any], bool]
    _waiting: deque[Any] = field(default_factory=deque)
    _dropped: int = 0
    _ready: asyncio.Event = field(default_factory=asyncio.Event)

    def offer(self, thing: Any) -> None:
        """Give it *thing* if it wants it."""
        if not self.wants(thing):
            return
        if len(self._waiting) >= MOST_WAITING:
            self._waiting.popleft()
            self._dropped += 1
        self._waiting.append(thing)
        self._ready.set()

    async def take(self) -> tuple[Any, int]:
        """The next thing, and how many were missed before it."""
        while not self._waiting:
            self._ready.clear()
            await self._ready.wait()
        dropped, self._dropped = self._dropped, 0
        return self._waiting.popleft(), dropped


class Hub:
    """Follows the event table while `start` .. `stop` and feeds this process's subscribers."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._subscribers: set[Subscriber] = set()
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._stopped = threading.Event()
        self._seen: OrderedDict[int, None] = OrderedDict()
        self._newest = 0
        self._alive_at: float | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._thread: threading.Thread | None = None
        self.is_listening = threading.Event()

    async def start(self) -> None:
        """Begin to follow; what happened before is not told."""
        loop = asyncio.get_running_loop()
        follow = self._listen if self._settings.uses_postgres else self._poll
        self._thread = threading.Thread(target=follow, args=(loop,), name="events", daemon=True)
        self._thread.start()
        self._tasks = [asyncio.create_task(self._tell())]

    async def stop(self) -> None:
        """Stop following."""
        self._stopped.set()
        for task in self._tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        if self._thread is not None:
            await asyncio.get_running_loop().run_in_executor(None, self._thread.join, 5)

    @contextlib.contextmanager
    def _subscribed(self, kind: str, wants: Callable[[Any], bool]) -> Any:
        subscriber = Subscriber(kind, wants)
        self._subscribers.add(subscriber)
        try:
            yield subscriber
        finally:
            self._subscribers.discard(subscriber)

    async def killmails(self, wants: Callable[[Any], bool]) -> AsyncGenerator[tuple[dict[str, Any], int], None]:
        """(killmail tree, number missed before it) for each killmail saved from now on that *wants* says yes to."""
        with self._subscribed(KILLMAIL_SAVED, wants) as subscriber:
            while True:
                yield await subscriber.take()

    async def runs(self, wants: Callable[[Any], bool]) -> AsyncGenerator[tuple[dict[str, Any], int], None]:
        """(sync run tree, number missed before it) for each change of a sync run that *wants* says yes to."""
        with self._subscribed(SYNC_PROGRESS, wants) as subscriber:
            while True:
                yield await subscriber.take()

    @property
    def subscribers(self) -> int:
        return len(self._subscribers)

    # The thread that follows the table.

    def _poll(self, loop: asyncio.AbstractEventLoop) -> None:
        self._newest = self._newest_id()
        self.is_listening.set()
        while not self._stopped.wait(POLL_SECONDS):
            try:
                with connection():
                    found = rows(
                        "SELECT id, kind, subject_id, user_id FROM event WHERE id > %s ORDER BY id LIMIT 2000",
                        (self._newest,),
                    )
            except Exception as error:
                log.warning("events not read", reason=type(error).__name__)
                continue
            for row in found:
                self._newest = row[0]
                self._pass_on(loop, Event(*row))

    def _newest_id(self) -> int:
        while not self._stopped.is_set():
            try:
                with connection():
                    return int(rows("SELECT coalesce(max(id), 0) FROM event")[0][0])
            except Exception as error:
                log.warning("events not read", reason=type(error).__name__)
                self._stopped.wait(1.0)
        return 0

    def _listen(self, loop: asyncio.AbstractEventLoop) -> None:
        pause = 0.2
        while not self._stopped.is_set():
            try:
                with contextlib.closing(open_listener(self._settings)) as listener:
                    listener.cursor().execute("LISTEN killsync")
                    self._begin_or_catch_up(loop)
                    pause = 0.2
                    self.is_listening.set()
                    self._follow(loop, listener)
            except Exception as error:
                if isinstance(error, psycopg2.Error) or is_away(error):
                    log.warning("waiting for the database to listen", reason=type(error).__name__, retry_in=pause)
                else:
                    log.exception("listener failed")
                self.is_listening.clear()
                self._stopped.wait(pause)
                pause = min(pause * 2, 5.0)

    def _begin_or_catch_up(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._alive_at is None:
            self._newest = self._newest_id()
        else:
            self._catch_up(loop, time.monotonic() - self._alive_at + OVERLAP_SECONDS)
            log.info("listening again")
        self._alive_at = time.monotonic()

    def _follow(self, loop: asyncio.AbstractEventLoop, listener: Any) -> None:
        probed = time.monotonic()
        while not self._stopped.is_set():
            self._alive_at = time.monotonic()
            readable, _, _ = select.select([listener], [], [], WAKE_SECONDS)
            if readable:
                listener.poll()
                while listener.notifies:
                    self._pass_on(loop, _parse(listener.notifies.pop(0).payload))
            elif time.monotonic() - probed > PROBE_SECONDS:
                listener.cursor().execute("SELECT 1")
                probed = time.monotonic()

    def _catch_up(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        with connection():
            missed = rows(
                "SELECT id, kind, subject_id, user_id FROM event "
                f"WHERE created_at > {sql_now(-seconds)} AND id > %s ORDER BY id",
                (self._newest,),
            )
        for row in missed:
            self._pass_on(loop, Event(*row))

    def _pass_on(self, loop: asyncio.AbstractEventLoop, event: Event) -> None:
        if event.id in self._seen:
            return
        self._seen[event.id] = None
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody is left to be told
            loop.call_soon_threadsafe(self._events.put_nowait, event)

    # The task that loads what subscribers are told: once for all of them.

    async def _tell(self) -> None:
        while True:
            batch = [await self._events.get()]
            while len(batch) < BATCH and not self._events.empty():
                batch.append(self._events.get_nowait())
            while not await self._told(batch):  # noqa: ASYNC110 - the database, which is away, can tell nobody
                await asyncio.sleep(0.5)

    async def _told(self, batch: list[Event]) -> bool:
        """Tell of a batch; False when the database could not be asked and the batch has to wait."""
        try:
            await self._tell_killmails([event.subject_id for event in batch if event.kind == KILLMAIL_SAVED])
            await self._tell_runs({event.subject_id: event for event in batch if event.kind == SYNC_PROGRESS})
        except Exception as error:
            if isinstance(error, Busy) or is_away(error):
                log.warning("events wait for the database", events=len(batch), reason=type(error).__name__)
                return False
            log.exception("events not told", events=len(batch))
        return True

    async def _tell_killmails(self, ids: list[int]) -> None:
        if not ids or not any(subscriber.kind == KILLMAIL_SAVED for subscriber in self._subscribers):
            return
        trees = await read_db(queries.killmails, ids)
        place = {number: position for position, number in enumerate(ids)}
        for tree in sorted(trees, key=lambda tree: place[int(tree["id"])]):
            self._offer(KILLMAIL_SAVED, tree)

    async def _tell_runs(self, events: dict[int, Event]) -> None:
        if not events or not any(subscriber.kind == SYNC_PROGRESS for subscriber in self._subscribers):
            return
        for run_id in events:
            tree = await read_db(run_queries.run_tree, run_id)
            if tree is not None:
                self._offer(SYNC_PROGRESS, tree)

    def _offer(self, kind: str, thing: Any) -> None:
        for subscriber in tuple(self._subscribers):
            if subscriber.kind == kind:
                subscriber.offer(thing)


def _parse(payload: str) -> Event:
    number, kind, subject, *user = payload.split(":")
    return Event(int(number), kind, int(subject), int(user[0]) if user else None)


HUB = web.AppKey("hub", Hub)


def setup(app: web.Application, settings: Settings) -> None:
    """Follow events while the application runs."""
    hub = app[HUB] = Hub(settings)

    async def run(_app: web.Application) -> AsyncIterator[None]:
        await hub.start()
        yield
        await hub.stop()

    app.cleanup_ctx.append(run)
