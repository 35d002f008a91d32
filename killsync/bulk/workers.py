"""Processes that store batches beside the one that reads: each takes a batch, says what became of it, and takes the next.

Whoever reads does not wait for whoever stores, but no more than one batch waits: what is in memory does not grow with the file.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Protocol

from killsync import process
from killsync.bulk.batches import Named, Outcome, import_batch
from killsync.logging import setup_logging
from killsync.settings import Settings
from killsync.startup import spare_garbage_collection
from models import connect
from models.errors import DatabaseAway, is_away

_LEFT_TO_THE_OTHER = (signal.SIGINT, signal.SIGTERM)


class ImportFailed(Exception):
    """A batch could not be stored for a reason that has nothing to do with it; the text is one line."""


class Storing(Protocol):
    """Who stores batches."""

    def store(self, batch: list[Named]) -> Iterator[Outcome]:
        """Have a batch stored; what became of others meanwhile."""

    def finish(self) -> Iterator[Outcome]:
        """Wait for those that are under way; what became of them."""

    def close(self) -> None:
        """Give up what is held."""


class Alone:
    """This process itself stores: SQLite has one writer."""

    def __init__(self, *, announce: bool) -> None:
        self._announce = announce

    def store(self, batch: list[Named]) -> Iterator[Outcome]:
        yield import_batch(batch, announce=self._announce)

    def finish(self) -> Iterator[Outcome]:
        return iter(())

    def close(self) -> None:
        """Nothing is held."""


class Workers:
    """*count* processes."""

    def __init__(self, settings: Settings, count: int, *, announce: bool) -> None:
        # A fresh interpreter: what a fork would copy of this one's connections and threads is of no use to it.
        context = multiprocessing.get_context("spawn")
        self._processes: list[BaseProcess] = []
        self._idle: list[Connection] = []
        self._busy: list[Connection] = []
        with _deaf_to_interrupts():
            for _ in range(count):
                ours, theirs = context.Pipe()
                made = context.Process(target=_work, args=(theirs, settings, announce), daemon=True)
                made.start()
                theirs.close()
                self._processes.append(made)
                self._idle.append(ours)

    def store(self, batch: list[Named]) -> Iterator[Outcome]:
        if not self._idle:
            yield from self._wait()
        place = self._idle.pop()
        self._busy.append(place)
        try:
            place.send(batch)
        except OSError:
            raise ImportFailed("one of its processes has ended") from None

    def finish(self) -> Iterator[Outcome]:
        while self._busy:
            yield from self._wait()

    def close(self) -> None:
        for place in (*self._idle, *self._busy):
            place.close()
        for each in self._processes:
            each.join(10)
            if each.is_alive():
                each.kill()

    def _wait(self) -> Iterator[Outcome]:
        """What became of those batches of which one at least is done."""
        for place in wait(self._busy):
            assert isinstance(place, Connection)
            self._busy.remove(place)
            try:
                answer = place.recv()
            except (EOFError, OSError):
                raise ImportFailed("one of its processes has ended") from None
            self._idle.append(place)
            if isinstance(answer, _Trouble):
                raise DatabaseAway(answer.text) if answer.is_away else ImportFailed(answer.text)
            yield answer


class _Trouble:
    """Why a process stores no more."""

    def __init__(self, error: Exception) -> None:
        self.is_away = is_away(error)
        self.text = f"{type(error).__name__}: {error}"


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Ctrl-C goes to all processes of a terminal, SIGTERM to all of a service; those that are made here leave it to this one."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in _LEFT_TO_THE_OTHER}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _work(place: Connection, settings: Settings, announce: bool) -> None:
    """Store what comes through *place* until the other end is closed."""
    for number in _LEFT_TO_THE_OTHER:
        signal.signal(number, signal.SIG_IGN)
    process.begin(settings)
    setup_logging(settings)
    connect(settings)
    spare_garbage_collection()
    while True:
        try:
            batch = place.recv()
        except (EOFError, OSError):
            return
        try:
            answer: Outcome | _Trouble = import_batch(batch, announce=announce)
        except Exception as error:
            answer = _Trouble(error)
        try:
            place.send(answer)
        except OSError:
            return


def processes_for(settings: Settings) -> int:
    """How many processes store: one a core, on SQLite this one alone."""
    return len(os.sched_getaffinity(0)) if settings.uses_postgres else 1
