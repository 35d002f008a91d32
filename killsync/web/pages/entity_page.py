"""Pages about one entity, from a character to a region: what it is, counts, activity, kills and losses."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from aiohttp import web

from killsync.access.decision import Need
from killsync.killmails import activity
from killsync.killmails.activity import Activity, Counts, Worth
from killsync.killmails.whereabouts import Whereabouts, whereabouts
from killsync.logging import get_logger
from killsync.names import entities, tickers
from killsync.names.entities import ENTITY_KINDS, EntityKind, KnownEntity
from killsync.static_data import queries
from killsync.web import filter_address, sessions
from killsync.web.guard import needs
from killsync.web.pages import charts, elsewhere, nouns
from killsync.web.pages.feed import feed
from killsync.web.pages.messages import message_page
from killsync.web.render import page
from killsync.web.security import check_rate
from models import utcnow
from models.threads import in_service, read_db

log = get_logger("web")

#: Requests for tickers that are under way: a task that nobody holds may be collected before it ends.
_TICKER_TASKS: web.AppKey[set[asyncio.Task[None]]] = web.AppKey("ticker_tasks")


def handler(kind: EntityKind) -> Any:
    """The handler of GET /{kind.plural}/{id}."""

    async def entity_page(request: web.Request) -> web.Response:
        check_rate(request, "page")
        number = filter_address.read_id(request.match_info["id"], kind.noun.lower())
        chosen = filter_address.read(request.query, (kind.word, number))
        entity = await read_db(entities.find, kind, number)
        if entity is None:
            await sessions.viewer_of(request)
            noun = "Type" if kind.word == "ship" else kind.noun
            text = f"No stored killmail names this {noun.lower()}."
            return message_page(request, 404, f"{noun} {number} is not here", text, login=False)
        now = utcnow()
        around = await read_db(_around, entity)
        if not around.is_flown:
            return await page(request, "type.html", entity=entity, around=around)
        counts, worth, active, flown = await read_db(_figures, entity, now)
        if kind.has_ticker and entity.ticker is None:
            _request_ticker(request.app, entity)
        return await page(
            request,
            "entity.html",
            entity=entity,
            noun=around.noun,
            around=around,
            counts=counts,
            worth=worth,
            activity=active,
            flown=flown,
            days=charts.by_day(active, now),
            hours=charts.by_hour(active),
            feed=await feed(request, chosen),
        )

    return entity_page


#: What the static data says around an entity, by the word of its kind.
_DETAILS: dict[str, Callable[[int], Any]] = {
    "ship": queries.type_details,
    "group": queries.group_details,
    "system": queries.system_details,
    "constellation": queries.constellation_details,
    "region": queries.region_details,
}


@dataclass(frozen=True)
class Around:
    """What a page says beside the killmails.

    Attributes:
        noun: what the entity is called.
        details: what `killsync.static_data.queries` says of it; None where that is nothing.
        is_flown: false for a type that no killmail is about.
        elsewhere: (site, address) of other pages about it.
    """

    noun: str
    details: Any
    is_flown: bool
    elsewhere: list[tuple[str, str]]


def _around(entity: KnownEntity) -> Around:
    word = entity.kind.word
    (noun,) = nouns.of([entity])
    read = _DETAILS.get(word)
    is_flown = word != "ship" or nouns.is_flown(entity.id) or activity.is_on_any(entity)
    return Around(
        noun,
        read(entity.id) if read is not None else None,
        is_flown,
        elsewhere.links(word, entity.id, entity.name, is_flown=is_flown),
    )


def _figures(entity: KnownEntity, now: datetime) -> tuple[Counts, Worth, Activity, Whereabouts | None]:
    flown = whereabouts(entity) if entity.kind.word in ("ship", "group") else None
    return activity.counts(entity), activity.worth(entity), activity.activity(entity, now), flown


def _request_ticker(app: web.Application, entity: KnownEntity) -> None:
    """Send for the ticker without keeping the page waiting; it shows on a later visit."""

    async def send() -> None:
        try:
            await asyncio.wait_for(in_service(tickers.ask, entity), 10)
        except Exception as error:
            log.warning("ticker not asked for", path=entity.path, reason=type(error).__name__)

    task = asyncio.create_task(send())
    app[_TICKER_TASKS].add(task)
    task.add_done_callback(app[_TICKER_TASKS].discard)


def setup(app: web.Application) -> None:
    """Add the routes."""
    app[_TICKER_TASKS] = set()
    for kind in ENTITY_KINDS.values():
        app.router.add_get(f"/{kind.plural}/{{id}}", needs(Need.READ, handler(kind)))
