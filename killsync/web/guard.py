"""Before every route: who asks, whether they may (`killsync.access.decision`), and how one who may not is told.

A route says what it needs where it is registered: `add_get("/names", needs(Need.READ, names))`. One that says nothing is
refused. Who may not read learns nothing but that: the answer is the same for what is there and for what is not, and it is given
before anything is looked up.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import wraps
from typing import Any, TypeVar
from urllib.parse import unquote

import msgspec
from aiohttp import web

from killsync.access import keys, members
from killsync.access.decision import Need, Refusal, decide
from killsync.web import files, sessions
from killsync.web.render import HERE, rendered, wants_page
from killsync.web.security import SETTINGS, Handler, check_rate, client_ip, is_this_host, is_within
from killsync.web.sessions import Caller
from models.threads import in_db

R = TypeVar("R", bound=web.StreamResponse)

#: Names of a query under which programs send keys to other servers.
_KEY_NAMES = frozenset(("access_key", "accesskey", "access_token", "api_key", "apikey", "authorization", "bearer"))
WRONG_KEY = "this access key is not valid: it was revoked, or is none"
KEY_IN_ADDRESS = (
    "a key in an address is refused, since addresses are logged and shared: "
    "revoke this one, and send another as Authorization: Bearer"
)
_VARY = ("Cookie", "Authorization", "Accept")


def needs(
    need: Need, handler: Callable[[web.Request], Awaitable[R]], *, why: str = "", handshake: Need | None = None
) -> Callable[[web.Request], Awaitable[R]]:
    """*handler*, and in one word what it needs of who asks.

    Args:
        need: the word.
        why: what a visitor is told on the page that asks for a login, beside that.
        handshake: what opening a WebSocket there needs, where that is something else.
    """

    @wraps(handler)
    async def said(request: web.Request) -> R:
        return await handler(request)

    said.need, said.why, said.handshake = need, why, handshake  # type: ignore[attr-defined]
    return said


def is_asked(request: web.Request, need: Need | None) -> bool:
    """Whether *need* is one that not everybody has here."""
    return request.app[SETTINGS].members_only or need not in (Need.OPEN, Need.READ, Need.ACCOUNT)


def need_of(route: web.AbstractRoute) -> Need | None:
    """What a route needs; None where it says nothing."""
    need: Need | None = getattr(route.handler, "need", None)
    return need


@web.middleware
async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let through who may, and tell the others."""
    settings, match = request.app[SETTINGS], request.match_info
    # What is not there is as closed as what is: nobody learns which is which.
    need = Need.READ if match.http_exception is not None else need_of(match.route)
    handshake: Need | None = getattr(match.handler, "handshake", None)
    if handshake is not None and request.headers.get("Upgrade", "").lower() == "websocket":
        need = handshake
    if need is Need.OPEN:
        return await handler(request)
    if _has_key_in_address(request):
        return await _answer(request, 401, KEY_IN_ADDRESS, Refusal.LOGIN)
    caller = await _caller(request, need)
    if caller.is_wrong_key:
        return await _answer(request, 401, WRONG_KEY, Refusal.LOGIN)
    sessions.check_key_rate(request, caller)
    asker = replace(caller.asker, is_operator=_is_host_of(request, need))
    refusal = decide(need, asker, members_only=settings.members_only)
    if refusal is None:
        return await handler(request)
    status = 401 if refusal is Refusal.LOGIN and settings.members_only else 403
    return await _answer(request, status, refusal.value, refusal)


async def refusal_of(request: web.Request, need: Need, seconds: float = 0.0) -> Refusal | None:
    """Why the caller of a WebSocket, as they were at most *seconds* ago, may not have what needs *need*.

    Raises:
        web.HTTPTooManyRequests: too many wrong keys.
    """
    if not is_asked(request, need) and sessions.key_of(request) is None:
        return None
    return _verdict(request, need, await sessions.caller_within(request, seconds))


async def ending_of(request: web.Request, need: Need, seconds: float) -> Refusal | None:
    """Why what goes on for long has to end now: who asked may not have it any more."""
    if not is_asked(request, need) and sessions.key_of(request) is None:
        return None
    return _verdict(request, need, await sessions.caller_lately(request, seconds))


def _verdict(request: web.Request, need: Need, caller: Caller) -> Refusal | None:
    if caller.is_wrong_key:
        return Refusal.LOGIN
    return decide(need, caller.asker, members_only=request.app[SETTINGS].members_only)


async def _caller(request: web.Request, need: Need | None) -> Caller:
    """Who asks. Where everybody may, nobody has to be looked up; a key that is sent has to be right all the same."""
    if (not is_asked(request, need) or _is_host_of(request, need)) and sessions.key_of(request) is None:
        return sessions.VISITOR
    return await sessions.caller_of(request)


def _is_host_of(request: web.Request, need: Need | None) -> bool:
    """Whether a program of who runs the server asks for what is meant for it."""
    is_allowed = is_this_host(request) or is_within(client_ip(request), request.app[SETTINGS].metrics_allowed)
    return need is Need.METRICS and is_allowed


def _has_key_in_address(request: web.Request) -> bool:
    return keys.looks_like_one(unquote(request.path_qs)) or any(name.lower() in _KEY_NAMES for name in request.query)


async def _answer(request: web.Request, status: int, text: str, refusal: Refusal) -> web.StreamResponse:
    """Tell who may not: a browser by a page, a program by JSON.

    Raises:
        web.HTTPTooManyRequests: it asks in vain too often.
    """
    check_rate(request, "page")
    is_login = refusal is Refusal.LOGIN
    if wants_page(request):
        template = "left.html" if refusal is Refusal.LEFT else "login.html"
        context: dict[str, Any] = {"viewer": sessions.known_viewer(request), "whom": ""}
        if refusal is Refusal.LEFT:
            context["whom"] = await whom_to_ask(request)
        else:
            context |= {"text": _page_text(request, text, refusal, status), "offers_login": is_login}
        if text == KEY_IN_ADDRESS:
            context["login"] = "/auth/login"
        response = rendered(request, template, context, status)
    else:
        code = "UNAUTHENTICATED" if is_login else "FORBIDDEN"
        body = {"errors": [{"message": text, "extensions": {"code": code}}]}
        response = web.Response(body=msgspec.json.encode(body), content_type="application/json", status=status)
    if status == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="Killsync"'
    response.headers["Cache-Control"] = "no-store"
    response.headers["Vary"] = ", ".join(_VARY)
    return response


def _page_text(request: web.Request, text: str, refusal: Refusal, status: int) -> str:
    why: str = getattr(request.match_info.handler, "why", "")
    if text == refusal.value and refusal is Refusal.LOGIN:
        return why if status != 401 else ""
    return f"{text[0].upper()}{text[1:]}."


async def whom_to_ask(request: web.Request) -> str:
    """A sentence that says whom to ask about one's access."""
    names = await in_db(members.admin_names, request.app[SETTINGS])
    if not names:
        return "Ask whoever runs this Killsync."
    return f"Ask {' or '.join(names)} in EVE: they run this Killsync."


async def robots(request: web.Request) -> web.Response:
    """GET /robots.txt: what search engines may look at."""
    private = (
        ("/",)
        if request.app[SETTINGS].members_only
        else ("/auth/", "/me", "/webhooks", "/trackers", "/filter", "/ops", "/graphql", "/search")
    )
    lines = ["User-agent: *", *(f"Disallow: {path}" for path in private)]
    return web.Response(text="\n".join(lines) + "\n")


async def _keep_private(request: web.Request, response: web.StreamResponse) -> None:
    """What members alone may read is kept by their own browser alone, and by no search engine."""
    if files.is_file(request):
        return
    if request.app[SETTINGS].members_only:
        response.headers.setdefault("X-Robots-Tag", "noindex, nofollow, noarchive")
        cached = response.headers.get("Cache-Control", "").lower()
        if "no-store" not in cached and "private" not in cached:
            response.headers["Cache-Control"] = "private, no-cache"
    elif sessions.key_of(request) is None:
        return
    varies = [each.strip() for each in response.headers.get("Vary", "").split(",") if each.strip()]
    missing = [name for name in _VARY if name.lower() not in (each.lower() for each in varies)]
    if "*" not in varies:
        response.headers["Vary"] = ", ".join([*varies, *missing])


def setup(app: web.Application) -> None:
    """Guard every route of *app*."""
    app.middlewares.append(guard)
    app.on_response_prepare.append(_keep_private)
    app.router.add_get("/robots.txt", needs(Need.OPEN, robots))
    for prefix, folder in zip(files.PREFIXES, (HERE / "static", HERE / "assets" / "lib"), strict=True):
        app.router.add_get(f"{prefix}{{name:.+}}", needs(Need.OPEN, files.serve(folder)))
