"""Blocking calls of the web process in a few threads, never on the event loop: one pool for the database, one for services.

A thread of the database's pool holds a connection while it runs. A call to ESI, the SSO or RabbitMQ may take a minute, so
those have threads of their own, which hold a connection only where the called function opens one.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import sqlite3
import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar

import peewee
import psycopg2

from models.db import connection, database
from models.errors import is_away
from models.work import CALLER, CURRENT, PATIENCE, NeedsRoom, OutOfTime, OverBudget, Work

P = ParamSpec("P")
T = TypeVar("T")

#: Threads, and with them connections, that readers of this process may use at a time.
THREADS = 8
#: Calls that may wait for a thread of the database's pool; beyond it the caller has to come back later.
MOST_WAITING = 400
#: Calls to services at a time, and how many more may wait for one to end.
SERVICE_THREADS = 16
MOST_WAITING_FOR_SERVICES = 32
#: Steps of SQLite's machine between two looks at the clock: less than a millisecond.
SQLITE_STEPS = 10_000
#: A statement that failed this close to the end of the operation's time was ended by it, seconds.
CLOSE_SECONDS = 0.05
#: A read of many statements that nobody waits for is ended at the one that runs, so often, with so much between, seconds.
CANCELLATIONS, CANCEL_SECONDS = 40, 0.05


class Busy(Exception):
    """More calls wait already than can be answered in time."""


@dataclass
class _Task:
    """Something that waits for a thread, and who asked for it."""

    work: Callable[[], Any]
    caller: str | None
    future: Future[Any] = field(default_factory=Future)
    context: Context = field(default_factory=copy_context)


class _Pool:
    """Threads for one kind of blocking calls, shared fairly among callers, with a bound on the calls that wait.

    A caller may hold as many threads as are left free when it has them, so at most half, and there is always one for who
    comes next; the same goes for the places of those that wait. Callers take turns.
    """

    def __init__(self, name: str, threads: int, most_waiting: int) -> None:
        self._executor = ThreadPoolExecutor(max_workers=threads, thread_name_prefix=name)
        self._lock = threading.Lock()
        self._free = threads
        self._places = most_waiting
        self._running: Counter[str | None] = Counter()
        #: Who waits, in the order of their turns.
        self._waiting: OrderedDict[str | None, deque[_Task]] = OrderedDict()

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Have *work* run in a thread, in the context of the one who calls.

        Raises:
            Busy: too many calls wait already, or too many of this caller.
        """
        task = _Task(work, CALLER.get())
        with self._lock:
            queue = self._waiting.setdefault(task.caller, deque())
            queue.append(task)
            self._start()
            if queue and queue[-1] is task and not self._takes_a_place(task.caller, len(queue)):
                queue.pop()
                self._forget(task.caller)
                raise Busy("the server is busy: try again in a moment")
        return task.future

    def _takes_a_place(self, caller: str | None, waiting: int) -> bool:
        """Whether one more may wait; this one is in its queue already."""
        left = self._places - sum(map(len, self._waiting.values()))
        return left >= 0 and (caller is None or waiting <= left + 1)

    def _start(self) -> None:
        """Start what may run; the lock is held."""
        while self._free:
            caller = next((each for each in self._waiting if each is None or self._running[each] < self._free), _NOBODY)
            if caller is _NOBODY:
                return
            assert caller is None or isinstance(caller, str)
            queue = self._waiting[caller]
            if not queue:
                self._forget(caller)
                continue
            task = queue.popleft()
            self._waiting.move_to_end(caller)
            self._forget(caller)
            self._free -= 1
            self._running[caller] += 1
            self._executor.submit(self._run, task)

    def _forget(self, caller: str | None) -> None:
        if not self._waiting[caller]:
            del self._waiting[caller]

    def _run(self, task: _Task) -> None:
        try:
            if task.future.set_running_or_notify_cancel():
                try:
                    result = task.context.run(task.work)
                except BaseException as error:
                    task.future.set_exception(error)
                else:
                    task.future.set_result(result)
        finally:
            # Counted until the thread is free again, which is later than its caller's patience may end.
            with self._lock:
                self._free += 1
                self._running[task.caller] -= 1
                self._running += Counter()
                self._start()


#: Stands for no caller at all, where None is one.
_NOBODY = object()

_database = _Pool("killsync-db", THREADS, MOST_WAITING)
_services = _Pool("killsync-service", SERVICE_THREADS, MOST_WAITING_FOR_SERVICES)


class _Call:
    """One call in a thread; `cancel` ends the statement it is running, and nothing that comes after it."""

    def __init__(self, *, reads_only: bool) -> None:
        self._lock = threading.Lock()
        self._raw: Any = None
        self._reads_only = reads_only
        self.is_cancelled = False

    def run(self, work: Callable[[], T]) -> T:
        if self.is_cancelled:
            raise asyncio.CancelledError
        bound = CURRENT.get() if self._reads_only else None
        if bound is not None:
            bound.check()
        with connection():
            with self._lock:
                self._raw = database.obj.connection()
            try:
                return work() if bound is None else _run_in_time(work, bound, self._raw)
            finally:
                with self._lock:
                    self._raw = None

    def cancel(self) -> None:
        """End the statement that runs. A read is tried until it has ended: between two statements there is none to end."""
        self.is_cancelled = True
        for _ in range(CANCELLATIONS if self._reads_only else 1):
            with self._lock, contextlib.suppress(psycopg2.Error, peewee.PeeweeException):
                if self._raw is None:
                    return
                # psycopg2 and sqlite3 name it differently; both may be called from another thread.
                (getattr(self._raw, "cancel", None) or self._raw.interrupt)()
            time.sleep(CANCEL_SECONDS)


def _run_in_time(work: Callable[[], T], bound: Work, raw: Any) -> T:
    """Run *work* with each of its statements ending by itself when the operation's time is up.

    Raises:
        OutOfTime: it was.
    """
    try:
        if hasattr(raw, "set_progress_handler"):
            raw.set_progress_handler(lambda: bound.seconds_left() <= 0, SQLITE_STEPS)
            try:
                return work()
            finally:
                raw.set_progress_handler(None, 0)
        # In a transaction, since behind a pooler the session is not ours alone: what is set ends with it.
        with database.obj.atomic():
            if math.isfinite(bound.seconds_left()):
                database.execute_sql(f"SET LOCAL statement_timeout = {max(1, int(bound.seconds_left() * 1000))}")
            return work()
    except (peewee.PeeweeException, psycopg2.Error, sqlite3.Error):
        if bound.seconds_left() <= CLOSE_SECONDS:
            raise OutOfTime("the operation's time is up") from None
        raise


async def in_db(work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Run blocking database *work* in a thread with a connection of its own.

    A caller that is cancelled, by a time limit or a client that went away, also ends the statement that is running.

    Raises:
        Busy: too many calls wait already.
    """
    return await _in_db(_Call(reads_only=False), lambda: work(*args, **kwargs))


async def _in_db(call: _Call, work: Callable[[], T]) -> T:
    future = _database.submit(lambda: call.run(work))
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
    """`in_db` for work that only reads: after a restart of the database it is tried once more on a new connection.

    On behalf of an operation (`models.work.CURRENT`) no statement outlives the operation's time; for a page, no read outlives
    its `PATIENCE`.

    Raises:
        Busy: too many calls wait already.
        OutOfTime, OverBudget: the operation is to stop, or the page takes too long.
    """

    def read() -> T:
        return work(*args, **kwargs)

    patience = PATIENCE.get() if CURRENT.get() is None else None
    if patience is None:
        return await _read(read)
    reading = asyncio.timeout(patience)
    try:
        async with reading:
            return await _read(read)
    except TimeoutError:
        if not reading.expired():
            raise
        raise OutOfTime(f"this took longer than {patience:.0f} s") from None


async def _read(read: Callable[[], T]) -> T:
    try:
        # While the operation waits for room no thread does, and what was read is dropped: the error ends with its block.
        with contextlib.suppress(NeedsRoom):
            return await _in_db(_Call(reads_only=True), read)
        operation = CURRENT.get()
        assert operation is not None
        await operation.room()
        return await _in_db(_Call(reads_only=True), read)
    except (OutOfTime, OverBudget) as error:
        # Its traceback holds all that was read, until somebody collects the circle that it is part of.
        raise error.with_traceback(None) from None
    except (peewee.PeeweeException, psycopg2.Error) as error:
        if not is_away(error):
            raise
        await asyncio.get_running_loop().run_in_executor(None, forget_idle_connections)
        return await _in_db(_Call(reads_only=True), read)


def forget_idle_connections() -> None:
    """Close the pool's idle connections: after a restart of the database all of them are dead."""
    close_idle = getattr(database.obj, "close_idle", None)
    if close_idle is not None:
        with contextlib.suppress(psycopg2.Error, peewee.PeeweeException):
            close_idle()
