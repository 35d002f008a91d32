"""Runs what the threads of a process want of one row of the database, in as few transactions as they arrive in.

Nothing here knows what the row holds.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

W = TypeVar("W")

#: Seconds between two looks of a waiting caller at whether somebody works for it; also how soon an exception that was
#: thrown into its thread is seen.
LOOK_SECONDS = 0.5
#: A thread that had nothing to do for this long ends, seconds.
IDLE_SECONDS = 60.0


@dataclass(frozen=True)
class _Answer:
    result: Any = None
    error: BaseException | None = None


@dataclass(frozen=True)
class _Call(Generic[W]):
    work: W
    answers: SimpleQueue[_Answer]


class Batches(Generic[W]):
    """Collects pieces of work from many threads and gives all that wait to *run* at once, in a thread of its own.

    Dramatiq throws TimeLimitExceeded into a worker's thread at any bytecode. No caller may therefore lead others: it could
    leave them waiting forever. For the same reason callers share nothing but SimpleQueue with the thread: that is written in
    C and cannot be left half-way, unlike an Event, a Condition or a Future, whose locks are taken in Python.

    Args:
        run: does a list of pieces of work and gives their results in the same order.
    """

    def __init__(self, run: Callable[[list[W]], Sequence[Any]]) -> None:
        self._run = run
        self._calls: SimpleQueue[_Call[W]] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def apply(self, work: W) -> Any:
        """The result of *work*, or the exception that ended the batch it was in."""
        call = _Call(work, SimpleQueue())
        self._calls.put(call)
        while True:
            self._make_sure_that_it_runs()
            try:
                answer = call.answers.get(timeout=LOOK_SECONDS)
            except Empty:
                continue
            if answer.error is not None:
                raise answer.error
            return answer.result

    def _make_sure_that_it_runs(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            with self._starting:
                # In a forked process the parent's thread counts as ended, so it gets one of its own.
                if self._thread is None or not self._thread.is_alive():
                    self._thread = threading.Thread(target=self._work, name="killsync-rate-limit", daemon=True)
                    self._thread.start()

    def _work(self) -> None:
        while batch := self._waiting():
            try:
                results = self._run([call.work for call in batch])
                answers = [_Answer(result) for result in results]
            except BaseException as error:  # whatever it is belongs to the callers; this thread goes on
                answers = [_Answer(error=error)] * len(batch)
            for call, answer in zip(batch, answers, strict=True):
                call.answers.put(answer)

    def _waiting(self) -> list[_Call[W]]:
        """All calls that wait, at least one; none when there was nothing to do for long."""
        batch: list[_Call[W]] = []
        try:
            batch.append(self._calls.get(timeout=IDLE_SECONDS))
            while True:
                batch.append(self._calls.get_nowait())
        except Empty:
            return batch
