"""Blocking calls of the web process in a few threads, never on the event loop: one pool for the database, one for services.

A thread of the database's pool holds a connection while it runs. A call to ESI, the SSO or RabbitMQ may take a minute, so
those have threads of their own, which hold a connection only where the called function opens one.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

import peewee
import psycopg2

from models.db import connection, database
from models.errors import is_away

P = ParamSpec("P")
T = TypeVar("T")

#: Threads, and with them connections, that readers of this process may use at a time.
THREADS = 8
#: Calls that may wait for a thread of the database's pool; beyond it the caller has to come back later.
MOST_WAITING = 400
#: Calls to services at a time, and how many more may wait for one to end.
SERVICE_THREADS = 16
MOST_WAITING_FOR_SERVICES = 32


class Busy(Exception):
    """More calls wait already than can be answered in time."""


class _Pool:
    """Threads for one kind of blocking calls, with a bound on the calls that wait for one."""

    def __init__(self, name: str, threads: int, most_waiting: int) -> None:
        self._executor = ThreadPoolExecutor(max_workers=threads, thread_name_prefix=name)
        self._most = threads + most_waiting
        self._lock = threading.Lock()
        self._open = 0

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Have *work* run in a thread.

        Raises:
            Busy: too many calls wait already.
        """
        with self._lock:
            if self._open >= self._most:
                raise Busy("the server is busy: try again in a moment")
            self._open += 1
        try:
            future = self._executor.submit(work)
        except BaseException:
            self._ended(None)
            raise
        # Counted until the thread is free again, which is later than its caller's patience may end.
        future.add_done_callback(self._ended)
        return future

    def _ended(self, _future: Future[Any] | None) -> None:
        with self._lock:
            self._open -= 1


_database = _Pool("killsync-db", THREADS, MOST_WAITING)
_services = _Pool("killsync-service", SERVICE_THREADS, MOST_WAITING_FOR_SERVICES)


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
    call = _Call()
    future = _database.submit(lambda: call.run(lambda: work(*args, **kwargs)))
    try:
        return await asyncio.wrap_future(future)
    except asyncio.CancelledError:
        call.is_cancelled = True
        asyncio.get_running_loop().run_in_executor(None, call.cancel)
        raise


async def in_service(work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Run blocking *work* that calls ESI, the SSO or RabbitMQ in a thread without a database connection.

    *work* opens one by `models.db.connection` around each of its parts that needs it. What it began goes on in its
    thread when the caller is cancelled.

    Raises:
        Busy: too many calls wait already.
    """
    return await asyncio.wrap_future(_services.submit(lambda: work(*args, **kwargs)))


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
