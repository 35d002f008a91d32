"""Resolvers of Query: each loads all that is below it in a few statements, as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from graphql_api.context import Context, first, killmail_filter, number, one_user
from graphql_api.errors import BadInput
from graphql_api.tartiflette.selection import selects
from killsync.accounts import people
from killsync.accounts.people import UserSummary
from killsync.broker.figures import QueueStat
from killsync.fitting import fits
from killsync.fitting.values import Fitting
from killsync.killmails import queries
from killsync.killmails.cursors import BadCursor, cursor_of, value_cursor_of
from killsync.killmails.killmail import Killmail
from killsync.killmails.selection import Totals, totals
from killsync.sync import run_queries
from models.threads import in_service, read_db

Arguments = dict[str, Any]


@dataclass(frozen=True)
class Edge:
    """One thing of a page and its place in the order."""

    cursor: str
    node: Any


@dataclass(frozen=True)
class PageInfo:
    """Where a page ends."""

    has_next_page: bool
    end_cursor: str | None


@dataclass(frozen=True)
class Connection:
    """A page as Relay wants it."""

    edges: list[Edge]
    page_info: PageInfo


def connection(edges: list[Edge], has_next: bool) -> Connection:
    """The page of *edges*."""
    return Connection(edges, PageInfo(has_next, edges[-1].cursor if edges else None))


async def me(_parent: Any, _arguments: Arguments, context: Context, _info: Any) -> UserSummary | None:
    """The character that logged in last."""
    found = await my_characters(_parent, _arguments, context, _info)
    return found[0] if found else None


async def my_characters(_parent: Any, _arguments: Arguments, context: Context, _info: Any) -> list[UserSummary]:
    """Every character of the caller's account."""
    viewer = await context.viewer()
    return await read_db(people.user_summaries, viewer.user_ids) if viewer else []


async def killmail(_parent: Any, arguments: Arguments, _context: Context, info: Any) -> Killmail | None:
    """One killmail."""
    found = await read_db(queries.killmail, number(arguments["id"], "id"))
    if found is not None and selects(info, "fitting"):
        await in_service(fits.add_fittings, [found], with_stats=selects(info, "fitting", "stats"))
    return found


async def fitting(parent: Killmail, _arguments: Arguments, _context: Context, _info: Any) -> Fitting:
    """The fit of a killmail that came without: of a subscription or a mutation."""
    if parent.fitting is None:
        await in_service(fits.add_fittings, [parent], with_stats=True)
    made: Fitting = parent.fitting
    return made


async def killmail_stats(_parent: Any, arguments: Arguments, context: Context, _info: Any) -> Totals:
    """Count and sum of killmails."""
    return await read_db(totals, await killmail_filter(arguments.get("filter"), context))


async def killmails(_parent: Any, arguments: Arguments, context: Context, info: Any) -> Connection:
    """A page of killmails."""
    chosen = await killmail_filter(arguments.get("filter"), context)
    size = first(arguments, 50)
    by_value = arguments.get("orderBy") == "VALUE_DESC"
    with_fits = selects(info, "edges", "node", "fitting")
    items = with_fits or selects(info, "edges", "node", "items")
    try:
        page = await read_db(queries.page, chosen, size, arguments.get("after"), items=items, dearest_first=by_value)
    except BadCursor as error:
        raise BadInput(str(error), argument="after") from None
    if with_fits:
        with_stats = selects(info, "edges", "node", "fitting", "stats")
        await in_service(fits.add_fittings, page.killmails, with_stats=with_stats)
    place = value_cursor_of if by_value else cursor_of
    return connection([Edge(place(each), each) for each in page.killmails], page.has_next)


async def sync_runs(_parent: Any, arguments: Arguments, context: Context, _info: Any) -> Connection:
    """The caller's own sync runs."""
    viewer = await context.person()
    size = first(arguments, 20)
    wanted = arguments.get("characterId")
    users = viewer.user_ids if wanted is None else (one_user(viewer, wanted).id,)
    after = arguments.get("after")
    before = None if after is None else _run_cursor(after)
    page = await read_db(run_queries.run_page, users, size, before)
    return connection([Edge(f"run-{run.id}", run) for run in page.runs], page.has_next)


def _run_cursor(text: str) -> int:
    if not text.startswith("run-"):
        raise BadInput("this cursor is not one of this server's", argument="after")
    return number(text[4:], "after")


async def worker_status(_parent: Any, _arguments: Arguments, context: Context, _info: Any) -> list[QueueStat]:
    """How each queue stands."""
    return await context.queue_status.read()
