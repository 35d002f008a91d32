"""Logging in and out: /auth/login, /auth/callback, /auth/logout, and deleting an account."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from urllib.parse import urlencode

from aiohttp import web

from killsync.access import admission, audit
from killsync.access.admission import Admission
from killsync.access.decision import Need
from killsync.accounts import accounts, powers
from killsync.accounts.accounts import NewLogin
from killsync.logging import get_logger
from killsync.settings import CORPORATION_SCOPE, KILLMAIL_SCOPE
from killsync.sso import login
from killsync.sso.errors import BadToken, LoginRefused, SsoAway, SsoError, VaultError
from killsync.sso.login import Tokens
from killsync.sso.metadata import SsoAnswer
from killsync.sso.vault import Vault
from killsync.web import forms, sessions, which_account
from killsync.web.guard import needs, whom_to_ask
from killsync.web.pages.messages import message_page
from killsync.web.security import SETTINGS, check_rate, client_ip, same_origin
from models.threads import in_db, in_service

log = get_logger("login")

#: Called with (user id) after a login; starts the first sync.
OnLogin = Callable[[int], Awaitable[None]]
ON_LOGIN: web.AppKey[OnLogin] = web.AppKey("on_login")

#: What the link to add a character carries, encrypted, before the session's digest.
_JOIN = "join "
BROWSER_COOKIE = "killsync_login"
#: Seconds that giving back the access of a refused character may take.
REVOKE_SECONDS = 5.0


async def begin(request: web.Request) -> web.StreamResponse:
    """GET /auth/login: send the browser to the SSO. `?scopes=corporation` asks for corporation killmails too."""
    check_rate(request, "login")
    settings = request.app[SETTINGS]
    scopes: tuple[str, ...] = (KILLMAIL_SCOPE,)
    if request.query.get("scopes") == "corporation":
        scopes += (CORPORATION_SCOPE,)
    account_id = await _joins(request)
    state, verifier = login.new_secret(), login.new_secret()
    browser = sessions.read_cookie(request, BROWSER_COOKIE) or login.new_secret()
    try:
        address = await login.authorize_url(settings, state, verifier, scopes)
    except (SsoAway, SsoAnswer) as error:
        log.warning("login not possible", reason=str(error))
        return message_page(request, 503, "EVE's login does not answer", "Please try again in a few minutes.")
    await in_db(
        accounts.begin_attempt,
        login.digest(state),
        login.digest(browser),
        Vault(settings.secret_keys).encrypt(verifier),
        account_id,
        local_path(request.query.get("next", "/")),
        " ".join(scopes),
    )
    response = web.HTTPFound(address)
    sessions.write_cookie(request, response, BROWSER_COOKIE, browser, int(accounts.ATTEMPT_LIFE.total_seconds()))
    return response


async def add_character(request: web.Request) -> web.StreamResponse:
    """GET /auth/add: what it means to add a character to one's account, and the way to do it.

    The way is a link that works in this session alone: nobody else can have a character added by sending somebody a link.
    """
    check_rate(request, "page")
    viewer = await sessions.viewer_of(request)
    session = sessions.session_of(request)
    if viewer is None or session is None:
        return message_page(request, 403, "Add a character", "Log in first, with a character that you have here.")
    names = ", ".join(user.character_name for user in viewer.users)
    text = (
        f"You are logged in as the account of {names}. The character that you choose at EVE joins it: whoever logs in with "
        "one of them sees all of them. It cannot disconnect or separate those that were here before it; they can separate "
        "it again."
    )
    join = Vault(request.app[SETTINGS].secret_keys).encrypt(f"{_JOIN}{session}")
    action = (f"/auth/login?{urlencode({'join': join, 'next': '/me'})}", "Add a character to this account")
    return message_page(request, 200, "Add a character", text, login=False, action=action)


async def _joins(request: web.Request) -> int | None:
    """The account that the character of this login is to join, by the link of `add_character`; None: no account.

    Raises:
        web.HTTPBadRequest: the link belongs to another session, or to one that has ended.
    """
    if "join" not in request.query:
        return None
    viewer = await sessions.viewer_of(request)
    try:
        wanted = Vault(request.app[SETTINGS].secret_keys).decrypt(request.query["join"][:1_000])
    except (VaultError, ValueError):
        wanted = ""
    if viewer is None or wanted != f"{_JOIN}{sessions.session_of(request)}":
        raise web.HTTPBadRequest(text="This link belongs to another login. Begin at “Add a character” once more.\n")
    return viewer.account_id


async def callback(request: web.Request) -> web.StreamResponse:
    """GET /auth/callback: finish the login that this browser began."""
    check_rate(request, "callback")
    settings = request.app[SETTINGS]
    query = request.query
    browser = sessions.read_cookie(request, BROWSER_COOKIE)
    attempt = None
    if browser and query.get("state"):
        attempt = await in_db(accounts.end_attempt, login.digest(query["state"]), login.digest(browser))
    if attempt is None:
        text = "It was begun in another browser, more than ten minutes ago, or has been used. Please log in again."
        return message_page(request, 400, "This login is not valid", text)
    if attempt.account_id is not None:
        # It joins the account of the session that began it, and of no other: a logout ends that.
        viewer = await sessions.viewer_of(request)
        if viewer is None or viewer.account_id != attempt.account_id:
            text = "You have logged out since you began to add a character. Nothing was changed."
            return message_page(request, 400, "This login is not valid", text)
    if query.get("error"):
        return message_page(request, 403, "Login cancelled", "Killsync was not given access. Nothing was stored.")
    if not query.get("code"):
        return message_page(request, 400, "This login is not valid", "EVE's login sent no code. Please log in again.")
    vault = Vault(settings.secret_keys)
    try:
        tokens = await login.exchange(settings, query["code"], vault.decrypt(attempt.verifier))
    except LoginRefused as error:
        return message_page(request, 400, "The login did not succeed", str(error))
    except SsoAway as error:
        log.warning("login not completed", reason=str(error))
        return message_page(request, 503, "EVE's login does not answer", "Please try again in a few minutes.")
    except BadToken as error:
        log.warning("login with a bad token", reason=str(error))
        return message_page(request, 502, "The login did not succeed", "EVE's answer could not be verified.")
    claims = tokens.claims
    if KILLMAIL_SCOPE not in claims.scopes:
        text = (
            f"EVE's login gave no access to your killmails (scope {KILLMAIL_SCOPE}). Please log in again; should it happen "
            "again, the operator has to allow this scope for the application at developers.eveonline.com."
        )
        return message_page(request, 403, "A permission is missing", text)
    admitted = await in_service(admission.admit, claims.character_id)
    if admitted is not Admission.ALLOWED:
        return await _refuse(request, tokens, admitted)
    viewer = await sessions.viewer_of(request)
    user_id, account_id = await in_db(
        _log_in,
        client_ip(request),
        NewLogin(
            claims.character_id, claims.name, claims.owner, " ".join(claims.scopes), vault.encrypt(tokens.access_token),
            vault.encrypt(tokens.refresh_token), claims.expires_at,
        ),
        attempt.account_id,
    )  # fmt: skip
    log.info("logged in", user_id=user_id, character_id=claims.character_id)
    if ON_LOGIN in request.app:
        await request.app[ON_LOGIN](user_id)
    response: web.StreamResponse
    if viewer is not None and attempt.account_id is None and viewer.account_id != account_id:
        response = which_account.ask(request, viewer, user_id, claims.name)
    else:
        response = web.HTTPFound(attempt.return_to)
        # Who adds a character stays who they are: the one that came has less to say than who let it in.
        joins = viewer is not None and attempt.account_id is not None
        acting = viewer.acting.id if joins and viewer is not None and viewer.acting is not None else user_id
        await sessions.begin(request, response, account_id, acting)
    sessions.drop_cookie(request, response, BROWSER_COOKIE)
    return response


def _log_in(address: str, new: NewLogin, account_id: int | None) -> tuple[int, int]:
    user_id, account_id = accounts.log_in(new, account_id)
    audit.record(
        audit.LOGIN, subject=new.character_name, account_id=account_id, character_id=new.character_id, address=address,
    )  # fmt: skip
    return user_id, account_id


async def _refuse(request: web.Request, tokens: Tokens, admitted: Admission) -> web.StreamResponse:
    """Tell a character that may not log in; its access is given back to EVE at once, and nothing of it is kept."""
    claims = tokens.claims
    with contextlib.suppress(SsoError, SsoAnswer, TimeoutError):
        await asyncio.wait_for(login.revoke(request.app[SETTINGS], tokens.refresh_token), REVOKE_SECONDS)
    if admitted is Admission.UNKNOWN:
        text = (
            f"Only some corporations, alliances and pilots may log in here, and EVE's API did not say now where {claims.name} "
            "belongs. Please try again in a few minutes."
        )
        return message_page(request, 503, "Your corporation could not be looked up", text)
    await in_db(_record_refusal, claims.name, claims.character_id, client_ip(request))
    log.info("login refused", character_id=claims.character_id)
    text = (
        f"Only some corporations, alliances and pilots may log in here, and {claims.name} is not among them. Killsync gave its "
        "access back and kept no killmail list. If you joined one of them just now, try again in an hour: EVE's API tells of it "
        f"late. {await whom_to_ask(request)}"
    )
    return message_page(request, 403, f"{claims.name} may not log in here", text)


def _record_refusal(name: str, character_id: int, address: str) -> None:
    audit.record(audit.LOGIN_REFUSED, subject=name, character_id=character_id, address=address)


async def log_out(request: web.Request) -> web.StreamResponse:
    """POST /auth/logout: end this browser's session."""
    if not same_origin(request):
        raise web.HTTPForbidden(text="This request came from another site.\n")
    check_rate(request, "logout")
    response = web.HTTPSeeOther("/")
    await sessions.end(request, response)
    return response


async def delete_account(request: web.Request) -> web.StreamResponse:
    """POST /auth/delete-account with `confirm=delete`: revoke all tokens and delete what belongs to the person."""
    from killsync.sso.refresh import revoke

    viewer = await sessions.account_of(request)
    if not same_origin(request) or viewer is None:
        raise web.HTTPForbidden(text="Log in on this site first.\n")
    check_rate(request, "mutation", viewer.account_id)
    if not powers.may_delete(viewer.acting, viewer.users):
        raise web.HTTPForbidden(text="Only the character that has been in this account for longest may delete it.\n")
    if (await forms.read(request)).get("confirm") != "delete":
        raise web.HTTPBadRequest(text="Send confirm=delete to delete the account.\n")
    for user_id in viewer.user_ids:
        await in_service(revoke, user_id)
    await in_db(_delete_account, viewer, client_ip(request))
    log.info("account deleted", account_id=viewer.account_id)
    response = web.HTTPSeeOther("/")
    await sessions.end(request, response)
    return response


def _delete_account(viewer: sessions.Viewer, address: str) -> None:
    accounts.delete_account(viewer.account_id)
    audit.record(
        audit.ACCOUNT_DELETED, subject=viewer.users[0].character_name, account_id=viewer.account_id,
        character_id=viewer.users[0].character_id, address=address,
    )  # fmt: skip


def local_path(target: str) -> str:
    """*target* if it is a path of this site, else `/`: a login link must not lead elsewhere."""
    is_local = target.startswith("/") and not target.startswith(("//", "/\\")) and len(target) <= 500
    return target if is_local and all(32 < ord(character) < 127 for character in target) and "\\" not in target else "/"


def setup(app: web.Application, on_login: OnLogin | None = None) -> None:
    """Add the routes."""
    sessions.setup(app)
    if on_login is not None:
        app[ON_LOGIN] = on_login
    app.router.add_get("/auth/login", needs(Need.OPEN, begin))
    app.router.add_get("/auth/add", needs(Need.PERSON, add_character))
    app.router.add_get("/auth/callback", needs(Need.OPEN, callback))
    app.router.add_post("/auth/choose", needs(Need.PERSON, which_account.choose))
    app.router.add_post("/auth/logout", needs(Need.OPEN, log_out))
    app.router.add_post("/auth/delete-account", needs(Need.ACCOUNT, delete_account))
