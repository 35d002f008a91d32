"""Telling database errors apart: what passes if it is tried again, what waits for a server, and what is our own mistake."""

from __future__ import annotations

import peewee
import psycopg2
from playhouse.pool import MaxConnectionsExceeded

#: Errors after which the same transaction may simply be tried again: deadlock, serialization failure, SQLite's lock.
_TRANSIENT_TEXTS = ("deadlock detected", "could not serialize", "database is locked", "database table is locked")
#: Errors that say that the server is away, coming back or without room, not that the statement is wrong.
_AWAY_TEXTS = (
    "connection", "server closed", "terminating", "starting up", "shutting down", "recovery mode", "too many clients",
    "remaining connection slots", "could not translate host", "unable to open database",
    "no space left", "disk is full",
    # SQLite without room has ended the transaction itself; that is all that its driver then says.
    "cannot rollback",
)  # fmt: skip


class DatabaseAway(Exception):
    """The database does not answer; the text says where it was sought and never carries a password."""


def is_transient(error: Exception) -> bool:
    """Whether the same transaction may succeed if it is simply run again."""
    text = str(error).lower()
    return any(part in text for part in _TRANSIENT_TEXTS)


def is_away(error: BaseException) -> bool:
    """Whether *error* says that the database is unreachable, restarting or out of room, so that waiting is the cure."""
    if isinstance(error, DatabaseAway | MaxConnectionsExceeded):
        return True
    if not isinstance(error, peewee.OperationalError | peewee.InterfaceError | psycopg2.OperationalError
                      | psycopg2.InterfaceError):  # fmt: skip
        return False
    text = str(error).lower()
    return any(part in text for part in _AWAY_TEXTS)
