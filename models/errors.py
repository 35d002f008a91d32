"""Telling database errors apart: what passes if it is tried again, what waits for a server, and what is our own mistake.

Only codes are looked at, never a message: PostgreSQL writes those in the language of its `lc_messages`.
"""

from __future__ import annotations

import sqlite3

import peewee
import psycopg2
from playhouse.pool import MaxConnectionsExceeded

# SQLSTATEs: https://www.postgresql.org/docs/current/errcodes-appendix.html
#: deadlock_detected, serialization_failure, lock_not_available: the same transaction may succeed the next time.
_TRANSIENT_STATES = {"40P01", "40001", "55P03"}
#: connection_exception and insufficient_resources (no room on the disk, no memory, too many connections).
_AWAY_CLASSES = {"08", "53"}
#: admin_shutdown, crash_shutdown, cannot_connect_now, idle_session_timeout, idle_in_transaction_session_timeout: the server
#: ended the connection, or does not take one yet.
_AWAY_STATES = {"57P01", "57P02", "57P03", "57P05", "25P03"}
_LOCK_NOT_AVAILABLE = "55P03"
#: What psycopg2 raises without a SQLSTATE when a connection was not made or broke: these classes, not others below them.
_CONNECTION_ERRORS = (psycopg2.OperationalError, psycopg2.InterfaceError, psycopg2.DatabaseError)

# https://www.sqlite.org/rescode.html; the lowest byte of an extended code is the primary one.
_SQLITE_TRANSIENT = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_SQLITE_AWAY = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN}


class DatabaseAway(Exception):
    """The database does not answer; the text says where it was sought and never carries a password."""


def is_transient(error: BaseException) -> bool:
    """Whether the same transaction may succeed if it is simply run again."""
    driver = _driver_error(error)
    return _sqlstate(driver) in _TRANSIENT_STATES or _sqlite_code(driver) in _SQLITE_TRANSIENT


def is_locked(error: BaseException) -> bool:
    """Whether a table or row stayed locked for longer than this connection waits."""
    driver = _driver_error(error)
    return _sqlstate(driver) == _LOCK_NOT_AVAILABLE or _sqlite_code(driver) in _SQLITE_TRANSIENT


def is_away(error: BaseException) -> bool:
    """Whether *error* says that the database is unreachable, restarting or out of room, so that waiting is the cure."""
    driver = _driver_error(error)
    if isinstance(driver, DatabaseAway | MaxConnectionsExceeded):
        return True
    if isinstance(driver, psycopg2.Error):
        state = _sqlstate(driver)
        if state is None:
            return type(driver) in _CONNECTION_ERRORS
        return state[:2] in _AWAY_CLASSES or state in _AWAY_STATES
    if isinstance(driver, sqlite3.Error):
        return _sqlite_code(driver) in _SQLITE_AWAY
    # Peewee's own, without an error of the driver: this thread's connection is not open, or not any more.
    return isinstance(driver, peewee.InterfaceError | peewee.OperationalError)


def _driver_error(error: BaseException) -> BaseException:
    """The driver's error in Peewee's, which keeps it as `orig`; any other error itself."""
    while isinstance(error, peewee.PeeweeException):
        inner = getattr(error, "orig", None) or error.__cause__
        if inner is None:
            break
        error = inner
    return error


def _sqlstate(error: BaseException) -> str | None:
    return error.pgcode if isinstance(error, psycopg2.Error) else None


def _sqlite_code(error: BaseException) -> int | None:
    code = getattr(error, "sqlite_errorcode", None) if isinstance(error, sqlite3.Error) else None
    return code & 0xFF if code is not None else None
