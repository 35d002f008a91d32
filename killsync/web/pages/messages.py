"""A page with one message and a way on: for logins that did not succeed, and for whatever a browser asks for in vain."""

from __future__ import annotations

import asyncio
import contextlib

from aiohttp import web

from killsync.web import files, render, sessions
from killsync.web.render import wants_page
from killsync.web.security import Handler, failure

#: A page that takes longer than this is given up, and the statement behind it ended, seconds: a locked table or a busy server
#: shall not leave a reader before an empty window.
PAGE_SECONDS = 10.0
#: Seconds that an error page may take to find out who reads it.
VIEWER_SECONDS = 1.0
#: What has limits of its own, or goes on for long on purpose.
_UNLIMITED = (
    "/auth/", "/graphql", "/healthz", "/readyz", "/metrics", "/events", "/api/", "/ephemeral/", *files.PREFIXES,
)  # fmt: skip
SLOW = "The database takes longer than a page may. Nothing is lost: load this page again in a moment."

_TITLES = {
    400: "This address is not valid",
    403: "Not for you",
    404: "Nothing is here",
    405: "This cannot be done here",
    413: "That was too much",
    429: "Too many requests",
    503: "Back in a moment",
}
_TEXTS = {
    404: "There is no such page, or nothing of it is stored yet.",
    429: "You asked for a lot in a short time. Wait a moment, then load the page again.",
}


def message_page(
    request: web.Request,
    status: int,
    title: str,
    text: str,
    *,
    login: bool = True,
    action: tuple[str, str] | None = None,
) -> web.Response:
    """One message as a page of *status*; *login*: it offers a login; *action*: address and text of something else to do."""
    viewer = sessions.known_viewer(request)
    # Who has a session that could not be looked up is not shown as logged out.
    is_unsure = viewer is None and not sessions.is_known(request) and sessions.has_cookie(request, sessions.COOKIE)
    context = {
        "title": title, "text": text, "offers_login": login, "viewer": viewer, "is_unsure": is_unsure, "action": action,
    }  # fmt: skip
    return render.rendered(request, "message.html", context, status)


@web.middleware
async def as_page(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give a browser a page where a program gets a line of text: for refusals, a database that is away, and our own faults."""
    try:
        return await _limited(request, handler)
    except web.HTTPException as error:
        if error.status < 400 or not wants_page(request):
            raise
        text = _TEXTS.get(error.status) or (error.text or "").strip()
        await _look_up_viewer(request)
        answer = message_page(request, error.status, _TITLES.get(error.status, error.reason), text, login=False)
        for name in ("Retry-After", "Allow"):
            if name in error.headers:
                answer.headers[name] = error.headers[name]
        return answer
    except ConnectionError:
        raise
    except Exception as error:
        if not wants_page(request):
            raise
        plain = failure(error)
        if plain.status != 503:
            await _look_up_viewer(request)
        title = "Back in a moment" if plain.status == 503 else "Something went wrong"
        answer = message_page(request, plain.status, title, (plain.text or "").strip(), login=False)
        if "Retry-After" in plain.headers:
            answer.headers["Retry-After"] = plain.headers["Retry-After"]
        return answer


async def _limited(request: web.Request, handler: Handler) -> web.StreamResponse:
    """What *handler* answers, within PAGE_SECONDS where it reads a page.

    Raises:
        web.HTTPServiceUnavailable: it took longer.
    """
    if request.method not in ("GET", "HEAD") or request.path.startswith(_UNLIMITED):
        return await handler(request)
    try:
        async with asyncio.timeout(PAGE_SECONDS) as limit:
            return await handler(request)
    except TimeoutError:
        if not limit.expired():
            raise
        raise web.HTTPServiceUnavailable(text=f"{SLOW}\n", headers={"Retry-After": "5"}) from None


async def _look_up_viewer(request: web.Request) -> None:
    """Find out who reads an error page, so that it looks as logged in as they are; a database that is away tells nobody."""
    with contextlib.suppress(Exception):
        async with asyncio.timeout(VIEWER_SECONDS):
            await sessions.viewer_of(request)
