"""How a page is made of a template: what every template may use, the filters, and the headers of a page."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp_jinja2
import jinja2
import msgspec
from aiohttp import web

from killsync.killmails.amounts import isk
from killsync.killmails.cursors import cursor_of
from killsync.names.entities import ENTITY_KINDS
from killsync.web import sessions, space
from killsync.web.security import LIMITER, SETTINGS, client_ip, networks_of, too_often
from killsync.web.turns import Turns
from models import utcnow
from models.work import SLICE_SECONDS

HERE = Path(__file__).resolve().parent
#: Pages below this size are sent as they are: packing them would cost more than it saves, bytes.
LEAST_PACKED = 4096
#: Who has no more than nothing left waits: a page costs at least so much of a core, seconds.
LEAST_SECONDS = 0.001
_RENDERING = web.AppKey("rendering", Turns)

#: Words of templates and addresses: how an id without a name is called, and where its page is, if it has one.
NOUNS = {word: kind.noun for word, kind in ENTITY_KINDS.items()} | {"type": "Type", "faction": "Faction"}
PATHS = {word: f"/{kind.plural}/" for word, kind in ENTITY_KINDS.items()} | {"type": f"/{ENTITY_KINDS['ship'].plural}/"}
#: CCP's image server: path and variation by word (https://developers.eveonline.com/docs/services/image-server/).
IMAGES = {
    "character": ("characters", "portrait"), "corporation": ("corporations", "logo"), "alliance": ("alliances", "logo"),
    "faction": ("corporations", "logo"), "ship": ("types", "render"), "type": ("types", "icon"), "bpc": ("types", "bpc"),
}  # fmt: skip
#: The server answers 400 for a variation that a type does not have, and says nowhere which it has: a page's script tries these
#: in turn. Blueprints have no icon, relics neither, and SKINs have no picture at all.
IMAGE_FALLBACKS = {"ship": "icon bp", "type": "bp relic render", "bpc": "bp icon"}


async def page(request: web.Request, template: str, status: int = 200, **context: Any) -> web.Response:
    """The page of *template* for whoever asks. It shows what is theirs, so nobody but their browser may keep it."""
    context.setdefault("viewer", await sessions.viewer_of(request))
    response = await _rendered_in_turn(request, template, context, status)
    response.headers["Cache-Control"] = "private, no-cache"
    response.headers["Vary"] = "Cookie, Accept"
    if isinstance(response.body, bytes) and len(response.body) >= LEAST_PACKED:
        response.enable_compression()
    return response


def rendered(request: web.Request, template: str, context: Mapping[str, Any], status: int = 200) -> web.Response:
    """*template* with *context* and what every template may use."""
    text = _template(request, template).render({**_common(request), **context})
    return web.Response(text=text, content_type="text/html", charset="utf-8", status=status)


async def _rendered_in_turn(
    request: web.Request, template: str, context: Mapping[str, Any], status: int
) -> web.Response:
    """The same for a page that may be long: one at a time, callers in turn, and others go on meanwhile.

    Raises:
        web.HTTPTooManyRequests: the caller's pages took too much of this process lately.
        Busy: too many wait already.
    """
    limiter, networks = request.app[LIMITER], list(networks_of(client_ip(request)))
    async with request.app[_RENDERING].turn(networks[0][0]):
        for network, scale in networks:
            if wait := limiter.wait("rendering", network, cost=LEAST_SECONDS, scale=scale):
                raise too_often(wait)
        pieces, spent = [], 0.0
        began, used = time.monotonic(), time.thread_time()
        for piece in _template(request, template).generate({**_common(request), **context}):
            pieces.append(piece)
            if time.monotonic() - began > SLICE_SECONDS:
                spent += time.thread_time() - used
                await asyncio.sleep(0)
                began, used = time.monotonic(), time.thread_time()
        text = "".join(pieces)
        spent += time.thread_time() - used
        for network, scale in networks:
            limiter.charge("rendering", network, spent, scale=scale)
    return web.Response(text=text, content_type="text/html", charset="utf-8", status=status)


def _template(request: web.Request, name: str) -> jinja2.Template:
    # Not by aiohttp_jinja2's own way: aiohttp warns of the key under which its context processors keep what they bring.
    return aiohttp_jinja2.get_env(request.app).get_template(name)


def json(data: Any) -> web.Response:
    """Data for a page's script."""
    headers = {"Cache-Control": "private, no-cache", "Vary": "Cookie, Accept"}
    return web.Response(body=msgspec.json.encode(data), content_type="application/json", headers=headers)


def wants_page(request: web.Request) -> bool:
    """Whether the caller is a browser that shows a page, and no script or program."""
    return "text/html" in request.headers.get("Accept", "")


def _common(request: web.Request) -> dict[str, Any]:
    next_page = "" if request.path == "/" else "?next=" + quote(request.path_qs, safe="")
    return {
        "eve_images": request.app[SETTINGS].eve_images,
        "path": request.path,
        "login": f"/auth/login{next_page}",
        "is_closed": request.app[SETTINGS].members_only,
    }


def moment(value: datetime) -> str:
    """A moment as players write it: EVE time is UTC."""
    return value.strftime("%Y-%m-%d %H:%M:%S")


def day_heading(value: datetime) -> str:
    """The day of a moment, in EVE time, as the heading of a list."""
    return value.strftime("%Y-%m-%d, %A")


def ago(moment: datetime, now: datetime | None = None) -> str:
    """How long before *now* it was, in words; the larger unit alone. The list's script says it in the same words."""
    seconds = max(0.0, ((now or utcnow()) - moment).total_seconds())
    for size, word in ((365 * 86_400, "year"), (86_400, "day"), (3_600, "hour"), (60, "min")):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {word}{'' if count == 1 or word == 'min' else 's'} ago"
    return "just now"


def number(value: float) -> str:
    """A figure of any size, with its thousands apart."""
    return f"{value:,}"


def amount(value: float) -> str:
    """A measured amount: thousands apart, and two places after the point where there are any."""
    return f"{value:,.2f}".rstrip("0").rstrip(".") if abs(value) < 1e15 else f"{value:.3g}"


def json_text(value: Any) -> str:
    """JSON for an attribute; the template escapes it."""
    return msgspec.json.encode(value).decode()


def image(word: str, entity_id: int, size: int) -> str:
    """The address of a picture at CCP's image server; *size* is a power of two from 32."""
    path, variation = IMAGES[word]
    return f"https://images.evetech.net/{path}/{entity_id}/{variation}?size={size}"


def setup(app: web.Application) -> None:
    """Add templates."""
    environment = aiohttp_jinja2.setup(
        app,
        loader=jinja2.FileSystemLoader(str(HERE / "templates")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        moment=moment,
        number=number,
        json_text=json_text,
        cursor=cursor_of,
        amount=amount,
        isk=isk,
        ago=ago,
        day_heading=day_heading,
    )
    environment.globals.update(
        image=image, NOUNS=NOUNS, PATHS=PATHS, IMAGE_FALLBACKS=IMAGE_FALLBACKS, shown=space.shown
    )
    app[_RENDERING] = Turns(1, 1)
