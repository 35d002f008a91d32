"""Lists of killmails: the live list of a page with its filter, and the rows that its script adds to it."""

from __future__ import annotations

from typing import Any

from aiohttp import web
from dramatiq.errors import BrokerConnectionError

from killsync.events.hub import HUB
from killsync.killmails import summaries
from killsync.killmails.cursors import BadCursor
from killsync.killmails.killmail import KillmailSummary
from killsync.killmails.summaries import SummaryPage
from killsync.logging import get_logger
from killsync.names import batching
from killsync.names.entities import ENTITY_KINDS
from killsync.names.wanted import names_of
from killsync.web import filter_address, sessions
from killsync.web.filter_address import BadAddress, Chosen, read_id
from killsync.web.pages.chips import chips_of
from killsync.web.render import json, page
from killsync.web.security import check_rate
from models import connection
from models.threads import in_service, read_db

log = get_logger("web")

#: Rows of a page, and the most that are asked for by id.
ROWS = 50
#: The list as a query of GraphQL.
AS_GRAPHQL = (
    "query Killmails($filter: KillmailFilter) {\n  killmails(filter: $filter, first: 50) {\n    edges {\n      node {\n"
    "        id\n        killmailTime\n        solarSystem { name }\n        victim { character { name } shipType { name } }\n"
    "      }\n    }\n    pageInfo { hasNextPage endCursor }\n  }\n}"
)
MOST_IDS = 100
#: Name tables by the words that templates use.
_TABLES = {word: kind.table_name for word, kind in ENTITY_KINDS.items()} | {"type": "item_type", "faction": "faction"}


async def feed(request: web.Request, chosen: Chosen) -> dict[str, Any]:
    """What `_feed.html` needs to show the killmails of *chosen*.

    Raises:
        BadAddress: the cursor is none of ours.
    """
    viewer = await sessions.viewer_of(request)
    mine = viewer.character_ids if viewer else None
    after = filter_address.read_after(request.query)
    needs_login = chosen.needs_own and mine is None
    # Before the list is read: what is stored meanwhile comes by subscription, and what is in both is shown once.
    span = request.app[HUB].span
    found = SummaryPage([], has_next=False) if needs_login else await _page(chosen, mine, after)
    return {
        "kills": found.killmails,
        "has_next": found.has_next,
        "chosen": chosen,
        "is_newest": after is None,
        "as_graphql": AS_GRAPHQL,
        "needs_login": needs_login,
        "chips": await chips_of(chosen),
        # `mine` without a login is no subscription: the server would refuse it.
        "is_live": after is None and not needs_login,
        "after": span.newest if span else None,
    }


async def rows(request: web.Request) -> web.Response:
    """GET /killmails/rows: rows of a list as HTML, by `ids`, or by filter and cursor; for the list's script."""
    check_rate(request, "rows")
    try:
        chosen = filter_address.read(request.query)
        viewer = await sessions.viewer_of(request)
        mine = viewer.character_ids if viewer else None
        kills: list[KillmailSummary]
        has_next = False
        if "ids" in request.query:
            ids = [read_id(text, "killmail") for text in request.query["ids"].split(",")[:MOST_IDS]]
            kills = await read_db(summaries.summaries, ids, chosen.viewpoint(mine))
        elif chosen.needs_own and mine is None:
            raise web.HTTPForbidden(text="Log in to see your own killmails.\n")
        else:
            found = await _page(chosen, mine, filter_address.read_after(request.query))
            kills, has_next = found.killmails, found.has_next
    except BadAddress as error:
        raise web.HTTPBadRequest(text=f"{error}\n") from None
    response = await page(request, "rows.html", kills=kills)
    response.headers["Killsync-More"] = "1" if has_next else "0"
    return response


async def _page(chosen: Chosen, mine: tuple[int, ...] | None, after: str | None) -> SummaryPage:
    try:
        return await read_db(_read_page, chosen, mine, after)
    except BadCursor:
        raise BadAddress("This address is not whole.") from None


def _read_page(chosen: Chosen, mine: tuple[int, ...] | None, after: str | None) -> SummaryPage:
    return summaries.page(chosen.filter(mine), ROWS, after, chosen.viewpoint(mine))


async def names(request: web.Request) -> web.Response:
    """GET /names?of=character:1,type:2: the names that are known by now, for places where a page had to leave them out."""
    check_rate(request, "rows")
    wanted = []
    for text in request.query.get("of", "").split(",")[:MOST_IDS]:
        word, _, number = text.partition(":")
        if word in _TABLES and number.isascii() and number.isdigit() and len(number) <= 18:
            wanted.append((word, int(number)))
    found = await read_db(names_of, [(_TABLES[word], number) for word, number in wanted]) if wanted else {}
    known = [(word, number) for word, number in wanted if (_TABLES[word], number) in found]
    if len(known) < len(wanted):
        await in_service(_ask_for_names)
    return json({f"{word}:{number}": found[_TABLES[word], number] for word, number in known})


def _ask_for_names() -> None:
    with connection():
        is_due = batching.is_due_for_reader()
    try:
        if is_due:
            batching.schedule_lookup()
    except BrokerConnectionError as error:
        log.warning("names not asked for: the broker does not answer", reason=type(error).__name__)
