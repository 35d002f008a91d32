"""Somebody who is logged in logs in as a character of another account: which of the two do they mean?"""

from __future__ import annotations

import time

from aiohttp import web

from killsync.accounts import accounts
from killsync.accounts.viewer import Viewer
from killsync.logging import get_logger
from killsync.sso.errors import VaultError
from killsync.sso.vault import Vault
from killsync.web import forms, render, sessions
from killsync.web.security import SETTINGS, check_rate, same_origin
from models.threads import in_db

log = get_logger("login")

#: What the page that asks carries, encrypted: the session's digest, the character that logged in, and when, seconds.
_CHOICE = "choice "


def ask(request: web.Request, viewer: Viewer, user_id: int, name: str) -> web.Response:
    """Somebody who is logged in has logged in as a character of another account: the page on which they say what they want."""
    names = ", ".join(user.character_name for user in viewer.users)
    proof = Vault(request.app[SETTINGS].secret_keys).encrypt(
        f"{_CHOICE}{sessions.session_of(request)} {user_id} {int(time.time())}"
    )
    context = {"name": name, "names": names, "proof": proof, "viewer": viewer, "is_unsure": False}
    return render.rendered(request, "which_account.html", context)


async def choose(request: web.Request) -> web.StreamResponse:
    """POST /auth/choose with `proof` and `choice`: `switch` to the account of who has just logged in, or `add` it to this one."""
    check_rate(request, "callback")
    viewer = await sessions.viewer_of(request)
    if viewer is None or not same_origin(request):
        raise web.HTTPForbidden(text="Log in on this site first.\n")
    form = await forms.read(request)
    try:
        text = Vault(request.app[SETTINGS].secret_keys).decrypt(form.get("proof", "")[:1_000])
        session, number, moment = text.removeprefix(_CHOICE).split(" ")
        user_id, age = int(number), time.time() - int(moment)
        is_good = text.startswith(_CHOICE) and session == sessions.session_of(request)
    except (VaultError, ValueError):
        is_good, user_id, age = False, 0, 0.0
    if not is_good or age > accounts.ATTEMPT_LIFE.total_seconds():
        raise web.HTTPBadRequest(text="This choice belongs to another login, or is too old. Please log in again.\n")
    response = web.HTTPSeeOther("/me")
    if form.get("choice") == "add":
        await in_db(accounts.join, user_id, viewer.account_id)
        await sessions.begin(request, response, viewer.account_id, viewer.acting.id if viewer.acting else user_id)
        log.info("joined an account", user_id=user_id)
    elif form.get("choice") == "switch":
        account_id = await in_db(accounts.account_of, user_id)
        if account_id is None:
            raise web.HTTPBadRequest(text="This character is here no more. Please log in again.\n")
        await sessions.begin(request, response, account_id, user_id)
    else:
        raise web.HTTPBadRequest(text="choice is switch or add.\n")
    return response
