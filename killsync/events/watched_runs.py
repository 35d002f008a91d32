"""Sync runs that somebody watches: when one has changed, it is read and given as it stands. Only the last state counts."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Collection
from dataclasses import dataclass, field

from killsync.logging import get_logger
from killsync.sync import run_queries
from killsync.sync.run_queries import RunSummary
from models.errors import is_away
from models.threads import Busy, read_db

log = get_logger("events")

#: Runs of one watcher that are looked at when it is not known which changed.
MOST_RUNS = 50
#: How long to wait before a database is asked again that could not be asked, seconds.
RETRY_SECONDS = 0.5


@dataclass(eq=False)
class _Watcher:
    user_ids: Callable[[], Collection[int]]
    #: What it was given, or had seen when it began, by the run's id.
    known: dict[int, RunSummary] = field(default_factory=dict)
    newest: int = 0
    waiting: dict[int, RunSummary] = field(default_factory=dict)
    ready: asyncio.Event = field(default_factory=asyncio.Event)

    def begin(self, runs: Collection[RunSummary]) -> None:
        for run in runs:
            self.known.setdefault(run.id, run)
            self.newest = max(self.newest, run.id)

    def put(self, run: RunSummary) -> None:
        """Give it a run that changed. One of long ago that it never saw is no change."""
        if self.known.get(run.id) == run or (run.id not in self.known and run.id <= self.newest and run.finished_at):
            return
        self.known[run.id] = run
        self.newest = max(self.newest, run.id)
        if len(self.known) > 2 * MOST_RUNS:
            del self.known[min(self.known)]
        self.waiting[run.id] = run
        self.ready.set()


class RunWatchers:
    """Everybody in this process who watches runs."""

    def __init__(self) -> None:
        self._watchers: set[_Watcher] = set()
        self._changed: dict[tuple[int, int], None] = {}
        self._any_changed = False
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def count(self) -> int:
        return len(self._watchers)

    def start(self) -> None:
        """Begin to give runs."""
        self._task = asyncio.create_task(self._deliver())

    async def stop(self) -> None:
        """Stop giving runs."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def changed(self, runs: list[tuple[int, int]] | None) -> None:
        """These (run, user) changed; None: any may have."""
        if runs is None:
            self._any_changed = True
        else:
            watched = {user_id for watcher in self._watchers for user_id in watcher.user_ids()}
            self._changed.update(dict.fromkeys(each for each in runs if each[1] in watched))
        if self._any_changed or self._changed:
            self._woken.set()

    async def follow(self, user_ids: Callable[[], Collection[int]]) -> AsyncGenerator[RunSummary, None]:
        """The runs of these users, each time one has changed."""
        watcher = _Watcher(user_ids)
        self._watchers.add(watcher)
        try:
            watcher.begin(await read_db(_runs_of, list(user_ids())))
            while True:
                await watcher.ready.wait()
                watcher.ready.clear()
                while watcher.waiting:
                    yield watcher.waiting.pop(next(iter(watcher.waiting)))
        finally:
            self._watchers.discard(watcher)

    async def _deliver(self) -> None:
        while True:
            await self._woken.wait()
            self._woken.clear()
            runs, is_any = list(self._changed), self._any_changed
            self._changed, self._any_changed = {}, False
            try:
                await self._give(runs, is_any=is_any)
            except Exception as error:
                if not (isinstance(error, Busy) or is_away(error)):
                    log.exception("runs not given", runs=len(runs))
                    continue
                log.warning("runs wait for the database", reason=type(error).__name__)
                self._changed.update(dict.fromkeys(runs))
                self._any_changed = self._any_changed or is_any
                await asyncio.sleep(RETRY_SECONDS)
                self._woken.set()

    async def _give(self, runs: list[tuple[int, int]], *, is_any: bool) -> None:
        for run_id, _ in runs:
            run = await read_db(run_queries.run_summary, run_id)
            if run is not None:
                for watcher in tuple(self._watchers):
                    if run.user_id in watcher.user_ids():
                        watcher.put(run)
        if is_any:
            for watcher in tuple(self._watchers):
                for run in await read_db(_runs_of, list(watcher.user_ids())):
                    watcher.put(run)


def _runs_of(user_ids: list[int]) -> list[RunSummary]:
    """Their newest runs, oldest first."""
    return run_queries.run_page(user_ids, MOST_RUNS, None).runs[::-1]
