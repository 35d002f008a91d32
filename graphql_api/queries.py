"""Resolvers of Query: each loads all that is below it in a few statements, as plain trees."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from graphql_api.context import Ask, first, killmail_filter, number, one_user
from graphql_api.errors import BadInput, Unavailable
from graphql_api.tartiflette.fast_completion import selects
from killsync.accounts import people
from killsync.broker.connection import BrokerAway
from killsync.broker.figures import queue_stats
from killsync.killmails import queries
from killsync.sync import run_queries
from models.threads import read_db

Tree = dict[str, Any]

#: RabbitMQ is asked for its queues at most this often by one process, seconds.
KEEP_STATUS_SECONDS = 2.0


async def me(_parent: Any, _arguments: Tree, ask: Ask, _info: Any) -> Tree | None:
    """The character that logged in last."""
    found = await my_characters(_parent, _arguments, ask, _info)
    return found[0] if found else None


async def my_characters(_parent: Any, _arguments: Tree, ask: Ask, _info: Any) -> list[Tree]:
    """Every character of the caller's account."""
    viewer = await ask.viewer()
    return await read_db(people.user_trees, viewer.user_ids) if viewer else []


async def killmail(_parent: Any, arguments: Tree, _ask: Ask, _info: Any) -> Tree | None:
    """One killmail."""
    return await read_db(queries.killmail, number(arguments["id"], "id"))


async def killmails(_parent: Any, arguments: Tree, ask: Ask, info: Any) -> Tree:
    """A page of killmails."""
    chosen = await killmail_filter(arguments.get("filter"), ask)
    size = first(arguments, 50)
    items = selects(info, "edges", "node", "items")
    try:
        page = await read_db(queries.page, chosen, size, arguments.get("after"), items=items)
    except queries.BadCursor as error:
        raise BadInput(str(error), argument="after") from None
    edges = [{"cursor": queries.cursor_of(tree), "node": tree} for tree in page.killmails]
    return _connection(edges, page.has_next)


async def sync_runs(_parent: Any, arguments: Tree, ask: Ask, _info: Any) -> Tree:
    """The caller's own sync runs."""
    viewer = await ask.person()
    size = first(arguments, 20)
    wanted = arguments.get("characterId")
    users = viewer.user_ids if wanted is None else (one_user(viewer, wanted).id,)
    after = arguments.get("after")
    before = None if after is None else _run_cursor(after)
    trees, has_next = await read_db(run_queries.run_page, users, size, before)
    return _connection([{"cursor": f"run-{tree['id']}", "node": tree} for tree in trees], has_next)


def _run_cursor(text: str) -> int:
    if not text.startswith("run-"):
        raise BadInput("this cursor is not one of this server's", argument="after")
    return number(text[4:], "after")


def _connection(edges: list[Tree], has_next: bool) -> Tree:
    end = edges[-1]["cursor"] if edges else None
    return {"edges": edges, "pageInfo": {"hasNextPage": has_next, "endCursor": end}}


async def worker_status(_parent: Any, _arguments: Tree, _ask: Ask, _info: Any) -> list[Tree]:
    """How each queue stands."""
    return await _status.read()


class _Status:
    """The queues as RabbitMQ counted them a moment ago: many readers cost it one question."""

    def __init__(self) -> None:
        self._lock: asyncio.Lock | None = None
        self._trees: list[Tree] = []
        self._read_at = float("-inf")

    async def read(self) -> list[Tree]:
        if self._lock is None:
            self._lock = asyncio.Lock()
        async with self._lock:
            if time.monotonic() - self._read_at >= KEEP_STATUS_SECONDS:
                self._trees = await asyncio.get_running_loop().run_in_executor(None, _count)
                self._read_at = time.monotonic()
            return self._trees


def _count() -> list[Tree]:
    try:
        found = queue_stats()
    except BrokerAway as error:
        raise Unavailable(str(error)) from None
    return [
        {
            "queueName": stat.queue_name,
            "messageCount": stat.message_count,
            "consumerCount": stat.consumer_count,
            "delayedCount": stat.delayed_count,
            "deadCount": stat.dead_count,
        }
        for stat in found
    ]


_status = _Status()
