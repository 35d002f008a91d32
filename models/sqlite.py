"""SQLite for the models: one connection of a process writes, and what it has read stays in its memory.

SQLite forgets the pages that a connection holds as soon as another connection has written, and reads the whole schema for a
new one. What a transaction enters touches a dozen indexes, so on a connection of its own most of its time would go into
reading pages that the transaction before it had in memory.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import peewee

#: The mode of an SQLite file: tokens in it are encrypted, but sessions, webhooks and who is whose character are not.
PRIVATE = 0o600
#: How long a statement waits for another process that writes.
BUSY_SECONDS = 30
#: Pages of 4 kB that are written beside the file before they go into it. The file is then made durable, which everybody who
#: writes waits for: with SQLite's own 1,000 after every third message of killmails.
PAGES_BESIDE = 16_000
#: A connection that reads keeps up to 64 MB of pages.
_PRAGMAS = {
    "journal_mode": "wal",
    "synchronous": "normal",
    "foreign_keys": 1,
    "cache_size": -65_536,
    "wal_autocheckpoint": PAGES_BESIDE,
}


class _Writer(sqlite3.Connection):
    """The connection that writes, and which file of which process it is of."""

    file: tuple[int, ...] = ()


class SqliteDatabase(peewee.SqliteDatabase):
    """SQLite with one writer at a time inside this process, so that threads queue instead of colliding."""

    field_types = {**peewee.SqliteDatabase.field_types, "TIMESTAMPTZ": "DATETIME"}  # noqa: RUF012

    def __init__(self, path: str) -> None:
        super().__init__(path, pragmas=_PRAGMAS, timeout=BUSY_SECONDS)
        self._turn = threading.RLock()
        self._writer: _Writer | None = None

    def _connect(self) -> Any:
        keep_private(self.database)
        return super()._connect()  # type: ignore[misc]

    def rollback(self) -> None:
        # SQLite without room has ended the transaction itself; to end it again would hide the error that says so.
        if self.is_closed() or self.connection().in_transaction:
            super().rollback()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """A write transaction, the only one of this process. It takes the file's write lock first, so it cannot fail half-way."""
        if not is_file(self.database):
            with self._turn, self.atomic("IMMEDIATE"):
                yield
            return
        state: Any = self._state  # type: ignore[attr-defined]
        with self._turn:
            # The thread's own connection, if it has one, waits meanwhile: what it read is older than this transaction.
            own, was_closed = state.conn, state.closed
            state.conn, state.closed = self._connection_that_writes(), False
            try:
                with self.atomic("IMMEDIATE"):
                    yield
            except (peewee.DatabaseError, sqlite3.Error):
                # Whatever state it is in, the next transaction does not begin with it.
                self.close_writer()
                raise
            finally:
                state.conn, state.closed = own, was_closed

    def close_writer(self) -> None:
        """Close the connection that writes, when no other thread does; the next transaction opens another."""
        with self._turn:
            found, self._writer = self._writer, None
            if found is not None:
                with suppress(sqlite3.Error):
                    found.close()

    def _connection_that_writes(self) -> sqlite3.Connection:
        found = self._writer
        if found is None or found.file != _file(self.database) or found.in_transaction:
            self.close_writer()
            keep_private(self.database)
            found = sqlite3.connect(
                self.database, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, factory=_Writer
            )
            self._add_conn_hooks(found)  # type: ignore[attr-defined]
            found.file = _file(self.database)
            self._writer = found
        return found


def is_file(path: str) -> bool:
    """Whether an SQLite database is a file, and no memory of one connection."""
    return path != ":memory:" and not path.startswith("file:")


def _file(path: str) -> tuple[int, ...]:
    """Which file *path* is, for this process: a child has to open its own, and a path may get another file."""
    try:
        found = Path(path).stat()
    except OSError:
        return ()
    return os.getpid(), found.st_dev, found.st_ino


def keep_private(path: str) -> None:
    """Make an SQLite file, and what SQLite keeps beside it, readable by its owner alone; made empty if it is not there.

    SQLite gives the files beside it the mode of the file itself. One that belongs to somebody else is left as it is.
    """
    if not is_file(path):
        return
    file = Path(path)
    with suppress(OSError):  # a folder that cannot be written: SQLite says so itself
        file.touch(mode=PRIVATE, exist_ok=True)
    for each in (file, *(file.with_name(file.name + end) for end in ("-wal", "-shm", "-journal"))):
        with suppress(FileNotFoundError, PermissionError):
            if each.stat().st_mode & 0o077:
                each.chmod(PRIVATE)
