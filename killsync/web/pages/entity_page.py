"""Pages about one character, corporation, alliance, ship type or system: counts, activity, kills and losses."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

from killsync.logging import get_logger
from killsync.names import entities, tickers
from killsync.names.entities import KINDS, Activity, Counts, Kind, Subject
from killsync.web import filter_address, sessions
from killsync.web.pages import charts
from killsync.web.pages.feed import feed
from killsync.web.pages.messages import message_page
from killsync.web.render import page
from killsync.web.security import check_rate
from models import utcnow
from models.threads import in_db, read_db

log = get_logger("web")

#: Tickers that are being asked for, so that their tasks are not forgotten half-way.
_asking: set[asyncio.Task[None]] = set()


def handler(kind: Kind) -> Any:
    """The handler of GET /{kind.plural}/{id}."""

    async def about(request: web.Request) -> web.Response:
        check_rate(request, "page")
        number = filter_address.read_id(request.match_info["id"], kind.noun.lower())
        chosen = filter_address.read(request.query, (kind.word, number))
        subject = await read_db(entities.find, kind, number)
        if subject is None:
            await sessions.viewer_of(request)
            text = f"No stored killmail names this {kind.noun.lower()}."
            return message_page(request, 404, f"{kind.noun} {number} is not here", text, login=False)
        now = utcnow()
        counts, activity = await read_db(_figures, subject, now)
        if kind.has_ticker and subject.ticker is None:
            _ask_ticker(subject)
        return await page(
            request,
            "about.html",
            subject=subject,
            counts=counts,
            activity=activity,
            days=charts.by_day(activity, now),
            hours=charts.by_hour(activity),
            feed=await feed(request, chosen),
        )

    return about


def _figures(subject: Subject, now: Any) -> tuple[Counts, Activity]:
    return entities.counts(subject), entities.activity(subject, now)


def _ask_ticker(subject: Subject) -> None:
    """Send for the ticker without keeping the page waiting; it shows on a later visit."""

    async def ask() -> None:
        try:
            await asyncio.wait_for(in_db(tickers.ask, subject), 10)
        except Exception as error:
            log.warning("ticker not asked for", path=subject.path, reason=type(error).__name__)

    task = asyncio.create_task(ask())
    _asking.add(task)
    task.add_done_callback(_asking.discard)


def setup(app: web.Application) -> None:
    """Add the routes."""
    for kind in KINDS.values():
        app.router.add_get(f"/{kind.plural}/{{id}}", handler(kind))
