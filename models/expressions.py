"""Peewee expressions for what PostgreSQL and SQLite say differently: the database's clock, locking rows, names and hours."""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypeVar

from peewee import OP, Expression, Node, fn

from models.db import is_postgres
from models.fields import utcnow

Q = TypeVar("Q")


def now(offset_seconds: float = 0.0) -> Node:
    """The database's own clock, moved by an offset: hosts whose clocks differ still agree on what is due.

    On PostgreSQL it is the moment the statement began: unlike `clock_timestamp()` that can be looked up in an index.
    """
    if is_postgres():
        moment: Node = fn.statement_timestamp()
        return moment + fn.make_interval(0, 0, 0, 0, 0, 0, offset_seconds) if offset_seconds else moment
    moved: Node = fn.strftime("%Y-%m-%d %H:%M:%f000+00:00", "now", f"{float(offset_seconds):+.3f} seconds")
    return moved


def at(moment: datetime) -> Node:
    """*moment*, told by this host's clock, on the database's clock."""
    return now((moment - utcnow()).total_seconds())


def locked(query: Q, *, skip: bool = False) -> Q:
    """*query* so that it locks the rows that it finds until the transaction ends; with *skip* it passes over locked ones.

    SQLite has one writer at a time and needs no lock.
    """
    if not is_postgres():
        return query
    selected: Any = query
    locking: Q = selected.for_update("FOR UPDATE SKIP LOCKED" if skip else "FOR UPDATE")
    return locking


def folded(column: Any) -> Any:
    """A name without regard to case, as the index for searching has it; also the order of that index."""
    return fn.lower(column).collate('"C"') if is_postgres() else column.collate("NOCASE")


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
    if is_postgres():
        return fn.floor(fn.date_part("epoch", column) / 3600).cast("bigint")
    # Julian days are fractions: a third of a second keeps a whole hour from being taken for the end of the one before.
    return ((fn.julianday(column) - 2440587.5) * 24 + 0.0001).cast("integer")
