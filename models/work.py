"""What one operation of a reader may still do: time, rows read, values built. Counted while it works, wherever it works.

The web process makes a `Work` for each operation and sets `CURRENT`; threads that read for it see the same one. Code that
reads rows or builds values counts them, and the first count beyond a limit stops it. Nothing here knows GraphQL.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar

#: How long an operation may hold the event loop before others have their turn, seconds.
SLICE_SECONDS = 0.01
#: What building a value takes of a core, seconds: by a plan, and where each needs a coroutine of its own. Measured on a core
#: of 2025: 0.7 and 15 µs for a page of 20 battles of 1,000 attackers and for introspection; writing and sending comes on top.
PLANNED_SECONDS, SINGLE_SECONDS = 1e-6, 2e-5
#: And what reading a row and making an object of it takes: 3.3 µs there, and the database works for it as well.
ROW_SECONDS = 5e-6
#: What an operation may have read and built before it counts as a large one, of which few are at work at a time: 10 MB.
LARGE_ROWS, LARGE_VALUES = 5_000, 60_000


class OutOfTime(Exception):
    """The operation's time is up."""


class OverBudget(Exception):
    """The operation did more than one may. Says what, how much so far, and the limit."""

    def __init__(self, what: str, found: int, limit: int) -> None:
        super().__init__(f"the operation has come to {found} {what}; the limit is {limit}")
        self.what = what
        self.found = found
        self.limit = limit


class NeedsRoom(Exception):
    """What is read makes the operation a large one: it is to be read again when there is room for that."""


class Lane:
    """The event loop's time, as far as operations share it: together they hold the loop for a slice, then it goes round."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._slice_began = time.monotonic()

    async def breathe(self) -> None:
        """Let others have the event loop if operations have held it for a slice; of several, one goes on at a time."""
        if time.monotonic() - self._slice_began > SLICE_SECONDS:
            await self.turn()

    async def turn(self) -> None:
        """Wait for one's turn, and for everything else that is ready."""
        async with self._lock:
            await asyncio.sleep(0)
            self._slice_began = time.monotonic()


class Work:
    """One operation's use of the process. Threads count on it at the same time: a count that is lost costs nothing."""

    def __init__(
        self,
        lane: Lane,
        seconds: float,
        most_rows: int,
        most_values: int,
        room: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """*room* waits until one more large operation may go on, and holds its place; None: it may at once."""
        self._lane = lane
        self._room = room
        self._has_room = room is None
        self._ends_at = time.monotonic() + seconds
        self._most_rows = most_rows
        self._most_values = most_values
        self.rows = 0
        self.values = 0
        #: What it has taken of a core by now, seconds, by what it read and built.
        self.computed = 0.0

    def read(self, rows: int) -> None:
        """Count rows that were read from the database.

        Raises:
            OutOfTime, OverBudget: it is to stop here.
            NeedsRoom: it is to go on when there is `room`.
        """
        self.rows += rows
        self.computed += rows * ROW_SECONDS
        self.check()
        if self._is_large and not self._has_room:
            raise NeedsRoom

    def build(self, values: int, seconds: float = PLANNED_SECONDS) -> None:
        """Count values of the answer, before they are built.

        Raises:
            OutOfTime, OverBudget: it is to stop here.
        """
        self.values += values
        self.computed += values * seconds
        self.check()

    def check(self) -> None:
        """Go on only while nothing is used up.

        Raises:
            OutOfTime, OverBudget: it is to stop here.
        """
        error = self.reason_to_stop()
        if error is not None:
            try:
                raise error
            finally:
                # Else the frame and the error hold each other, and all that was read and built, until the next collection.
                del error

    def reason_to_stop(self) -> OutOfTime | OverBudget | None:
        """What is used up, if anything."""
        if self.rows > self._most_rows:
            return OverBudget("rows read", self.rows, self._most_rows)
        if self.values > self._most_values:
            return OverBudget("values built", self.values, self._most_values)
        return OutOfTime("the operation's time is up") if self.seconds_left() <= 0 else None

    def renew(self) -> None:
        """Begin anew: the next event of a subscription."""
        self.rows = self.values = 0

    def seconds_left(self) -> float:
        """Time until the operation has to be done."""
        return self._ends_at - time.monotonic()

    @property
    def _is_large(self) -> bool:
        return self.rows > LARGE_ROWS or self.values > LARGE_VALUES

    async def room(self) -> None:
        """Wait until there is room for a large operation, if this has become one."""
        if self._is_large and self._room is not None and not self._has_room:
            await self._room()
            self._has_room = True

    async def breathe(self) -> None:
        """Let others have the event loop if operations have held it for a slice."""
        await self.room()
        await self._lane.breathe()


#: The operation on whose behalf this thread or task works; None for everything but GraphQL.
CURRENT: ContextVar[Work | None] = ContextVar("work", default=None)
#: Who asked for what this thread or task does: threads are shared fairly among callers. None is the process itself.
CALLER: ContextVar[str | None] = ContextVar("caller", default=None)
#: The longest that one read for a page may take, seconds; None where something else bounds it, or nobody waits.
PATIENCE: ContextVar[float | None] = ContextVar("patience", default=None)
