"""Who works now, of those who want to: a few at a time, callers in turn. What waits has a bound."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from models.threads import Busy

#: Operations that are executed at a time: of one caller, and of all.
OF_ONE, IN_ALL = 4, 24
#: And of them large ones, which hold some 60 MB while they are there.
LARGE_OF_ONE, LARGE_IN_ALL = 1, 2
#: Operations of one caller that wait for that, and of all.
MOST_WAITING_OF_ONE, MOST_WAITING_IN_ALL = 60, 2_000


class Turns:
    """Places for those who work: *of_one* for a caller, *in_all* for all; of those who wait, callers take turns."""

    def __init__(self, of_one: int = OF_ONE, in_all: int = IN_ALL) -> None:
        self._of_one, self._in_all = of_one, in_all
        self._working: Counter[str] = Counter()
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @asynccontextmanager
    async def turn(self, caller: str) -> AsyncIterator[None]:
        """Work in the block, when it is *caller*'s turn.

        Raises:
            Busy: too many wait already.
        """
        await self._wait(caller)
        try:
            yield
        finally:
            self._end(caller)

    async def _wait(self, caller: str) -> None:
        if caller not in self._waiting and self._may(caller):
            self._working[caller] += 1
            return
        queue = self._waiting.setdefault(caller, deque())
        if len(queue) >= MOST_WAITING_OF_ONE or sum(map(len, self._waiting.values())) >= MOST_WAITING_IN_ALL:
            if not queue:
                del self._waiting[caller]
            raise Busy("too many operations wait already: try again in a moment")
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self._end(caller)
            raise

    def _may(self, caller: str) -> bool:
        return self._working[caller] < self._of_one and self._working.total() < self._in_all

    def _end(self, caller: str) -> None:
        self._working[caller] -= 1
        self._working += Counter()
        while True:
            following = next((each for each in self._waiting if self._may(each)), None)
            if following is None:
                return
            queue = self._waiting[following]
            place = queue.popleft()
            self._waiting.move_to_end(following)
            if not queue:
                del self._waiting[following]
            if not place.done():
                self._working[following] += 1
                place.set_result(None)
