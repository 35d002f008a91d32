"""Sources of Subscription: events, filtered on this side; and the resolvers that hand them on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from typing import Any

from graphql_api.context import Context, killmail_filter, number
from graphql_api.errors import NotInLog, Unavailable
from killsync.events import hub
from models.threads import Busy

Arguments = dict[str, Any]
#: What one event gives: the subscription's field and its value.
Payload = dict[str, Any]

STATUS_SECONDS = 3.0


async def new_killmail(_parent: Any, arguments: Arguments, context: Context, _info: Any) -> AsyncIterator[Payload]:
    """Each killmail that is wanted, from the number that the client gave or from now on."""
    chosen = await killmail_filter(arguments.get("filter"), context)
    given = arguments.get("after")
    after = None if given is None else number(given, "after")
    try:
        async with aclosing(context.hub.killmails(chosen.matches, after)) as killmails:
            async for killmail in killmails:
                yield {"newKillmail": killmail}
    except hub.NotInLog as error:
        raise NotInLog(str(error), after=str(error.after), oldest=str(error.span.oldest)) from None


async def sync_progress(_parent: Any, _arguments: Arguments, context: Context, _info: Any) -> AsyncIterator[Payload]:
    """The caller's sync runs as they go on."""
    mine = set((await context.person()).user_ids)
    async with aclosing(context.hub.runs(lambda: mine)) as runs:
        async for run in runs:
            # The session may have ended, and characters may have come or gone, since the socket was opened.
            mine.clear()
            mine.update((await context.person()).user_ids)
            if run.user_id in mine:
                yield {"syncProgress": run}


async def worker_status_updates(
    _parent: Any, _arguments: Arguments, context: Context, _info: Any
) -> AsyncIterator[Payload]:
    """How the queues stand, every few seconds; skipped while the broker is away."""
    while True:
        with suppress(Unavailable, Busy):
            yield {"workerStatusUpdates": await context.queue_status.read()}
        await asyncio.sleep(STATUS_SECONDS)


async def as_it_is(parent: Payload, _arguments: Arguments, _context: Context, info: Any) -> Any:
    """The value of the event."""
    return parent[info.field_name] if parent else None
