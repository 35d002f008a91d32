"""The pages: the live feed of killmails, the caller's characters, and the operator's dashboard."""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp_jinja2
import jinja2
from aiohttp import web

from actors import overview
from models import feed, people
from web import sessions
from web.db import read_db
from web.security import SETTINGS

HERE = Path(__file__).resolve().parent
FEED_SIZE = 50


async def front(request: web.Request) -> web.Response:
    """GET /: the newest killmails, and the caller's characters when logged in."""
    viewer = await sessions.viewer_of(request)
    page = await read_db(feed.page, feed.Filter(), FEED_SIZE, None, items=False)
    users = await read_db(people.user_trees, viewer.user_ids) if viewer else []
    return aiohttp_jinja2.render_template(
        "front.html", request, {"killmails": page.killmails, "users": users, "viewer": viewer}
    )


async def ops(request: web.Request) -> web.Response:
    """GET /ops: how everything stands, for admins."""
    viewer = await sessions.viewer_of(request)
    if viewer is None or not viewer.is_admin:
        context = {
            "title": "For operators",
            "text": "Log in with a character of ADMIN_CHARACTER_IDS to see how queues, budgets and syncs stand.",
            "viewer": viewer,
        }
        return aiohttp_jinja2.render_template("message.html", request, context, status=403)
    data = await asyncio.get_running_loop().run_in_executor(None, overview.gather)
    return aiohttp_jinja2.render_template("ops.html", request, {"data": data, "viewer": viewer})


async def common(request: web.Request) -> dict[str, Any]:
    """What every template may use."""
    return {"eve_images": request.app[SETTINGS].eve_images, "path": request.path}


def moment(value: datetime) -> str:
    """A moment as players write it: EVE time is UTC."""
    return value.strftime("%Y-%m-%d %H:%M:%S")


def setup(app: web.Application) -> None:
    """Add routes, templates and static files."""
    environment = aiohttp_jinja2.setup(
        app,
        loader=jinja2.FileSystemLoader(str(HERE / "templates")),
        context_processors=[common],
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["moment"] = moment
    app.router.add_get("/", front)
    app.router.add_get("/ops", ops)
    app.router.add_static("/static", HERE / "static", append_version=True)
    libraries = HERE / "assets" / "lib"
    libraries.mkdir(parents=True, exist_ok=True)
    app.router.add_static("/lib", libraries)
