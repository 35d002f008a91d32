"""The webhooks of the caller's account: /webhooks lists, adds, changes, pauses, tries and deletes them.

An address is a secret: it is stored encrypted, shown as its host and last letters, and never written anywhere else. Each
handler touches the caller's own webhooks alone.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import aiohttp_jinja2
from aiohttp import web
from yarl import URL

import logs
from actors import webhook_messages, webhook_post
from models import following, webhooks
from models.naming import find_id, names_of
from models.webhook_filter import BOTH, DEFAULT_AGE, KILLS, LOSSES, MOST_AGE, MOST_SHIPS, WebhookFilter
from models.webhooks import DISCORD, JSON, KINDS, SLACK
from sso.vault import Vault
from web import sessions
from web.db import in_db, read_db
from web.messages import message_page
from web.security import SETTINGS, check_rate, same_origin
from web.sessions import Viewer

log = logs.get("webhooks")

MOST_NAME = 60
AGES = ((900, "15 minutes"), (3_600, "1 hour"), (21_600, "6 hours"), (86_400, "1 day"), (604_800, "7 days"))
KIND_NAMES = {DISCORD: "Discord", SLACK: "Slack", JSON: "JSON, signed"}
SIDE_NAMES = {BOTH: "Kills and losses", KILLS: "Kills only", LOSSES: "Losses only"}
#: Field of the form, table of names, its key, what to call it.
_NAMED = (
    ("corporation_id", "corporation", "corporation_id", "corporation"),
    ("alliance_id", "alliance", "alliance_id", "alliance"),
    ("system_id", "solar_system", "system_id", "solar system"),
)


class BadForm(ValueError):
    """What was entered cannot be a webhook; the text says what to mend."""


@dataclass
class Notice:
    """What the page says above everything else."""

    text: str
    is_good: bool = True
    secret: str | None = None


@dataclass
class Form:
    """What the form shows: the values as they were typed."""

    values: dict[str, str] = field(default_factory=dict)

    def get(self, name: str, default: str = "") -> str:
        return self.values.get(name, default)


async def _owner(request: web.Request) -> Viewer:
    """The caller, who is logged in and, for what changes something, comes from a page of ours."""
    viewer = await sessions.viewer_of(request)
    if request.method == "POST" and not same_origin(request):
        raise web.HTTPForbidden(text="This request came from another site.\n")
    if viewer is None:
        if request.method == "POST":
            raise web.HTTPForbidden(text="Log in on this site first.\n")
        raise _NotLoggedIn
    if request.method == "POST":
        check_rate(request, "webhooks", viewer.account_id)
    return viewer


class _NotLoggedIn(Exception):
    """A visitor asks for a page that belongs to an account."""


def _page(handler: Any) -> Any:
    async def guarded(request: web.Request) -> web.StreamResponse:
        try:
            response: web.StreamResponse = await handler(request)
        except _NotLoggedIn:
            text = "Log in to have killmails sent to Discord, Slack or a program of yours."
            return message_page(request, 403, "Your webhooks", text)
        response.headers["Cache-Control"] = "no-store"
        return response

    return guarded


@_page
async def show(request: web.Request) -> web.StreamResponse:
    """GET /webhooks."""
    return await _list(request, await _owner(request))


@_page
async def edit(request: web.Request) -> web.StreamResponse:
    """GET /webhooks/{id}."""
    viewer = await _owner(request)
    row = await _mine(request, viewer)
    names = await read_db(_names, [row])
    return _render(request, "webhook.html", viewer, row=row, form=_form_of(row, names))


@_page
async def add(request: web.Request) -> web.StreamResponse:
    """POST /webhooks."""
    viewer = await _owner(request)
    form = await _posted(request)
    settings = request.app[SETTINGS]
    vault = Vault(settings.secret_keys)
    try:
        kind = form.get("kind")
        if kind not in KINDS:
            raise BadForm("Choose Discord, Slack or JSON.")
        name, chosen = await in_db(_read_form, form)
        url = _address(form.get("url"), kind, settings.webhook_allow_private)
    except (BadForm, webhook_post.BadAddress) as error:
        return await _list(request, viewer, Notice(str(error), is_good=False), form, status=400)
    secret = secrets.token_urlsafe(32) if kind == JSON else None
    made = await in_db(
        webhooks.create, viewer.account_id, name, kind, vault.encrypt(url), hint_of(url),
        vault.encrypt(secret) if secret else None, chosen,
    )  # fmt: skip
    if made is None:
        notice = Notice(f"An account has at most {webhooks.MOST} webhooks: delete one first.", is_good=False)
        return await _list(request, viewer, notice, form, status=400)
    await in_db(following.begin_reading)
    log.info("webhook added", webhook_id=made, kind=kind, account_id=viewer.account_id)
    return await _list(request, viewer, Notice("The webhook was added. Send a test to see that it arrives.", secret=secret),
                       status=201)  # fmt: skip


@_page
async def change(request: web.Request) -> web.StreamResponse:
    """POST /webhooks/{id}."""
    viewer = await _owner(request)
    row = await _mine(request, viewer)
    form = await _posted(request)
    settings = request.app[SETTINGS]
    try:
        name, chosen = await in_db(_read_form, form)
        url = None
        if form.get("url"):
            plain = _address(form.get("url"), row.kind, settings.webhook_allow_private)
            url = (Vault(settings.secret_keys).encrypt(plain), hint_of(plain))
    except (BadForm, webhook_post.BadAddress) as error:
        return _render(
            request, "webhook.html", viewer, status=400, row=row, form=form, notice=Notice(str(error), is_good=False)
        )
    await in_db(webhooks.change, viewer.account_id, row.id, name, chosen, url)
    log.info("webhook changed", webhook_id=row.id, account_id=viewer.account_id)
    raise web.HTTPSeeOther("/webhooks")


@_page
async def act(request: web.Request) -> web.StreamResponse:
    """POST /webhooks/{id}/{pause,resume,delete,test,secret}."""
    viewer = await _owner(request)
    row = await _mine(request, viewer)
    action = request.match_info["action"]
    if action == "test":
        check_rate(request, "webhook_test", viewer.account_id)
        return await _list(request, viewer, await _try(request, viewer, row))
    if action == "secret":
        secret = secrets.token_urlsafe(32)
        vault = Vault(request.app[SETTINGS].secret_keys)
        if not await in_db(webhooks.set_secret, viewer.account_id, row.id, vault.encrypt(secret)):
            raise web.HTTPBadRequest(text="Only JSON webhooks are signed.\n")
        return await _list(request, viewer, Notice(f"“{row.name}” signs with a new secret from now on.", secret=secret))
    if action == "delete":
        await in_db(webhooks.delete, viewer.account_id, row.id)
    elif action == "pause":
        await in_db(webhooks.pause, viewer.account_id, row.id)
    else:
        await in_db(webhooks.resume, viewer.account_id, row.id)
        await in_db(following.begin_reading)
    log.info("webhook action", action=action, webhook_id=row.id, account_id=viewer.account_id)
    raise web.HTTPSeeOther("/webhooks")


async def _try(request: web.Request, viewer: Viewer, row: webhooks.Row) -> Notice:
    """Send a test message now and say what came of it."""
    settings = request.app[SETTINGS]
    vault = Vault(settings.secret_keys)
    found = await in_db(webhooks.secrets_of, viewer.account_id, row.id)
    assert found is not None
    kind, url, secret = found
    message = webhook_messages.trial(kind, row.name, vault.decrypt(secret) if secret else None)
    answer = await webhook_post.post(
        vault.decrypt(url), message.body, message.headers, allow_private=settings.webhook_allow_private
    )
    verdict = webhook_post.judge(answer)
    if verdict.kind == "taken":
        return Notice(f"“{row.name}” took the test message ({answer.status}).")
    return Notice(f"“{row.name}” did not take the test message: {verdict.reason}.", is_good=False)


def _address(text: str, kind: str, allow_private: bool) -> str:
    url = webhook_post.check_address(text, allow_private=allow_private)
    # Discord then answers when the message is stored, not when it was received.
    return str(URL(url).update_query(wait="true")) if kind == DISCORD else url


def hint_of(url: str) -> str:
    """What of an address may be seen: its host and last letters."""
    return f"{urlsplit(url).hostname}/…{urlsplit(url).path[-4:]}"


async def _posted(request: web.Request) -> Form:
    posted = await request.post()
    return Form({name: value.strip()[:2_100] for name, value in posted.items() if isinstance(value, str)})


def _read_form(form: Form) -> tuple[str, WebhookFilter]:
    name = webhook_messages.plain(form.get("name"))[:MOST_NAME]
    if not name:
        raise BadForm("Give the webhook a name.")
    if form.get("side", BOTH) not in SIDE_NAMES:
        raise BadForm("Choose kills, losses or both.")
    found = {field: _one(table, form.get(field), what) for field, table, _, what in _NAMED}
    typed = [part.strip() for part in form.get("ships").split(",") if part.strip()]
    if len(typed) > MOST_SHIPS:
        raise BadForm(f"Name at most {MOST_SHIPS} ships.")
    ships = [_one("item_type", part, "ship") for part in typed]
    return name, WebhookFilter(
        mine=bool(form.get("mine")),
        side=form.get("side", BOTH),
        ship_type_ids=tuple(ship for ship in ships if ship is not None),
        min_attackers=_number(form.get("min_attackers", "1"), "Attackers", 1, 10_000),
        max_age=_number(form.get("max_age", str(DEFAULT_AGE)), "Age", 60, MOST_AGE),
        **found,
    )


def _one(table: str, text: str, what: str) -> int | None:
    if not text:
        return None
    found = find_id(table, text)
    if found is None:
        raise BadForm(f"Killsync has seen no {what} called “{text[:60]}” yet: check the name, or enter its id.")
    return found


def _number(text: str, what: str, least: int, most: int) -> int:
    if not text.isascii() or not text.isdecimal() or not least <= int(text[:12]) <= most:
        raise BadForm(f"{what}: enter a number from {least} to {most}.")
    return int(text)


def _names(listed: list[webhooks.Row]) -> dict[tuple[str, int], str]:
    wanted = [(table, getattr(row.filter, field)) for row in listed for field, table, _, _ in _NAMED]
    wanted += [("item_type", ship) for row in listed for ship in row.filter.ship_type_ids]
    return names_of([(table, number) for table, number in wanted if number is not None])


def describe(row: webhooks.Row, names: dict[tuple[str, int], str]) -> list[str]:
    """The filter in words, one condition each."""
    chosen = row.filter

    def name(table: str, number: int) -> str:
        return names.get((table, number)) or str(number)

    said = [SIDE_NAMES[chosen.side] + (" of my characters" if chosen.mine else "")]
    if chosen.corporation_id is not None:
        said.append(f"corporation {name('corporation', chosen.corporation_id)}")
    if chosen.alliance_id is not None:
        said.append(f"alliance {name('alliance', chosen.alliance_id)}")
    if chosen.ship_type_ids:
        said.append("lost ship " + " or ".join(name("item_type", ship) for ship in chosen.ship_type_ids))
    if chosen.system_id is not None:
        said.append(f"in {name('solar_system', chosen.system_id)}")
    if chosen.min_attackers > 1:
        said.append(f"{chosen.min_attackers} attackers or more")
    said.append(f"at most {dict(AGES).get(chosen.max_age, f'{chosen.max_age} seconds')} old")
    return said


def _form_of(row: webhooks.Row, names: dict[tuple[str, int], str]) -> Form:
    chosen = row.filter
    values = {"name": row.name, "kind": row.kind, "side": chosen.side, "mine": "1" if chosen.mine else "",
              "min_attackers": str(chosen.min_attackers), "max_age": str(chosen.max_age)}  # fmt: skip
    for each, table, _, _ in _NAMED:
        number = getattr(chosen, each)
        values[each] = "" if number is None else names.get((table, number)) or str(number)
    values["ships"] = ", ".join(names.get(("item_type", ship)) or str(ship) for ship in chosen.ship_type_ids)
    return Form(values)


async def _mine(request: web.Request, viewer: Viewer) -> webhooks.Row:
    text = request.match_info["id"]
    row = await in_db(webhooks.one, viewer.account_id, int(text)) if len(text) < 19 else None
    if row is None:
        raise web.HTTPNotFound(text="There is no such webhook.\n")
    return row


async def _list(request: web.Request, viewer: Viewer, notice: Notice | None = None, form: Form | None = None,
                status: int = 200) -> web.Response:  # fmt: skip
    listed = await read_db(webhooks.of_account, viewer.account_id)
    names = await read_db(_names, listed)
    form = form or Form({"mine": "1", "kind": DISCORD, "max_age": str(DEFAULT_AGE), "min_attackers": "1"})
    described = [(row, describe(row, names)) for row in listed]
    return _render(request, "webhooks.html", viewer, status=status, listed=described, form=form, notice=notice)


def _render(request: web.Request, template: str, viewer: Viewer, *, status: int = 200, **context: Any) -> web.Response:
    common = {"viewer": viewer, "kinds": KIND_NAMES, "sides": SIDE_NAMES, "ages": AGES, "notice": None}
    return aiohttp_jinja2.render_template(template, request, {**common, **context}, status=status)


def setup(app: web.Application) -> None:
    """Add the routes."""
    app.router.add_get("/webhooks", show)
    app.router.add_post("/webhooks", add)
    app.router.add_get(r"/webhooks/{id:\d+}", edit)
    app.router.add_post(r"/webhooks/{id:\d+}", change)
    app.router.add_post(r"/webhooks/{id:\d+}/{action:pause|resume|delete|test|secret}", act)
