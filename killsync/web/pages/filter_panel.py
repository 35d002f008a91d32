"""GET /filter: every clause of a filter as a form, for everybody; it becomes the address of a list, which can be shared."""

from __future__ import annotations

from urllib.parse import urlencode

from aiohttp import web

from killsync.access.decision import Need
from killsync.killmails.filter import KillmailFilter, Own
from killsync.killmails.filter_forms import to_address
from killsync.killmails.filter_words import sentence
from killsync.killmails.own import own_of
from killsync.names import typeahead
from killsync.web import filter_address, sessions
from killsync.web.guard import needs
from killsync.web.render import json, page
from killsync.web.security import check_rate
from killsync.webhooks.fields import FIELDS, GROUPS
from killsync.webhooks.form import Form, names_in, read_filter, typed
from models.threads import read_db

#: Suggestions below a field, and characters of one that are looked at.
SUGGESTIONS, MOST_CHARACTERS = 8, 2_100


async def show(request: web.Request) -> web.StreamResponse:
    """GET /filter: the form, filled in with the clauses of the address; with `do=show`, the list of what was typed."""
    check_rate(request, "search")
    viewer = await sessions.viewer_of(request)
    mine = viewer.character_ids if viewer else ()
    if request.query.get("do") != "show":
        chosen = await read_db(filter_address.read(request.query).filter, mine)
        names = await read_db(names_in, [chosen])
        form = Form(await read_db(typed, chosen, names))
        return await page(request, "filter.html", form=form, groups=GROUPS, said=sentence(chosen, names))
    form = Form({name: text.replace("\x00", "").strip()[:MOST_CHARACTERS] for name, text in request.query.items()})
    chosen = await read_db(_read, form, mine)
    if form.problems:
        return await page(request, "filter.html", 400, form=form, groups=GROUPS, said="")
    pairs = to_address(chosen)
    raise web.HTTPSeeOther(f"/?{urlencode(pairs, safe=',:')}" if pairs else "/")


def _read(form: Form, character_ids: tuple[int, ...]) -> KillmailFilter:
    return read_filter(form, own_of(character_ids) if character_ids else Own())


async def suggest(request: web.Request) -> web.Response:
    """GET /filter/names?of=FIELD&q=TEXT: the names that may be meant, for a field of the form."""
    check_rate(request, "search")
    of = FIELDS.get(request.query.get("of", ""))
    text = request.query.get("q", "").replace("\x00", "")
    if of is None or not of.tables:
        return json({"results": []})
    found = await read_db(typeahead.find, of.tables, text, SUGGESTIONS, of.categories)
    return json(
        {"results": [{"name": each.name, "id": str(each.id), "noun": each.table.replace("_", " ")} for each in found]}
    )


def setup(app: web.Application) -> None:
    """Add the routes."""
    app.router.add_get("/filter", needs(Need.READ, show))
    app.router.add_get("/filter/names", needs(Need.READ, suggest))
