"""GET /search: finding whom or what a page is about, as a page, and as JSON for the search boxes while one types."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from killsync.killmails import esi_url as links
from killsync.killmails import summaries
from killsync.names import search
from killsync.names.entities import KnownEntity
from killsync.web import filter_address
from killsync.web.filter_address import Chosen
from killsync.web.pages import nouns
from killsync.web.render import json, page, wants_page
from killsync.web.security import SETTINGS, check_rate
from models.threads import read_db

#: Results of each kind: on the page, and below a search box.
ON_PAGE, BELOW_BOX = 25, 5


async def find(request: web.Request) -> web.Response:
    """GET /search?q=TEXT. With `for=feed` what is found becomes a filter of the list, besides those the address has."""
    check_rate(request, "search")
    text = " ".join(request.query.get("q", "").split())[: search.MOST_TEXT].replace("\x00", "")
    for_feed = request.query.get("for") == "feed"
    chosen = filter_address.read(request.query)
    is_page = wants_page(request)
    found = await read_db(search.find, text, ON_PAGE if is_page else BELOW_BOX) if text else []
    nouns_of = await read_db(nouns.of, found) if found else []
    results = [
        _result(entity, chosen if for_feed else None, noun) for entity, noun in zip(found, nouns_of, strict=True)
    ]
    if not for_feed and (number := _killmail_id(text, request.app[SETTINGS].esi_url)) is not None:
        results = await _killmail(number) + results
    if not is_page:
        return json({"results": results})
    order = dict.fromkeys(result["noun"] for result in results)
    groups = [(noun, [result for result in results if result["noun"] == noun]) for noun in order]
    return await page(request, "search.html", q=text, for_feed=for_feed, chosen=chosen, groups=groups)


def _killmail_id(text: str, esi_url: str) -> int | None:
    """The killmail that *text* may mean: by its id, its address at ESI or the game's own link."""
    if text.isascii() and text.isdigit():
        return int(text) if len(text) < 19 else None
    try:
        return links.parse(text, esi_url).killmail_id
    except links.BadUrl:
        return None


def _result(entity: KnownEntity, chosen: Chosen | None, noun: str) -> dict[str, Any]:
    href = entity.path if chosen is None else "/" + chosen.with_id(entity.kind.word, entity.id).query()
    return {"name": entity.label, "noun": noun, "ticker": entity.ticker, "href": href}


async def _killmail(number: int) -> list[dict[str, Any]]:
    if not await read_db(summaries.summaries, [number]):
        return []
    return [{"name": f"Killmail {number}", "noun": "Killmail", "ticker": None, "href": f"/killmails/{number}"}]
