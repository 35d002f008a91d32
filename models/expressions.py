"""Peewee expressions for what PostgreSQL and SQLite say differently: the database's clock, and locking rows."""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypeVar

from peewee import Expression, Node, fn

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


def differs(one: Node, other: Node) -> Expression:
    """Whether two values are not the same, where nothing is a value like any other."""
    return Expression(one, "IS DISTINCT FROM" if is_postgres() else "IS NOT", other)
