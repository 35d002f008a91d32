"""Peewee expressions for what PostgreSQL and SQLite say differently: the clock, locking rows, time limits, names, hours."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, TypeVar

from peewee import OP, ColumnBase, Expression, Node, Select, Value, fn

from models.db import database, is_postgres
from models.fields import utcnow

Q = TypeVar("Q")
#: The first moment of 1970 as SQLite's `julianday` counts it, days.
UNIX_EPOCH_AS_JULIAN_DAY = 2_440_587.5
T = TypeVar("T")


def either(*, postgres: T, sqlite: T) -> T:
    """The one that the database of the models understands."""
    return postgres if is_postgres() else sqlite


def now(offset_seconds: float | Node = 0.0) -> ColumnBase:
    """The database's own clock, moved by an offset: hosts whose clocks differ still agree on what is due.

    The offset may be a value of a prepared statement; without a value there is no moment.

    On PostgreSQL it is the moment the statement began: unlike `clock_timestamp()` that can be looked up in an index.
    """
    if is_postgres():
        moment: ColumnBase = fn.statement_timestamp()
        return moment + fn.make_interval(0, 0, 0, 0, 0, 0, offset_seconds) if offset_seconds else moment
    if isinstance(offset_seconds, Node):
        offset: Any = fn.round(offset_seconds, 3).concat(" seconds")
    else:
        offset = f"{float(offset_seconds):+.3f} seconds"
    moved: ColumnBase = fn.strftime("%Y-%m-%d %H:%M:%f000+00:00", "now", offset)
    return moved


def within(seconds: int) -> Node:
    """A moment of the next *seconds* by the database's clock, chosen at random for each row."""
    offset = fn.printf("+%d seconds", fn.abs(fn.random()) % seconds)
    moment: Node = either(
        postgres=fn.statement_timestamp() + fn.make_interval(0, 0, 0, 0, 0, 0, fn.random() * seconds),
        sqlite=fn.strftime("%Y-%m-%d %H:%M:%f000+00:00", "now", offset),
    )
    return moment


def at(moment: datetime) -> ColumnBase:
    """*moment*, read from this host's clock, on the database's clock."""
    return now((moment - utcnow()).total_seconds())


def evaluate(expression: Node) -> Any:
    """The value of *expression*, asked of the database by itself."""
    return Select([], [expression]).scalar(database)


def lift_time_limit() -> None:
    """In a transaction: let its statements take as long as they take, as maintenance of large tables must."""
    evaluate(either(postgres=fn.set_config("statement_timeout", "0", True), sqlite=Value(None)))


def locked(query: Q, *, skip: bool = False, of: Any = None) -> Q:
    """*query* so that it locks the rows that it finds until the transaction ends; with *skip* it passes over locked ones.

    *of* is the model whose rows are locked, where the query joins others. SQLite has one writer at a time and needs no
    lock.
    """
    if not is_postgres():
        return query
    selected: Any = query
    locking: Q = selected.for_update("FOR UPDATE SKIP LOCKED" if skip else "FOR UPDATE", of=of)
    return locking


def kept(query: Q) -> Q:
    """*query* so that nobody deletes the rows that it finds until the transaction ends; they can be changed meanwhile."""
    selected: Any = query
    return either(postgres=selected.for_update("FOR KEY SHARE"), sqlite=query)


def later_of(column: Any, moment: Node) -> Node:
    """The later of the moment in *column*, which may be empty, and *moment*."""
    later: Node = either(postgres=fn.GREATEST, sqlite=fn.MAX)(fn.COALESCE(column, moment), moment)
    return later


def epoch_of(column: Node) -> Any:
    """The moment in *column* as seconds since 1970, to the millisecond."""
    return either(
        postgres=fn.date_part("epoch", column),
        # Julian days are fractions, which the rounding makes whole milliseconds again.
        sqlite=fn.round((fn.julianday(fn.substr(column, 1, 23)) - UNIX_EPOCH_AS_JULIAN_DAY) * 86_400, 3),
    )


def seconds_between(earlier: Any, later: Any) -> Any:
    """The whole seconds from one moment to a later one; parts of a second of either are left out."""
    return either(
        postgres=fn.trunc(fn.date_part("epoch", later)) - fn.trunc(fn.date_part("epoch", earlier)),
        sqlite=fn.strftime("%s", fn.substr(later, 1, 19)).cast("INTEGER")
        - fn.strftime("%s", fn.substr(earlier, 1, 19)).cast("INTEGER"),
    )


def one_of(column: Any, values: Iterable[int]) -> Node:
    """That *column* is one of *values*. PostgreSQL gets them as one array, which costs less to write down than a list."""
    wanted = list(values)
    if len(wanted) != 1 and is_postgres():
        condition: Node = column == fn.ANY(Value(wanted, unpack=False))
        return condition
    single: Node = column == wanted[0] if len(wanted) == 1 else column.in_(wanted)
    return single


def folded(column: Any) -> Any:
    """A name without regard to case, as the index for searching has it; also the order of that index."""
    return either(postgres=fn.lower(column).collate('"C"'), sqlite=column.collate("NOCASE"))


def has_text(column: Any, text: str, *, at_start: bool = False) -> Node:
    """That a name has *text* inside, or *at_start*, without regard to case; `%` and `_` stand for themselves.

    Both databases can find the start in the index of `folded`.
    """
    if not is_postgres():
        condition: Node = column.startswith(text) if at_start else column.contains(text)
        return condition
    # Not Peewee's own: that is ILIKE, which no index serves.
    literal = text.lower().replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return Expression(folded(column), OP.LIKE, f"{literal}%" if at_start else f"%{literal}%")


def hour_number(column: Any) -> Any:
    """The hours since 1970 of a moment: a number groups faster than a moment does."""
    return either(
        postgres=fn.floor(fn.date_part("epoch", column) / 3600).cast("bigint"),
        # Julian days are fractions: a third of a second keeps a whole hour from being taken for the end of the one before.
        sqlite=((fn.julianday(column) - UNIX_EPOCH_AS_JULIAN_DAY) * 24 + 0.0001).cast("integer"),
    )


def differs(one: Node, other: Node) -> Expression:
    """Whether two values are not the same, where nothing is a value like any other."""
    return Expression(one, either(postgres="IS DISTINCT FROM", sqlite="IS NOT"), other)
