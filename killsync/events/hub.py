"""What happens, as it happens, for the subscribers of this process: each reads the log on from a number of its own.

Nothing is queued for anybody: who is slow reads later, who comes back reads on, and nobody misses a killmail or gets one
twice. Sync runs are no log: who watches them is given each run as it stands when it has changed. Nothing is written.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection

from aiohttp import web

from killsync.events import store
from killsync.events.follower import Follower
from killsync.events.recent import Numbered, Recent
from killsync.events.store import Span
from killsync.events.watched_runs import RunWatchers
from killsync.killmails.killmail import Killmail
from killsync.logging import get_logger
from killsync.settings import Settings
from killsync.sync.run_queries import RunSummary
from models.errors import is_away
from models.threads import Busy, read_db

log = get_logger("events")

#: How long a reader waits before it asks a database again that could not be asked, seconds.
RETRY_SECONDS = 0.5


class CannotEvaluate(Exception):
    """A subscriber's own condition failed."""


class NotInLog(Exception):
    """The log cannot be read on from a number: what came next is no longer in it, or it never came so far."""

    def __init__(self, after: int, span: Span) -> None:
        held = f"it holds {span.oldest} to {span.newest}" if span.oldest <= span.newest else "it is empty"
        super().__init__(f"the log cannot be read on from {after}: {held}; older killmails are in `killmails`")
        self.after = after
        self.span = span


class Hub:
    """Follows the log while `start` .. `stop`, and gives it to this process's subscribers."""

    def __init__(self, settings: Settings) -> None:
        self._follower = Follower(settings, self)
        self._span: Span | None = None
        self._moved = asyncio.Event()
        self._recent = Recent()
        self._watchers = RunWatchers()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._readers = 0
        self._looking = asyncio.Lock()
        self._looked_at = float("-inf")

    async def start(self) -> None:
        """Begin to follow."""
        self._loop = asyncio.get_running_loop()
        self._follower.start()
        self._watchers.start()

    async def stop(self) -> None:
        """Stop following."""
        await self._watchers.stop()
        await asyncio.get_running_loop().run_in_executor(None, self._follower.stop)

    @property
    def is_stopped(self) -> bool:
        return self._follower.is_stopped

    @property
    def is_listening(self) -> bool:
        """Whether what happens is noticed at once."""
        return self._follower.is_listening.is_set()

    @property
    def subscribers(self) -> int:
        return self._readers + self._watchers.count

    # Called by the follower, in its thread.

    def log_reaches(self, span: Span) -> None:
        self._call(self._set, span)

    def newest_is(self, sequence: int) -> None:
        self._call(self._advance, sequence)

    def runs_changed(self, runs: list[tuple[int, int]] | None) -> None:
        if self._watchers.count:
            self._call(self._watchers.changed, runs)

    def _call(self, step: Callable[..., None], *given: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody listens any more
            assert self._loop is not None
            self._loop.call_soon_threadsafe(step, *given)

    # The log.

    def _advance(self, newest: int) -> None:
        if self._span is not None and newest > self._span.newest:
            self._set(Span(self._span.oldest, newest))

    def _set(self, span: Span) -> None:
        before, self._span = self._span, span
        if before is None or span.newest != before.newest:
            moved, self._moved = self._moved, asyncio.Event()
            moved.set()

    @property
    def span(self) -> Span | None:
        """What the log holds, as far as this process knows, without a statement; None before the first look."""
        return self._span

    async def known_span(self) -> Span:
        """The same; waits for the first look."""
        while self._span is None:
            await self._moved.wait()
        return self._span

    async def wait_beyond(self, sequence: int) -> Span:
        """Wait until the log goes on after *sequence*."""
        while True:
            span, moved = self._span, self._moved
            if span is not None and span.newest > sequence:
                return span
            await moved.wait()

    async def begin(self, after: int | None) -> int:
        """The number after which a reader begins: *after*, or without it the newest.

        Raises:
            NotInLog: what comes after it cannot be given whole.
        """
        span = await self.known_span()
        if after is None:
            # What this process knows at once, which may be a moment behind: so it may tell of what was stored just before, and
            # misses nothing of what comes while a look would take its time.
            return span.newest
        if after != span.newest:
            # Another process may have seen more of it already, and its end may have been cut off.
            span = await self._look()
        if not span.oldest - 1 <= after <= span.newest:
            raise NotInLog(after, span)
        return after

    async def _look(self) -> Span:
        """What the log holds now; those who came before a look began share it, and nobody takes an older one."""
        came = time.monotonic()
        async with self._looking:
            if self._span is None or self._looked_at < came:
                began, found = time.monotonic(), await read_db(store.span)
                # What was heard of meanwhile may be newer.
                newest = found.newest if self._span is None else max(found.newest, self._span.newest)
                self._set(Span(found.oldest, newest))
                self._looked_at = began
            assert self._span is not None
            return self._span

    async def batches(self, after: int) -> AsyncGenerator[list[Numbered], None]:
        """All killmails with a number above *after*, as they come, some at a time, without a gap or a double.

        Who takes them may empty the lists: what waits to be sent should not hold more than it has to.

        Raises:
            NotInLog: the log was cut off before the reader came so far.
        """
        self._readers += 1
        try:
            while True:
                span = await self.wait_beyond(after)
                async with self._recent.place(after, span.newest):
                    found = await self._after(after, span.newest)
                    if found == []:
                        raise NotInLog(after, await self._look())
                    if found is not None:
                        after = found[-1][0]
                        # It may be more than this process had heard of: whoever is given it finds it by its number too.
                        self._advance(after)
                        yield found
                        continue
                await asyncio.sleep(RETRY_SECONDS)
        finally:
            self._readers -= 1

    async def _after(self, sequence: int, newest: int) -> list[Numbered] | None:
        """Some of what follows; None when the database cannot be asked now."""
        try:
            return await self._recent.after(sequence, newest)
        except Exception as error:
            if not (isinstance(error, Busy) or is_away(error)):
                raise
            log.warning("readers wait for the database", reason=type(error).__name__)
            return None

    async def killmails(
        self, wants: Callable[[Killmail], bool], after: int | None = None
    ) -> AsyncGenerator[Killmail, None]:
        """Each killmail that *wants* says yes to: those after the number *after*, else those from now on, as they come.

        Raises:
            NotInLog: the log cannot be read on from there.
            CannotEvaluate: what is wanted could not be found out.
        """
        begin = await self.begin(after)
        async with contextlib.aclosing(self.batches(begin)) as batches:
            async for batch in batches:
                for _, killmail in batch:
                    if _is_wanted(wants, killmail):
                        yield killmail
                # A long way with nothing on it is not walked at the expense of everybody else.
                await asyncio.sleep(0)

    # Sync runs.

    async def runs(self, user_ids: Callable[[], Collection[int]]) -> AsyncGenerator[RunSummary, None]:
        """The sync runs of these users, each as it stands, whenever one has changed. *user_ids* is asked each time."""
        async with contextlib.aclosing(self._watchers.follow(user_ids)) as runs:
            async for run in runs:
                yield run


def _is_wanted(wants: Callable[[Killmail], bool], killmail: Killmail) -> bool:
    try:
        return wants(killmail)
    except Exception as error:
        log.exception("subscriber not evaluated", killmail_id=killmail.killmail_id)
        raise CannotEvaluate("what this subscription wants cannot be evaluated") from error


HUB = web.AppKey("hub", Hub)


def setup(app: web.Application, settings: Settings) -> None:
    """Follow events while the application runs."""
    hub = app[HUB] = Hub(settings)

    async def run(_app: web.Application) -> AsyncIterator[None]:
        await hub.start()
        yield
        await hub.stop()

    app.cleanup_ctx.append(run)
