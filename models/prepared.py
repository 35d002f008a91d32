"""Statements written down once: a message of killmails and a page run several, and building one takes Peewee as long as the
database takes to answer it."""

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
    """One list of ids of a prepared statement: a single parameter, however many there are."""

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


class _Single:
    """One value of a prepared statement."""

    def parameter(self, value: Any) -> Any:
        return value


@dataclass(frozen=True)
class _Written:
    """The text of a statement for one kind of database, with its parameters; some of them are still to be filled in."""

    text: str
    parameters: list[Any]
    marks: tuple[Ids | _Single, ...]


class Prepared:
    """A statement over lists of ids and single values; what else it holds stays as it is when it is first run.

    Values are given as the database takes them, a moment as text (`to_text`), and results come as it gives them: a moment is
    text on SQLite (`from_any` reads both).

    Args:
        build: makes the query of an `Ids` for each list, then a node for each value.
        lists, values: how many of either it has.
    """

    def __init__(self, build: Callable[..., Any], lists: int = 1, values: int = 0) -> None:
        self._build = build
        self._lists = lists
        self._values = values
        self._written: dict[type, _Written] = {}

    def fetch(self, *given: Any) -> Iterator[dict[str, Any]]:
        """Each row by column."""
        return each_row(self._execute(given))

    def tuples(self, *given: Any) -> Iterator[tuple[Any, ...]]:
        """Each row in the order of the columns, read some at a time as `fetch` does."""
        return each_tuple(self._execute(given))

    def rows(self, *given: Any) -> list[tuple[Any, ...]]:
        """All rows at once, for few."""
        found: list[tuple[Any, ...]] = self._execute(given).fetchall()
        return found

    def first(self, *given: Any) -> tuple[Any, ...] | None:
        """The first row; None when there is none."""
        found: tuple[Any, ...] | None = self._execute(given).fetchone()
        return found

    def run(self, *given: Any) -> int:
        """How many rows it touched."""
        return int(self._execute(given).rowcount)

    def _execute(self, given: tuple[Any, ...]) -> Any:
        work = CURRENT.get()
        if work is not None:
            work.check()
        written = self._written.get(type(database.obj)) or self._write()
        values = {mark: mark.parameter(value) for mark, value in zip(written.marks, given, strict=True)}
        parameters = [values[each] if isinstance(each, Ids | _Single) else each for each in written.parameters]
        return database.execute_sql(written.text, parameters)

    def _write(self) -> _Written:
        lists = [Ids(is_array=either(postgres=True, sqlite=False)) for _ in range(self._lists)]
        values = [_Single() for _ in range(self._values)]
        # Peewee does not know yet what the value will be, so nothing is made of it.
        nodes = [Value(each, converter=False, unpack=False) for each in values]
        text, parameters = database.obj.get_sql_context().parse(self._build(*lists, *nodes))
        written = self._written[type(database.obj)] = _Written(text, list(parameters), (*lists, *values))
        return written
