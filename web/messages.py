"""A page with one message and a way on: for logins that did not succeed."""

from __future__ import annotations

import aiohttp_jinja2
from aiohttp import web


def message_page(request: web.Request, status: int, title: str, text: str) -> web.Response:
    """One message as a page of *status*."""
    return aiohttp_jinja2.render_template("message.html", request, {"title": title, "text": text}, status=status)
