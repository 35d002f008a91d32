"""The webhooks of the caller's account: /webhooks lists, adds, changes, pauses, tries and deletes them, with their trackers.

An address is a secret: it is stored encrypted, shown as its host and last letters, and never written anywhere else. Each
handler touches the caller's own webhooks alone.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web
from yarl import URL

from killsync.access.decision import Need
from killsync.accounts.viewer import Viewer
from killsync.killmails.filter import KillmailFilter
from killsync.killmails.filter_words import sentence
from killsync.killmails.labels import WORDS
from killsync.logging import get_logger
from killsync.sso.errors import VaultError
from killsync.sso.vault import Vault
from killsync.web import forms, render, sessions
from killsync.web.guard import needs
from killsync.web.pages import previews
from killsync.web.security import SETTINGS, check_rate, same_origin
from killsync.webhooks import deliveries, formats, queries, reader, sender, trackers
from killsync.webhooks.fields import GROUPS, TITLES
from killsync.webhooks.form import MOST_NAME, Form, names_in, new_form, read_filter, read_voice
from killsync.webhooks.subscribers import own_of_account
from killsync.webhooks.voice import Voice
from models.threads import in_db, read_db
from models.webhooks import DISCORD, JSON, KINDS, SLACK

log = get_logger("webhooks")

KIND_NAMES = {DISCORD: "Discord", SLACK: "Slack", JSON: "JSON, signed"}
WHY = "Log in to have killmails sent to Discord, Slack or a program of yours."


@dataclass
class Notice:
    """What the page says above everything else."""

    text: str
    is_good: bool = True
    secret: str | None = None
    problems: tuple[str, ...] = ()


async def owner_of(request: web.Request) -> Viewer:
    """The caller, who is logged in and, for what changes something, comes from a page of ours."""
    viewer = await sessions.viewer_of(request)
    if request.method == "POST" and not same_origin(request):
        raise web.HTTPForbidden(text="This request came from another site.\n")
    assert viewer is not None, "needs a person"
    check_rate(request, "webhooks" if request.method == "POST" else "page", viewer.account_id)
    return viewer


def private(handler: Any) -> Any:
    async def guarded(request: web.Request) -> web.StreamResponse:
        response: web.StreamResponse = await handler(request)
        response.headers["Cache-Control"] = "no-store"
        return response

    return guarded


@private
async def show(request: web.Request) -> web.StreamResponse:
    """GET /webhooks."""
    return await _list(request, await owner_of(request))


@private
async def edit(request: web.Request) -> web.StreamResponse:
    """GET /webhooks/{id}."""
    viewer = await owner_of(request)
    row = await _mine(request, viewer)
    return _render(request, "webhook.html", viewer, row=row, form=Form({"name": row.name}))


@private
async def add(request: web.Request) -> web.StreamResponse:
    """POST /webhooks: a webhook, and its first tracker; with `do=preview` only say what that would tell."""
    viewer = await owner_of(request)
    form = Form(await forms.read(request))
    settings = request.app[SETTINGS]
    vault = Vault(settings.secret_keys)
    chosen, voice = await in_db(_read_tracker, form, viewer.account_id)
    if form.get("do") == "preview":
        _drop_bad_address(form, settings.webhook_allow_private)
        # It is not the name's turn yet.
        form.problems.pop("name", None)
        found = await previews.outlook(request, viewer, lambda: chosen)
        shown: dict[str, Any] = {"said_of_form": found.said, "preview": found.preview, "chosen_query": found.query}
        return await _list(request, viewer, None, form, **shown)
    kind, url = form.get("kind"), ""
    if kind not in KINDS:
        form.problems["kind"] = "Choose Discord, Slack or JSON."
    try:
        url = _address(form.get("url"), kind, settings.webhook_allow_private)
    except sender.BadAddress as error:
        form.problems["url"] = str(error)
    if form.problems:
        _drop_bad_address(form, settings.webhook_allow_private)
        return await _list(request, viewer, wrong(form), form, status=400)
    secret = secrets.token_urlsafe(32) if kind == JSON else None
    made = await in_db(
        queries.create, viewer.account_id, voice.name, kind, vault.encrypt(url), hint_of(url),
        vault.encrypt(secret) if secret else None,
    )  # fmt: skip
    if made is None:
        notice = Notice(f"An account has at most {queries.MOST} webhooks: delete one first.", is_good=False)
        return await _list(request, viewer, notice, form, status=400)
    await in_db(trackers.create, viewer.account_id, made, voice, chosen)
    await in_db(reader.begin_reading)
    log.info("webhook added", webhook_id=made, kind=kind, account_id=viewer.account_id)
    return await _list(request, viewer, Notice("The webhook was added. Send a test to see that it arrives.", secret=secret),
                       status=201)  # fmt: skip


def _read_tracker(form: Form, account_id: int) -> tuple[KillmailFilter, Voice]:
    return read_filter(form, own_of_account(account_id)), read_voice(form)


def wrong(form: Form) -> Notice:
    """What has to be mended in a form."""
    return Notice("Nothing was saved yet.", is_good=False, problems=tuple(form.problems.values()))


@private
async def change(request: web.Request) -> web.StreamResponse:
    """POST /webhooks/{id}."""
    viewer = await owner_of(request)
    row = await _mine(request, viewer)
    form = Form(await forms.read(request))
    settings = request.app[SETTINGS]
    name = formats.one_line(form.get("name"))[:MOST_NAME]
    url = None
    try:
        if not name:
            raise sender.BadAddress("Give it a name.")
        if form.get("url"):
            plain = _address(form.get("url"), row.kind, settings.webhook_allow_private)
            url = (Vault(settings.secret_keys).encrypt(plain), hint_of(plain))
    except sender.BadAddress as error:
        _drop_bad_address(form, settings.webhook_allow_private)
        return _render(
            request, "webhook.html", viewer, status=400, row=row, form=form, notice=Notice(str(error), is_good=False)
        )
    if not await in_db(queries.change, viewer.account_id, row.id, name, url):
        raise gone()
    log.info("webhook changed", webhook_id=row.id, account_id=viewer.account_id)
    raise web.HTTPSeeOther("/webhooks")


@private
async def act(request: web.Request) -> web.StreamResponse:
    """POST /webhooks/{id}/{pause,resume,delete,test,secret}."""
    viewer = await owner_of(request)
    row = await _mine(request, viewer)
    action = request.match_info["action"]
    if action == "test":
        check_rate(request, "webhook_test", viewer.account_id)
        return await _list(request, viewer, await _try(request, viewer, row))
    if action == "secret":
        secret = secrets.token_urlsafe(32)
        vault = Vault(request.app[SETTINGS].secret_keys)
        if row.kind == JSON and not await in_db(queries.set_secret, viewer.account_id, row.id, vault.encrypt(secret)):
            raise gone()
        if row.kind != JSON:
            raise web.HTTPBadRequest(text="Only JSON webhooks are signed.\n")
        return await _list(request, viewer, Notice(f"“{row.name}” signs with a new secret from now on.", secret=secret))
    if action == "delete":
        await in_db(queries.delete, viewer.account_id, row.id)
    elif action == "pause":
        await in_db(queries.pause, viewer.account_id, row.id)
    else:
        await in_db(queries.resume, viewer.account_id, row.id)
        await in_db(reader.begin_reading)
    log.info("webhook action", action=action, webhook_id=row.id, account_id=viewer.account_id)
    raise web.HTTPSeeOther("/webhooks")


async def _try(request: web.Request, viewer: Viewer, row: queries.Row) -> Notice:
    """Send a test message now and say what came of it."""
    settings = request.app[SETTINGS]
    vault = Vault(settings.secret_keys)
    found = await in_db(queries.secrets_of, viewer.account_id, row.id)
    if found is None:
        raise gone()
    kind, url, secret = found
    try:
        address, key = vault.decrypt(url), vault.decrypt(secret) if secret else None
    except VaultError:
        return Notice(f"The address of “{row.name}” cannot be read any more: enter it again.", is_good=False)
    message = formats.trial(kind, row.name, key)
    answer = await sender.post(address, message.body, message.headers, allow_private=settings.webhook_allow_private)
    verdict = sender.judge(answer)
    if verdict.kind == "later" and verdict.pause:
        if verdict.everywhere:
            await in_db(deliveries.defer_kind, kind, verdict.pause)
        await in_db(deliveries.record_pause, row.id, verdict.pause)
    if verdict.kind == "taken":
        return Notice(f"“{row.name}” took the test message ({answer.status}).")
    return Notice(f"“{row.name}” did not take the test message: {verdict.reason}.", is_good=False)


def _address(text: str, kind: str, allow_private: bool) -> str:
    url = sender.check_address(text, allow_private=allow_private)
    # Discord then answers when the message is stored, not when it was received.
    return str(URL(url).update_query(wait="true")) if kind == DISCORD else url


def _drop_bad_address(form: Form, allow_private: bool) -> None:
    """A form that comes back keeps the address that was pasted, unless that has to be another one anyway."""
    try:
        sender.check_address(form.get("url"), allow_private=allow_private)
    except sender.BadAddress:
        form.values.pop("url", None)


def hint_of(url: str) -> str:
    """What of an address may be seen: its host and last letters."""
    return f"{urlsplit(url).hostname}/…{urlsplit(url).path[-4:]}"


async def _mine(request: web.Request, viewer: Viewer) -> queries.Row:
    text = request.match_info["id"]
    row = await in_db(queries.one, viewer.account_id, int(text)) if len(text) < 19 else None
    if row is None:
        raise gone()
    return row


def gone() -> web.HTTPNotFound:
    return web.HTTPNotFound(text="There is no such webhook.\n")


async def _list(request: web.Request, viewer: Viewer, notice: Notice | None = None, form: Form | None = None,
                status: int = 200, **more: Any) -> web.Response:  # fmt: skip
    listed = await read_db(queries.of_account, viewer.account_id)
    of_account = await read_db(trackers.of_account, viewer.account_id)
    names = await read_db(names_in, [row.filter for row in of_account])
    said = {row.id: sentence(row.filter, names) for row in of_account}
    form = form or new_form()
    return _render(request, "webhooks.html", viewer, status=status, listed=listed, trackers=of_account, said=said,
                   form=form, notice=notice, **more)  # fmt: skip


def _render(request: web.Request, template: str, viewer: Viewer, *, status: int = 200, **context: Any) -> web.Response:
    common = {
        "viewer": viewer,
        "kinds": KIND_NAMES,
        "groups": GROUPS,
        "titles": TITLES,
        "labels": WORDS,
        "notice": None,
        "preview": None,
    }
    return render.rendered(request, template, {**common, **context}, status)


def setup(app: web.Application) -> None:
    """Add the routes."""
    previews.setup(app)
    app.router.add_get("/webhooks", needs(Need.PERSON, show, why=WHY))
    app.router.add_post("/webhooks", needs(Need.PERSON, add))
    app.router.add_get(r"/webhooks/{id:\d+}", needs(Need.PERSON, edit, why=WHY))
    app.router.add_post(r"/webhooks/{id:\d+}", needs(Need.PERSON, change))
    app.router.add_post(r"/webhooks/{id:\d+}/{action:pause|resume|delete|test|secret}", needs(Need.PERSON, act))
