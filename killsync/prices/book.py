"""The prices that this process has in memory, so that valuing a killmail that is stored costs no statement.

Held are the newest day, by which all that happens now is valued, and the oldest, by which older history is. For other days the
prices of a batch's types are read, in one statement.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from typing import Any

from killsync import settings as settings_module
from killsync.logging import get_logger
from killsync.prices import fixed, store
from killsync.prices.days import nearest
from killsync.prices.fixed import FixedPrices
from killsync.prices.valuation import Prices
from killsync.process import OnePerProcess
from models.db import connection, database

log = get_logger("prices")

#: How often a process looks whether other prices were stored, seconds.
LOOK_SECONDS = 30.0


class Book:
    """Prices of several days. Never changes.

    Args:
        days: of which there are prices anywhere, ascending.
        held: the prices of those of them that are here, millionths of an ISK by type.
        own: the operator's prices, which come before all others.
    """

    def __init__(
        self, days: Sequence[date] = (), held: Mapping[date, Mapping[int, int]] | None = None,
        own: Mapping[int, int] | None = None,
    ) -> None:  # fmt: skip
        self.days = tuple(days)
        self._held = dict(held or {})
        self._own = dict(own or {})

    def of(self, day: date) -> tuple[date, Prices] | None:
        """The day whose prices count for a killmail of *day*, and these; None while there are no prices at all."""
        found = nearest(day, self.days)
        if found is None:
            return None
        own, held = self._own, self._held.get(found, {})
        return found, lambda type_id: own.get(type_id) or held.get(type_id)

    def holding(self, wanted: Iterable[date], types: Callable[[], Iterable[int]]) -> Book:
        """A book that also has the prices of *types* for killmails of the days *wanted*: a statement at most, mostly none."""
        needed = {found for day in wanted if (found := nearest(day, self.days)) is not None}
        missing = needed.difference(self._held)
        if not missing:
            return self
        with connection():
            read = store.of_types(missing, types())
        return Book(self.days, {**self._held, **{day: read.get(day, {}) for day in missing}}, self._own)


class CurrentBook:
    """The book of this process: read when it is first asked for, and again when other prices were stored."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._book = Book()
        self._key: Any = None
        self._looked_at = float("-inf")
        self._file: tuple[Any, FixedPrices] = (None, FixedPrices())

    def get(self) -> Book:
        """The book. Costs a statement every LOOK_SECONDS, and some more when other prices were stored."""
        with self._lock:
            name = str(database.obj.database)
            is_known = self._key is not None and self._key[0] == name
            if not is_known or time.monotonic() - self._looked_at >= LOOK_SECONDS:
                with connection():
                    self._look(name)
                self._looked_at = time.monotonic()
            return self._book

    def look(self) -> Book:
        """The same, after having looked whether other prices were stored."""
        self._looked_at = float("-inf")
        return self.get()

    def _look(self, name: str) -> None:
        stored = store.days()
        own = self._own()
        key = name, stored, self._file[0]
        if key == self._key:
            return
        days = [day for day, _stored_at in stored]
        held = {day: store.of_day(day) for day in {*days[:1], *days[-1:]}}
        self._book, self._key = Book(days, held, own), key

    def _own(self) -> dict[int, int]:
        """The operator's prices. Of a file that has become unreadable those count that were read before."""
        path = settings_module.current().price_file
        mark: Any = path
        if path is not None:
            try:
                state = path.stat()
                mark = path, state.st_mtime_ns, state.st_size
            except OSError:
                mark = path, None
        if mark != self._file[0]:
            read = fixed.read(path)
            for problem in read.problems[:5]:
                log.warning("price file not usable as it is", problem=problem)
            is_lost = not read.prices and bool(read.problems)
            self._file = mark, self._file[1] if is_lost else read
        return self._file[1].prices


current = OnePerProcess(CurrentBook)
