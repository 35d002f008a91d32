"""Figures by the minute, for the operator's charts: entered as they happen or counted from the tables, kept two days."""

from __future__ import annotations

import atexit
import threading
from collections import defaultdict
from collections.abc import Callable
from datetime import datetime
from typing import Any
from weakref import WeakSet

import peewee
import psycopg2

from killsync.process import at_begin
from models.db import connection, in_transaction, is_postgres
from models.events import KILLMAIL_SAVED
from models.fields import from_any, to_text, utcnow
from models.sql import insert_rows, rows, run, sql_now

#: Names of figures. Details are names of routes, outcomes and states: never of people.
KILLMAILS = "killmails"
REQUESTS, TOKENS = "esi requests", "esi tokens"
WEBHOOKS = "webhooks"
PENDING, LATE = "pending", "late users"

KEEP_SECONDS = 2 * 86_400.0
#: A figure reaches the table within this many seconds.
FLUSH_SECONDS = 3.0


_all: WeakSet[Later] = WeakSet()


def forget() -> None:
    """Drop every sum that is not written yet: it belongs to a database that this process has left."""
    for each in tuple(_all):
        each.drop()


at_begin(forget)


class Later:
    """Sums that are written a moment after the first of them: many additions, one statement.

    What a crash takes with it is a few seconds of figures. A database that is away keeps them for the next time.
    """

    def __init__(self, write: Callable[[list[tuple[Any, ...]]], None]) -> None:
        self._write = write
        self._lock = threading.Lock()
        self._sums: dict[tuple[str, ...], list[int]] = defaultdict(list)
        self._timer: threading.Timer | None = None
        _all.add(self)
        atexit.register(self.flush)

    def add(self, key: tuple[str, ...], *amounts: int) -> None:
        """Add *amounts* to the sums of *key*."""
        with self._lock:
            self._put(key, amounts)
            if self._timer is None:
                self._timer = threading.Timer(FLUSH_SECONDS, self.flush)
                self._timer.daemon = True
                self._timer.start()

    def _put(self, key: tuple[str, ...], amounts: Any) -> None:
        known = self._sums[key]
        self._sums[key] = [a + b for a, b in zip(known, amounts, strict=True)] if known else list(amounts)

    def drop(self) -> None:
        """Forget what has been added since the last time."""
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
        except (peewee.PeeweeException, psycopg2.Error, AttributeError):
            with self._lock:
                for key, amounts in sums.items():
                    self._put(key, amounts)


def _write(values: list[tuple[Any, ...]]) -> None:
    in_transaction(
        lambda: insert_rows(
            "tally",
            ("minute", "name", "detail", "number"),
            values,
            "ON CONFLICT (minute, name, detail) DO UPDATE SET number = tally.number + excluded.number",
        )
    )


_later = Later(_write)


def this_minute() -> str:
    """The running minute as the tables write it."""
    return to_text(utcnow().replace(second=0, microsecond=0))


def add(name: str, detail: str, number: int = 1) -> None:
    """Count something that happened now. Costs no statement; `flush` or a few seconds bring it to the table."""
    _later.add((this_minute(), name, detail), number)


def flush() -> None:
    """Write this process's figures now."""
    _later.flush()


def _minute_of(column: str) -> str:
    if is_postgres():
        return f"date_trunc('minute', {column})"
    return f"substr({column}, 1, 16) || ':00.000000+00:00'"


def sample() -> None:
    """Enter what the tables say of the last minutes: killmails stored, from their events; how much is left to do now.

    Counting again enters the same again, so nobody has to know who counted last.
    """
    minute = _minute_of("created_at")
    killmails = (
        f"INSERT INTO tally (minute, name, detail, number) SELECT {minute}, '{KILLMAILS}', '', count(*) FROM event "
        f"WHERE kind = %s AND created_at >= %s GROUP BY {minute} "
        "ON CONFLICT (minute, name, detail) DO UPDATE SET number = excluded.number"
    )
    now = utcnow().replace(second=0, microsecond=0)
    since = to_text(now.fromtimestamp(now.timestamp() - 120, tz=now.tzinfo))
    pending = "SELECT count(*) FROM killmail_ref WHERE state = 'pending'"
    late = f"SELECT count(*) FROM \"user\" WHERE status = 'active' AND next_sync_at <= {sql_now(-LATE_SECONDS)}"

    def work() -> None:
        run(killmails, (KILLMAIL_SAVED, since))
        values = [(to_text(now), name, "", rows(sql)[0][0]) for name, sql in ((PENDING, pending), (LATE, late))]
        insert_rows(
            "tally", ("minute", "name", "detail", "number"), values,
            "ON CONFLICT (minute, name, detail) DO UPDATE SET number = excluded.number",
        )  # fmt: skip

    in_transaction(work)


#: A user that is due and has waited this long is late, seconds.
LATE_SECONDS = 300.0


def prune() -> int:
    """Drop what the charts no longer show; the number of rows."""
    return run(f"DELETE FROM tally WHERE minute < {sql_now(-KEEP_SECONDS)}")


def since(start: datetime) -> list[tuple[datetime, str, str, int]]:
    """(minute, name, detail, number) from *start* on."""
    found = rows("SELECT minute, name, detail, number FROM tally WHERE minute >= %s ORDER BY minute", (to_text(start),))
    return [(from_any(minute), name, detail, int(number)) for minute, name, detail, number in found]  # type: ignore[misc]


def slices(start: datetime, seconds: float) -> list[tuple[int, str, str, int, int]]:
    """Figures from *start* on in slices of *seconds*: (number of the slice, name, detail, sum, highest)."""
    if is_postgres():
        slice_of = "CAST(floor((extract(epoch FROM minute) - %s) / %s) AS INTEGER)"
    else:
        slice_of = "CAST((round((julianday(substr(minute, 1, 16)) - 2440587.5) * 86400.0) - %s) / %s AS INTEGER)"
    found = rows(
        f"SELECT {slice_of} AS slice, name, detail, sum(number), max(number) FROM tally "
        "WHERE minute >= %s GROUP BY slice, name, detail ORDER BY slice",
        (start.timestamp(), seconds, to_text(start)),
    )
    return [(int(number), name, detail, int(total), int(most)) for number, name, detail, total, most in found]
