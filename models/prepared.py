"""Queries for the rows of given ids, written down once: a page runs several, and building one takes Peewee as long as
the database takes to answer it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from peewee import Entity, Node, Select, Value, fn

from models.db import database
from models.expressions import either
from models.sql import each_row, each_tuple
from models.work import CURRENT


class Ids:
    """One list of ids of a prepared query: a single parameter, however many there are."""

    def __init__(self, *, is_array: bool) -> None:
        #: PostgreSQL takes an array, SQLite a list in JSON.
        self._is_array = is_array

    def have(self, column: Any) -> Node:
        """That *column* is one of the ids."""
        if self._is_array:
            condition: Node = column == fn.ANY(Value(self, unpack=False))
            return condition
        listed: Node = column.in_(Select((fn.json_each(Value(self, unpack=False)),), (Entity("value"),)))
        return listed

    def parameter(self, ids: Iterable[int]) -> Any:
        """*ids* as the database takes them."""
        return list(ids) if self._is_array else json.dumps(list(ids))


@dataclass(frozen=True)
class _Written:
    """The text of a query for one kind of database, with its parameters; some of them are lists still to be filled in."""

    text: str
    parameters: list[Any]
    lists: tuple[Ids, ...]


class Prepared:
    """A query over lists of ids. *build* makes it of one `Ids` for each list; what else it holds stays as it is then."""

    def __init__(self, build: Callable[..., Any], lists: int = 1) -> None:
        self._build = build
        self._count = lists
        self._written: dict[type, _Written] = {}

    def fetch(self, *lists: Iterable[int]) -> Iterator[dict[str, Any]]:
        """Each row for these ids by column, as the database gives it: a moment is text on SQLite."""
        return each_row(self._run(lists))

    def tuples(self, *lists: Iterable[int]) -> Iterator[tuple[Any, ...]]:
        """The same in the order of the columns."""
        return each_tuple(self._run(lists))

    def _run(self, lists: tuple[Iterable[int], ...]) -> Any:
        work = CURRENT.get()
        if work is not None:
            work.check()
        written = self._written.get(type(database.obj)) or self._write()
        values = {mark: mark.parameter(ids) for mark, ids in zip(written.lists, lists, strict=True)}
        parameters = [values[each] if isinstance(each, Ids) else each for each in written.parameters]
        return database.execute_sql(written.text, parameters)

    def _write(self) -> _Written:
        marks = tuple(Ids(is_array=either(postgres=True, sqlite=False)) for _ in range(self._count))
        text, parameters = self._build(*marks).sql()
        written = self._written[type(database.obj)] = _Written(text, list(parameters), marks)
        return written
