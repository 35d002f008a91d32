"""A page with one message and a way on: for logins that did not succeed, and for whatever a browser asks for in vain."""

from __future__ import annotations

import aiohttp_jinja2
from aiohttp import web

from killsync.web import sessions
from killsync.web.render import wants_page
from killsync.web.security import Handler, failure

_TITLES = {
    400: "This address is not valid",
    403: "Not for you",
    404: "Nothing is here",
    405: "This cannot be done here",
    413: "That was too much",
    429: "Too many requests",
}
_TEXTS = {
    404: "There is no such page, or nothing of it is stored yet.",
    429: "You asked for a lot in a short time. Wait a moment, then load the page again.",
}


def message_page(request: web.Request, status: int, title: str, text: str, *, login: bool = True) -> web.Response:
    """One message as a page of *status*; *login*: it offers a login."""
    viewer = sessions.known_viewer(request)
    context = {"title": title, "text": text, "offers_login": login, "viewer": viewer}
    return aiohttp_jinja2.render_template("message.html", request, context, status=status)


@web.middleware
async def as_page(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give a browser a page where a program gets a line of text: for refusals, a database that is away, and our own faults."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < 400 or not wants_page(request):
            raise
        text = _TEXTS.get(error.status) or (error.text or "").strip()
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
        title = "Back in a moment" if plain.status == 503 else "Something went wrong"
        answer = message_page(request, plain.status, title, (plain.text or "").strip(), login=False)
        if "Retry-After" in plain.headers:
            answer.headers["Retry-After"] = plain.headers["Retry-After"]
        return answer
