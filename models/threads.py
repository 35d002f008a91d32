"""Database work for the web process: blocking calls in a few threads, never on the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

import peewee
import psycopg2

from models.db import connection, database
from models.errors import is_away

P = ParamSpec("P")
T = TypeVar("T")

#: Threads, and with them connections, that readers of this process may use at a time.
THREADS = 8
#: Calls that may wait for a thread; beyond it the caller is told to come back.
MOST_WAITING = 400

_threads = ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="killsync-db")
_waiting = 0


class Busy(Exception):
    """More calls wait for the database than can be answered in time."""


class _Call:
    """One call in a thread; `cancel` ends the statement it is running, and nothing that comes after it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._raw: Any = None
        self.is_cancelled = False

    def run(self, work: Callable[[], T]) -> T:
        if self.is_cancelled:
            raise asyncio.CancelledError
        with connection():
            with self._lock:
                self._raw = database.obj.connection()
            try:
                return work()
            finally:
                with self._lock:
                    self._raw = None

    def cancel(self) -> None:
        with self._lock, contextlib.suppress(psycopg2.Error, peewee.PeeweeException):
            self.is_cancelled = True
            if self._raw is not None:
                # psycopg2 and sqlite3 name it differently; both may be called from another thread.
                (getattr(self._raw, "cancel", None) or self._raw.interrupt)()


async def in_db(work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Run blocking database *work* in a thread with a connection of its own.

    A caller that is cancelled, by a time limit or a client that went away, also ends the statement that is running.

    Raises:
        Busy: too many calls wait already.
    """
    global _waiting
    if _waiting >= MOST_WAITING:
        raise Busy("the server is busy: try again in a moment")
    loop = asyncio.get_running_loop()
    call = _Call()
    _waiting += 1
    try:
        return await loop.run_in_executor(_threads, call.run, lambda: work(*args, **kwargs))
    except asyncio.CancelledError:
        call.is_cancelled = True
        loop.run_in_executor(None, call.cancel)
        raise
    finally:
        _waiting -= 1


async def read_db(work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """`in_db` for work that only reads: after a restart of the database it is tried once more on a new connection."""
    try:
        return await in_db(work, *args, **kwargs)
    except (peewee.PeeweeException, psycopg2.Error) as error:
        if not is_away(error):
            raise
        await asyncio.get_running_loop().run_in_executor(None, forget_idle_connections)
        return await in_db(work, *args, **kwargs)


def forget_idle_connections() -> None:
    """Close the pool's idle connections: after a restart of the database all of them are dead."""
    close_idle = getattr(database.obj, "close_idle", None)
    if close_idle is not None:
        with contextlib.suppress(psycopg2.Error, peewee.PeeweeException):
            close_idle()
