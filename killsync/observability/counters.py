"""Figures by the minute, for the operator's charts: counted as things happen or taken from the tables, kept two days."""

from __future__ import annotations

import atexit
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from weakref import WeakSet

import peewee
import psycopg2
from peewee import EXCLUDED, fn

from killsync.process import OnePerProcess, at_begin
from models.db import connection, in_transaction
from models.errors import DatabaseAway
from models.exactly_once import in_transaction_once
from models.expressions import epoch_of, now
from models.fields import span_text, utcnow
from models.killmail_log import KillmailLog
from models.killmails import PENDING as IS_PENDING
from models.killmails import KillmailRef
from models.observability import Tally
from models.users import ACTIVE, User

#: Names of figures. Details are names of routes, outcomes and states: never of people.
KILLMAILS = "killmails"
REQUESTS, TOKENS = "esi requests", "esi tokens"
WEBHOOKS = "webhooks"
PENDING, LATE = "pending", "late users"

KEEP_SECONDS = 2 * 86_400.0
#: A figure reaches the table within this many seconds.
FLUSH_SECONDS = 3.0
#: A user that is due and has waited this long is late, seconds.
LATE_SECONDS = 300.0
#: Minutes that a snapshot counts again: one that was not over when it was counted last is in it.
SNAPSHOT_MINUTES = 3


class BufferedSums:
    """Sums that are written a moment after the first of them: many additions, one statement.

    What a crash takes with it is a few seconds of figures. A database that is away keeps them for the next time.
    """

    def __init__(self, write: Callable[[list[tuple[Any, ...]]], None]) -> None:
        """*write* gets a row a key: the key's parts, then its sums."""
        self._write = write
        self._lock = threading.Lock()
        self._sums: dict[tuple[str, ...], list[int]] = defaultdict(list)
        self._timer: threading.Timer | None = None
        _buffers.add(self)
        atexit.register(self.flush)

    def add(self, key: tuple[str, ...], *amounts: int) -> None:
        """Add *amounts* to the sums of *key*."""
        with self._lock:
            self._add(key, amounts)
            if self._timer is None:
                self._timer = threading.Timer(FLUSH_SECONDS, self.flush)
                self._timer.daemon = True
                self._timer.start()

    def _add(self, key: tuple[str, ...], amounts: Sequence[int]) -> None:
        known = self._sums[key]
        self._sums[key] = [a + b for a, b in zip(known, amounts, strict=True)] if known else list(amounts)

    def discard(self) -> None:
        """Forget what is not written yet."""
        with self._lock:
            self._sums = defaultdict(list)

    def flush(self) -> None:
        """Write what has been added since the last time."""
        with self._lock:
            sums, self._sums = self._sums, defaultdict(list)
            self._timer = None
        if not sums:
            return
        try:
            with connection():
                self._write([(*key, *amounts) for key, amounts in sorted(sums.items())])
        except (peewee.PeeweeException, psycopg2.Error, DatabaseAway, AttributeError):
            with self._lock:
                for key, amounts in sums.items():
                    self._add(key, amounts)


#: Every buffer of this process.
_buffers: WeakSet[BufferedSums] = WeakSet()


@at_begin
def discard() -> None:
    """Drop every sum that is not written yet: it belongs to a database that this process has left."""
    for buffer in tuple(_buffers):
        buffer.discard()


_COLUMNS = [Tally.minute, Tally.name, Tally.detail, Tally.number]
_KEY = [Tally.minute, Tally.name, Tally.detail]


def _write(values: list[tuple[Any, ...]]) -> None:
    adding = Tally.insert_many(values, _COLUMNS).on_conflict(
        conflict_target=_KEY, update={Tally.number: Tally.number + EXCLUDED.number}
    )
    in_transaction_once(adding.as_rowcount().execute)


_buffer = OnePerProcess(lambda: BufferedSums(_write))


def this_minute() -> datetime:
    """The start of the running minute."""
    return utcnow().replace(second=0, microsecond=0)


def add(name: str, detail: str, number: int = 1) -> None:
    """Count something that happened now. Costs no statement; `flush` or a few seconds bring it to the table."""
    _buffer().add((span_text(int(time.time() // 60), 60), name, detail), number)


def flush() -> None:
    """Write this process's figures now."""
    _buffer().flush()


def record_snapshot() -> None:
    """Enter what the tables say: killmails stored in the last minutes, and how much is left to do now.

    Counting again enters the same again, so nobody has to know who counted last.
    """
    minute = this_minute()

    def work() -> None:
        found = [
            (start, KILLMAILS, "", number)
            for start in (minute - timedelta(minutes=back) for back in reversed(range(SNAPSHOT_MINUTES)))
            if (number := _killmails_stored(start))
        ]
        late = User.select().where(User.status == ACTIVE, User.next_sync_at <= now(-LATE_SECONDS))
        pending = KillmailRef.select().where(KillmailRef.state == IS_PENDING)
        found += [(minute, PENDING, "", pending.count()), (minute, LATE, "", late.count())]
        Tally.insert_many(found, _COLUMNS).on_conflict(
            conflict_target=_KEY, preserve=[Tally.number]
        ).as_rowcount().execute()

    in_transaction(work)


def _killmails_stored(start: datetime) -> int:
    """Killmails stored in the minute from *start* on, by the log."""
    in_minute = (KillmailLog.created_at >= start) & (KillmailLog.created_at < start + timedelta(minutes=1))
    return int(KillmailLog.select().where(in_minute).count())


def prune() -> int:
    """Delete what the charts no longer show; the number of rows."""
    return int(Tally.delete().where(Tally.minute < now(-KEEP_SECONDS)).execute())


class Figure(NamedTuple):
    """A figure of one minute."""

    minute: datetime
    name: str
    detail: str
    number: int


class Slice(NamedTuple):
    """A figure of one slice of time: the sum of its minutes, and the highest of them."""

    slice: int
    name: str
    detail: str
    total: int
    highest: int


def since(start: datetime) -> list[Figure]:
    """The figures by the minute from *start* on, oldest first."""
    found: Any = Tally.select(*_COLUMNS).where(Tally.minute >= start).order_by(Tally.minute)
    return [Figure(**each) for each in found.dicts()]


def slices(start: datetime, seconds: float) -> list[Slice]:
    """Figures from *start* on in slices of *seconds*, which are numbered from 0. Both are whole seconds."""
    # Whole numbers: then both databases leave the fraction of a slice out.
    number = ((epoch_of(Tally.minute).cast("BIGINT") - int(start.timestamp())) / int(seconds)).alias("slice")
    found: Any = (
        Tally.select(
            number,
            Tally.name,
            Tally.detail,
            fn.SUM(Tally.number).cast("BIGINT").alias("total"),
            fn.MAX(Tally.number).alias("highest"),
        )
        .where(Tally.minute >= start)
        .group_by(number, Tally.name, Tally.detail)
        .order_by(number)
    )
    return [Slice(**each) for each in found.dicts()]
