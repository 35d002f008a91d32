"""The trackers of the caller's account: /trackers makes, tries, changes, copies, pauses and deletes them.

Before anything is saved the page says in a sentence what a tracker would tell, and what it would have told lately. All of it
works without scripts; with them the sentence and the list follow while one types (`trackers.js`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from aiohttp import web

from killsync.access.decision import Need
from killsync.killmails.filter import KillmailFilter
from killsync.killmails.filter_forms import from_address
from killsync.killmails.killmail import KillmailSummary
from killsync.killmails.labels import WORDS
from killsync.killmails.summaries import summaries
from killsync.logging import get_logger
from killsync.web import filter_address, forms, render
from killsync.web.guard import needs
from killsync.web.pages.previews import Outlook, outlook
from killsync.web.sessions import Viewer
from killsync.webhooks import queries, reader, trackers
from killsync.webhooks.fields import DEFAULT_AGE, GROUPS, TITLES
from killsync.webhooks.form import Form, form_of, names_in, read_filter, read_voice, typed
from killsync.webhooks.pages import KIND_NAMES, WHY, Notice, gone, owner_of, private, wrong
from killsync.webhooks.preview import Missed, nearly
from killsync.webhooks.subscribers import own_of_account
from killsync.webhooks.voice import Voice
from models.threads import in_db, read_db

log = get_logger("webhooks")

#: What a tracker wanted lately that is shown.
LATELY = 20


@private
async def new(request: web.Request) -> web.StreamResponse:
    """GET /trackers/new: the form; with clauses in the address it begins with those, and says what they would have told."""
    viewer = await owner_of(request)
    chosen = filter_address.read(request.query)
    form = await read_db(_begin, chosen.pairs(), viewer.account_id)
    form.values["webhook"] = request.query.get("webhook", "")
    return await _form(request, viewer, form, shows_preview=bool(chosen.pairs()))


def _begin(pairs: list[tuple[str, str]], account_id: int) -> Form:
    own = own_of_account(account_id)
    given = dict(pairs) or {"mine": "1"}
    chosen = from_address(given, own)
    if chosen.max_age is None:
        chosen = replace(chosen, max_age=DEFAULT_AGE)
    return Form(typed(chosen, names_in([chosen])))


@private
async def edit(request: web.Request) -> web.StreamResponse:
    """GET /trackers/{id}."""
    viewer = await owner_of(request)
    row = await _mine(request, viewer)
    names = await read_db(names_in, [row.filter])
    form = await read_db(form_of, row.voice, row.filter, names)
    form.values["webhook"] = str(row.webhook_id)
    return await _form(request, viewer, form, row=row, shows_preview=True)


@private
async def add(request: web.Request) -> web.StreamResponse:
    """POST /trackers: save it, or with `do=preview` only say what it would tell."""
    viewer = await owner_of(request)
    form = Form(await forms.read(request))
    chosen, voice, webhook_id = await in_db(_read, form, viewer.account_id)
    if form.get("do") == "preview" or form.problems:
        return await _form(request, viewer, form, chosen=chosen, status=200 if form.get("do") == "preview" else 400)
    made = await in_db(trackers.create, viewer.account_id, webhook_id, voice, chosen)
    if made is None:
        form.problems["webhook"] = f"An account has at most {trackers.MOST} trackers: delete one first."
        return await _form(request, viewer, form, chosen=chosen, status=400)
    await in_db(reader.begin_reading)
    log.info("tracker added", tracker_id=made, webhook_id=webhook_id, account_id=viewer.account_id)
    raise web.HTTPSeeOther("/webhooks")


@private
async def change(request: web.Request) -> web.StreamResponse:
    """POST /trackers/{id}: save it, or with `do=preview` only say what it would tell."""
    viewer = await owner_of(request)
    row = await _mine(request, viewer)
    form = Form(await forms.read(request))
    chosen, voice, webhook_id = await in_db(_read, form, viewer.account_id)
    # What a newer version wrote has no field here, and stays.
    chosen = replace(chosen, unknown=row.filter.unknown)
    if form.get("do") == "preview" or form.problems:
        status = 200 if form.get("do") == "preview" else 400
        return await _form(request, viewer, form, row=row, chosen=chosen, status=status)
    if not await in_db(trackers.change, viewer.account_id, row.id, webhook_id, voice, chosen):
        raise gone()
    log.info("tracker changed", tracker_id=row.id, account_id=viewer.account_id)
    raise web.HTTPSeeOther("/webhooks")


def _read(form: Form, account_id: int) -> tuple[KillmailFilter, Voice, int]:
    chosen, voice = read_filter(form, own_of_account(account_id)), read_voice(form)
    text = form.get("webhook")
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0
    if queries.one(account_id, number) is None:
        form.problems["webhook"] = "Choose where it is sent to."
    return chosen, voice, number


@private
async def act(request: web.Request) -> web.StreamResponse:
    """POST /trackers/{id}/{pause,resume,duplicate,delete}."""
    viewer = await owner_of(request)
    row = await _mine(request, viewer)
    action = request.match_info["action"]
    log.info("tracker action", action=action, tracker_id=row.id, account_id=viewer.account_id)
    if action == "duplicate":
        made = await in_db(trackers.duplicate, viewer.account_id, row.id)
        if made is None:
            raise web.HTTPConflict(
                text="This tracker cannot be copied: there are too many, or its filter cannot be used.\n"
            )
        raise web.HTTPSeeOther(f"/trackers/{made}")
    work = {"pause": trackers.pause, "resume": trackers.resume, "delete": trackers.delete}[action]
    await in_db(work, viewer.account_id, row.id)
    if action == "resume":
        await in_db(reader.begin_reading)
    raise web.HTTPSeeOther("/webhooks")


@private
async def try_out(request: web.Request) -> web.StreamResponse:
    """POST /trackers/preview: the sentence of what is typed and what it would have told, as a part of the page."""
    viewer = await owner_of(request)
    form = Form(await forms.read(request))
    own = await read_db(own_of_account, viewer.account_id)
    found = await outlook(request, viewer, lambda: read_filter(form, own))
    return render.rendered(request, "_preview.html", {"form": form, "said": found.said, "preview": found.preview,
                                                      "viewer": viewer, "chosen_query": found.query}, 200)  # fmt: skip


async def _form(
    request: web.Request, viewer: Viewer, form: Form, *, row: trackers.Row | None = None,
    chosen: KillmailFilter | None = None, shows_preview: bool = True, status: int = 200,
) -> web.Response:  # fmt: skip
    own = await read_db(own_of_account, viewer.account_id)
    found: Outlook | None = None
    if shows_preview:
        found = await outlook(request, viewer, lambda: chosen or read_filter(form, own))
    lately: list[tuple[trackers.Sent, KillmailSummary | None]] = []
    missed: list[Missed] = []
    if row is not None:
        lately, missed = await read_db(_lately, row)
    notice = wrong(form) if form.problems else None
    if notice is None and row is not None and row.problem:
        notice = Notice(f"Its filter cannot be used: {row.problem}.", is_good=False)
    listed = await read_db(queries.of_account, viewer.account_id)
    context: dict[str, Any] = {
        "viewer": viewer, "row": row, "form": form, "webhooks": listed, "kinds": KIND_NAMES, "groups": GROUPS,
        "titles": TITLES, "labels": WORDS, "notice": notice, "said": found.said if found else "",
        "preview": found.preview if found else None, "chosen_query": found.query if found else "",
        "lately": lately, "missed": missed,
    }  # fmt: skip
    return render.rendered(request, "tracker.html", context, status)


def _lately(row: trackers.Row) -> tuple[list[tuple[trackers.Sent, KillmailSummary | None]], list[Missed]]:
    sent = trackers.lately(row.id, LATELY)
    shown = {each.killmail_id: each for each in summaries([each.killmail_id for each in sent], None)} if sent else {}
    missed = nearly(row.filter, names_in([row.filter])) if row.problem is None else []
    return [(each, shown.get(each.killmail_id)) for each in sent], missed


async def _mine(request: web.Request, viewer: Viewer) -> trackers.Row:
    text = request.match_info["id"]
    row = await in_db(trackers.one, viewer.account_id, int(text)) if len(text) < 19 else None
    if row is None:
        raise web.HTTPNotFound(text="There is no such tracker.\n")
    return row


def setup(app: web.Application) -> None:
    """Add the routes."""
    app.router.add_get("/trackers/new", needs(Need.PERSON, new, why=WHY))
    app.router.add_post("/trackers/preview", needs(Need.PERSON, try_out))
    app.router.add_post("/trackers", needs(Need.PERSON, add))
    app.router.add_get(r"/trackers/{id:\d+}", needs(Need.PERSON, edit, why=WHY))
    app.router.add_post(r"/trackers/{id:\d+}", needs(Need.PERSON, change))
    app.router.add_post(r"/trackers/{id:\d+}/{action:pause|resume|duplicate|delete}", needs(Need.PERSON, act))
