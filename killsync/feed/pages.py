"""The addresses of the feeds: `/ephemeral/`, `/events` and `/api/`. `FEED=0` leaves them out."""

from __future__ import annotations

from aiohttp import web

from killsync.access.decision import Need
from killsync.events.hub import HUB
from killsync.feed import api_pages, stream
from killsync.feed.entries import Entries, Gone, NotThere, Packed, Unknown
from killsync.feed.polling import Polling
from killsync.feed.public import answer, preflight, problem, public, wrong_method
from killsync.feed.stream import ENTRIES
from killsync.feed.words import FOR_EVER, GONE, NOT_THERE, number_of, sequence_body
from killsync.settings import Settings
from killsync.web.guard import needs
from killsync.web.quick import QUICK
from killsync.web.security import LIMITER


async def sequence(request: web.Request) -> web.StreamResponse:
    """GET /ephemeral/sequence.json: the newest number."""
    try:
        newest = await request.app[ENTRIES].newest()
    except Unknown:
        return _not_yet()
    return web.Response(
        body=sequence_body(newest), content_type="application/json", headers={"Cache-Control": "no-store"}
    )


async def entry(request: web.Request) -> web.StreamResponse:
    """GET /ephemeral/<number>.json: the killmail of that number."""
    try:
        found: Packed = await request.app[ENTRIES].get(number_of(request.match_info["number"]))
    except NotThere:
        return problem(404, NOT_THERE)
    except Gone:
        return problem(410, GONE)
    except Unknown:
        return _not_yet()
    return answer(request, found.body, found.gzipped, found.etag, FOR_EVER)


async def nothing(_request: web.Request) -> web.StreamResponse:
    """Whatever else is asked for below /ephemeral/."""
    return problem(404, "there is nothing of this name")


def _not_yet() -> web.Response:
    return problem(503, "the server has not seen its database yet", **{"Retry-After": "2"})


def setup(app: web.Application, settings: Settings) -> None:
    """Add the routes, unless the settings turn the feeds off."""
    if not settings.feed:
        return
    app[ENTRIES] = Entries(app[HUB], settings.esi_url)
    if not settings.members_only:
        app[QUICK].append(Polling(settings, app[LIMITER], app[ENTRIES]))
    stream.setup(app)
    api_pages.setup(app)
    for path, kind, handler in (
        ("/ephemeral/sequence.json", "feed", sequence),
        (r"/ephemeral/{number:\d+}.json", "feed", entry),
        ("/ephemeral/{name:.*}", "feed", nothing),
        ("/events", "stream", stream.events),
        ("/api/history/{day}", "api", api_pages.history),
        ("/api/stats/{kind}/{id}{slash:/?}", "api", api_pages.stats),
        ("/api/{path:.*}", "api", api_pages.killmails),
    ):
        app.router.add_get(path, needs(Need.READ, public(kind, handler)))
        app.router.add_route("OPTIONS", path, needs(Need.OPEN, preflight))
        app.router.add_route("*", path, needs(Need.READ, wrong_method))
