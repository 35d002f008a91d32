"""What happens, as it happens: follows the event table and hands each event to this process's subscribers.

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
from peewee import fn

from killsync.killmails import queries
from killsync.killmails.killmail import Killmail
from killsync.logging import get_logger
from killsync.settings import Settings
from killsync.sync import run_queries
from killsync.sync.run_queries import RunSummary
from models.db import connection, open_listener, probe
from models.errors import is_away
from models.events import KILLMAIL_SAVED, SYNC_PROGRESS
from models.events import Event as EventRow
from models.expressions import now
from models.threads import Busy, read_db

log = get_logger("events")

#: How often SQLite's table is read, and how long a PostgreSQL listener waits before it looks around, seconds.
POLL_SECONDS = 0.1
WAKE_SECONDS = 1.0
#: After a broken connection the table is read this far back: ids can commit out of order.
OVERLAP_SECONDS = 120.0
#: A PostgreSQL connection that says nothing is tried this often, so that a dead one is noticed, seconds.
PROBE_SECONDS = 20.0
#: Events that are remembered, so that catching up delivers none twice.
REMEMBERED = 50_000
#: Events that a subscriber may lag behind before it misses the oldest.
MOST_WAITING = 200
#: Killmails that are loaded by one page of statements.
BATCH = 50
#: Events that SQLite's table gives at a time.
MOST_READ = 2_000


@dataclass(frozen=True, slots=True)
class Event:
    """One row of the event table."""

    id: int
    kind: str
    subject_id: int
    user_id: int | None


class CannotEvaluate(Exception):
    """A subscriber's own condition failed."""


@dataclass(eq=False)
class Subscriber:
    """One reader of events of one kind; when it is slow it misses the oldest, and `next` says how many."""

    kind: str
    wants: Callable[[Any], bool]
    _waiting: deque[Any] = field(default_factory=deque)
    _dropped: int = 0
    _failure: Exception | None = None
    _ready: asyncio.Event = field(default_factory=asyncio.Event)

    def put(self, value: Any) -> None:
        """Queue a killmail or sync run for it, if it wants it. A subscriber that cannot be asked ends, it alone."""
        try:
            if self._failure is not None or not self.wants(value):
                return
        except Exception as error:
            log.exception("subscriber not evaluated", kind=self.kind)
            self._failure = error
            self._ready.set()
            return
        if len(self._waiting) >= MOST_WAITING:
            self._waiting.popleft()
            self._dropped += 1
        self._waiting.append(value)
        self._ready.set()

    async def next(self) -> tuple[Any, int]:
        """The next killmail or sync run, and how many were missed before it.

        Raises:
            CannotEvaluate: what it wants could not be found out.
        """
        while not self._waiting:
            if self._failure is not None:
                raise CannotEvaluate("what this subscription wants cannot be evaluated") from self._failure
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
        """Begin to follow; what happened before is not delivered."""
        loop = asyncio.get_running_loop()
        follow = self._listen if self._settings.uses_postgres else self._poll
        self._thread = threading.Thread(target=follow, args=(loop,), name="events", daemon=True)
        self._thread.start()
        self._tasks = [asyncio.create_task(self._deliver())]

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

    async def killmails(self, wants: Callable[[Killmail], bool]) -> AsyncGenerator[tuple[Killmail, int], None]:
        """(killmail, number missed before it) for each killmail saved from now on that *wants* says yes to."""
        with self._subscribed(KILLMAIL_SAVED, wants) as subscriber:
            while True:
                yield await subscriber.next()

    async def runs(self, wants: Callable[[RunSummary], bool]) -> AsyncGenerator[tuple[RunSummary, int], None]:
        """(sync run, number missed before it) for each change of a sync run that *wants* says yes to."""
        with self._subscribed(SYNC_PROGRESS, wants) as subscriber:
            while True:
                yield await subscriber.next()

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
                    found = _events(EventRow.id > self._newest, MOST_READ)
            except Exception as error:
                log.warning("events not read", reason=type(error).__name__)
                continue
            for event in found:
                self._newest = event.id
                self._pass_on(loop, event)

    def _newest_id(self) -> int:
        while not self._stopped.is_set():
            try:
                with connection():
                    return int(EventRow.select(fn.MAX(EventRow.id)).scalar() or 0)
            except Exception as error:
                log.warning("events not read", reason=type(error).__name__)
                self._stopped.wait(1.0)
        return 0

    def _listen(self, loop: asyncio.AbstractEventLoop) -> None:
        pause = 0.2
        while not self._stopped.is_set():
            try:
                with contextlib.closing(open_listener(self._settings)) as listener:
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
                probe(listener)
                probed = time.monotonic()

    def _catch_up(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        with connection():
            missed = _events((EventRow.created_at > now(-seconds)) & (EventRow.id > self._newest))
        for event in missed:
            self._pass_on(loop, event)

    def _pass_on(self, loop: asyncio.AbstractEventLoop, event: Event) -> None:
        if event.id in self._seen:
            return
        self._seen[event.id] = None
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody listens any more
            loop.call_soon_threadsafe(self._events.put_nowait, event)

    # The task that loads what the events are about: once for all subscribers.

    async def _deliver(self) -> None:
        while True:
            batch = [await self._events.get()]
            while len(batch) < BATCH and not self._events.empty():
                batch.append(self._events.get_nowait())
            while not await self._delivered(batch):  # noqa: ASYNC110 - nothing announces that the database is back
                await asyncio.sleep(0.5)

    async def _delivered(self, batch: list[Event]) -> bool:
        """Deliver a batch; False when the database could not be asked and the batch has to wait."""
        try:
            await self._deliver_killmails([event.subject_id for event in batch if event.kind == KILLMAIL_SAVED])
            await self._deliver_runs(dict.fromkeys(event.subject_id for event in batch if event.kind == SYNC_PROGRESS))
        except Exception as error:
            if isinstance(error, Busy) or is_away(error):
                log.warning("events wait for the database", events=len(batch), reason=type(error).__name__)
                return False
            log.exception("events not delivered", events=len(batch))
        return True

    async def _deliver_killmails(self, ids: list[int]) -> None:
        if not ids or not any(subscriber.kind == KILLMAIL_SAVED for subscriber in self._subscribers):
            return
        found = {killmail.killmail_id: killmail for killmail in await read_db(queries.killmails, ids)}
        for killmail_id in dict.fromkeys(ids):
            if killmail_id in found:
                self._put(KILLMAIL_SAVED, found[killmail_id])

    async def _deliver_runs(self, run_ids: dict[int, None]) -> None:
        if not run_ids or not any(subscriber.kind == SYNC_PROGRESS for subscriber in self._subscribers):
            return
        for run_id in run_ids:
            run = await read_db(run_queries.run_summary, run_id)
            if run is not None:
                self._put(SYNC_PROGRESS, run)

    def _put(self, kind: str, value: Killmail | RunSummary) -> None:
        for subscriber in tuple(self._subscribers):
            if subscriber.kind == kind:
                subscriber.put(value)


def _events(condition: Any, limit: int | None = None) -> list[Event]:
    """The events that meet a condition, in order."""
    row = EventRow
    query: Any = (
        row.select(row.id, row.kind, row.subject_id, row.user_id).where(condition).order_by(row.id).limit(limit)
    )
    return list(query.objects(Event))


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
