"""The API that loss-replacement and statistics tools call, in the shapes of zKillboard's."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import msgspec
from aiohttp import web

from killsync.feed import queries
from killsync.feed.public import answer
from killsync.feed.search import COLUMNS, PARTIES, BadSearch, Search, read_day, read_search, read_subject
from killsync.feed.stats import stats_of
from killsync.feed.zkb import zkb_of
from killsync.names.wanted import names_of
from killsync.web.security import SETTINGS
from models.fields import utcnow
from models.killmails import ALLIANCE, CHARACTER, CORPORATION, SHIP_TYPE
from models.threads import read_db

#: How long one answer may take, seconds.
MOST_SECONDS = 15.0
#: How long statistics stand, seconds, and of how many they are kept.
KEEP_SECONDS, MOST_KEPT = 300.0, 500
#: How long others may keep an answer.
SHORT, LONG = "public, max-age=60", "public, max-age=3600"
#: Answers below this size are sent as they are, bytes.
LEAST_PACKED = 1024
_NAMES = {CHARACTER: "character", CORPORATION: "corporation", ALLIANCE: "alliance", SHIP_TYPE: "item_type"}

_KEPT = web.AppKey("feed_stats", OrderedDict[tuple[str, int], tuple[float, Any]])


async def killmails(request: web.Request) -> web.StreamResponse:
    """GET /api/…: a list of `{killmail_id, zkb}`, at most 1,000 a page."""
    search = _read(read_search, request.match_info["path"], utcnow())
    return _json(request, await _in_time(_found, search, request.app[SETTINGS].esi_url), SHORT)


async def history(request: web.Request) -> web.StreamResponse:
    """GET /api/history/YYYYMMDD.json: the hash of each killmail of a day by its id."""
    day = _read(read_day, request.match_info["day"])
    is_over = (utcnow() - day).days > 2
    return _json(request, await _in_time(queries.history, day), LONG if is_over else SHORT)


async def stats(request: web.Request) -> web.StreamResponse:
    """GET /api/stats/<kind>/<id>/: how much one party or place destroyed and lost, by month and by group of ship."""
    kind, text = request.match_info["kind"], request.match_info["id"]
    search = _read(read_subject, kind, text)
    kept = request.app[_KEPT]
    key = kind, int(text)
    at, found = kept.get(key, (float("-inf"), None))
    if time.monotonic() - at > KEEP_SECONDS:
        found = await _in_time(_stats, kind, key[1], search)
        kept[key] = time.monotonic(), found
        kept.move_to_end(key)
        while len(kept) > MOST_KEPT:
            kept.popitem(last=False)
    return _json(request, found, SHORT)


def setup(app: web.Application) -> None:
    """Keep statistics for a while."""
    app[_KEPT] = OrderedDict()


def _found(search: Search, esi_url: str) -> list[dict[str, Any]]:
    rows = queries.summaries(queries.found(search))
    return [{"killmail_id": row["killmail_id"], "zkb": zkb_of(row, esi_url)} for row in rows]


def _stats(kind: str, number: int, search: Search) -> dict[str, Any]:
    tables = {word: _NAMES[each] for word, each in PARTIES.items() if each in _NAMES}
    tables |= {word: "solar_system" for word, column in COLUMNS.items() if column == "solar_system_id"}
    table = tables.get(kind)
    name = names_of([(table, number)]).get((table, number)) if table else None
    return stats_of(kind, number, name, queries.tallies(search))


def _read(read: Callable[..., Any], *given: Any) -> Any:
    try:
        return read(*given)
    except BadSearch as error:
        raise web.HTTPBadRequest(text=str(error)) from None


async def _in_time(work: Callable[..., Any], *given: Any) -> Any:
    """What *work* reads; a statement that takes too long is ended."""
    try:
        return await asyncio.wait_for(read_db(work, *given), MOST_SECONDS)
    except TimeoutError:
        raise web.HTTPServiceUnavailable(
            text="this takes too long: ask for less", headers={"Retry-After": "60"}
        ) from None


def _json(request: web.Request, data: Any, cache: str) -> web.Response:
    body = msgspec.json.encode(data)
    gzipped = gzip.compress(body, 4, mtime=0) if len(body) >= LEAST_PACKED else None
    return answer(request, body, gzipped, hashlib.blake2b(body, digest_size=12).hexdigest(), cache)
