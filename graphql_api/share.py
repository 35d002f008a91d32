"""Each caller's share of this process's computing: operations take turns, and who has used too much waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from aiohttp import web

from graphql_api.errors import RateLimited
from killsync.accounts.viewer import Viewer
from killsync.web.rates import Limiter
from killsync.web.security import LIMITER, client_ip, network_of, networks_of
from killsync.web.turns import LARGE_IN_ALL, LARGE_OF_ONE, Turns

TURNS = web.AppKey("turns", Turns)
LARGE = web.AppKey("turns_of_large_ones", Turns)

#: A caller that has no more than nothing left waits until it has: what comes next costs at least so much, seconds.
LEAST = 0.001


class Turn:
    """What an operation may use of the process while it has its turn."""

    def __init__(self, limiter: Limiter, payers: list[tuple[str, float]], large: Turns, caller: str) -> None:
        self._limiter, self._payers = limiter, payers
        self._large, self._caller = large, caller
        self._only_one = asyncio.Lock()
        self._has_room = False
        self.held = AsyncExitStack()

    def spend(self, seconds: float) -> None:
        """Pay for *seconds* of a core."""
        for who, scale in self._payers:
            self._limiter.charge("computing", who, seconds, scale=scale)

    async def room(self) -> None:
        """Wait until one more large operation may be at work, and be that until the turn ends: its answer is written then.

        Raises:
            Busy: too many wait already.
        """
        async with self._only_one:
            if not self._has_room:
                await self.held.enter_async_context(self._large.turn(self._caller))
                self._has_room = True


@asynccontextmanager
async def turn(request: web.Request, viewer: Viewer | None) -> AsyncIterator[Turn]:
    """Execute an operation and write its answer in the block, when it is the caller's turn.

    The address pays (IPv6: its /64, and its /48), and so does the account.

    Raises:
        RateLimited: the caller's share of the last minutes is used up; says when to come back.
        Busy: too many operations wait already.
    """
    limiter = request.app[LIMITER]
    address = client_ip(request)
    payers: list[tuple[str, float]] = [*networks_of(address)]
    if viewer is not None:
        payers.append((f"account {viewer.account_id}", 1.0))

    mine = Turn(limiter, payers, request.app[LARGE], network_of(address))
    async with request.app[TURNS].turn(network_of(address)), mine.held:
        for who, scale in payers:
            wait = limiter.wait("computing", who, cost=LEAST, scale=scale)
            if wait:
                raise RateLimited(int(wait) + 1)
        yield mine


def setup(app: web.Application) -> None:
    """Make the turns of this process."""
    app[TURNS] = Turns()
    app[LARGE] = Turns(LARGE_OF_ONE, LARGE_IN_ALL)
