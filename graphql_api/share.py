"""Each caller's share of this process's computing: operations take turns, and who has used too much waits."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from graphql_api.errors import RateLimited
from killsync.web.security import LIMITER, client_ip, network_of, networks_of
from killsync.web.sessions import Viewer
from killsync.web.turns import Turns

TURNS = web.AppKey("turns", Turns)

#: A caller that has no more than nothing left waits until it has: what comes next costs at least so much, seconds.
LEAST = 0.001


@asynccontextmanager
async def turn(request: web.Request, viewer: Viewer | None) -> AsyncIterator[Callable[[float], None]]:
    """Execute an operation in the block, when it is the caller's turn; gives what is to be told what it took, in seconds.

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

    def spend(seconds: float) -> None:
        for who, scale in payers:
            limiter.charge("computing", who, seconds, scale=scale)

    async with request.app[TURNS].turn(network_of(address)):
        for who, scale in payers:
            wait = limiter.wait("computing", who, cost=LEAST, scale=scale)
            if wait:
                raise RateLimited(int(wait) + 1)
        yield spend


def setup(app: web.Application) -> None:
    """Make the turns of this process."""
    app[TURNS] = Turns()
