"""The pages and their addresses: the live feed of killmails here, every other page in the module named for it."""

from __future__ import annotations

from aiohttp import web

from killsync.access.decision import Need
from killsync.web import filter_address, guard, render, sessions
from killsync.web.filter_address import BadAddress
from killsync.web.guard import needs
from killsync.web.pages import access_keys, entity_page, killmail, messages, my_characters, search
from killsync.web.pages import feed as feeds
from killsync.web.security import check_rate
from killsync.web.turns import Turns


async def front(request: web.Request) -> web.Response:
    """GET /: the newest killmails, and the caller's characters when logged in."""
    check_rate(request, "page")
    viewer = await sessions.viewer_of(request)
    feed = await feeds.feed(request, filter_address.read(request.query))
    return await render.page(
        request, "front.html", feed=feed, pilots=await my_characters.pilots(request, viewer) if viewer else []
    )


@web.middleware
async def _readable(request: web.Request, handler: messages.Handler) -> web.StreamResponse:
    """An address that cannot be read is the caller's mistake, whichever page it names."""
    try:
        return await handler(request)
    except BadAddress as error:
        raise web.HTTPBadRequest(text=f"{error}\n") from None


def setup(app: web.Application) -> None:
    """Add routes, templates and static files."""
    app.middlewares.append(messages.as_page)
    guard.setup(app)
    app.middlewares.append(_readable)
    render.setup(app)
    app.router.add_get("/", needs(Need.READ, front))
    app.router.add_get("/killmails/rows", needs(Need.READ, feeds.rows))
    app[killmail.TURNS] = Turns(killmail.OF_ONE, killmail.IN_ALL)
    app.router.add_get("/killmails/{id}", needs(Need.READ, killmail.killmail))
    app.router.add_get("/names", needs(Need.READ, feeds.names))
    app.router.add_get("/search", needs(Need.READ, search.find))
    entity_page.setup(app)
    my_characters.setup(app)
    access_keys.setup(app)
