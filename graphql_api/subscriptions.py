"""Sources of Subscription: what is told, filtered on this side; and the resolvers that hand it on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from typing import Any

from graphql_api import queries
from graphql_api.context import Ask, killmail_filter
from graphql_api.errors import Unavailable
from killsync.killmails import queries as feed

Tree = dict[str, Any]

STATUS_SECONDS = 3.0


async def new_killmail(_parent: Any, arguments: Tree, ask: Ask, _info: Any) -> AsyncIterator[Tree]:
    """Each killmail that is saved from now on and wanted."""
    chosen = await killmail_filter(arguments.get("filter"), ask)
    async with aclosing(ask.hub.killmails(lambda tree: feed.matches(tree, chosen))) as told:
        async for tree, missed in told:
            ask.missed = missed
            yield {"newKillmail": tree}


async def sync_progress(_parent: Any, _arguments: Tree, ask: Ask, _info: Any) -> AsyncIterator[Tree]:
    """The caller's sync runs as they go on."""
    mine = set((await ask.person()).user_ids)
    async with aclosing(ask.hub.runs(lambda tree: tree["userId"] in mine)) as told:
        async for tree, _missed in told:
            # The session may have ended, and characters may have come or gone, since the socket was opened.
            mine.clear()
            mine.update((await ask.person()).user_ids)
            if tree["userId"] in mine:
                yield {"syncProgress": tree}


async def worker_status_updates(_parent: Any, _arguments: Tree, _ask: Ask, _info: Any) -> AsyncIterator[Tree]:
    """How the queues stand, every few seconds; skipped while the broker is away."""
    while True:
        with suppress(Unavailable):
            yield {"workerStatusUpdates": await queries._status.read()}
        await asyncio.sleep(STATUS_SECONDS)


async def as_it_is(parent: Tree, _arguments: Tree, _ask: Ask, info: Any) -> Any:
    """The event itself."""
    return parent[info.field_name] if parent else None
