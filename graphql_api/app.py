"""The web server's application: walls, login, events, GraphQL, pages, health, put together."""

from __future__ import annotations

import asyncio

from aiohttp import web

import wire
from actors import broker
from actors.sync import request_sync
from graphql_api import http, websocket
from graphql_api.engine import Api
from settings import Settings
from web import auth, events, health, metrics, ops, pages, security, webhooks
from web.db import in_db


async def create_app(settings: Settings) -> web.Application:
    """The application of *settings*; the models are connected already."""
    app = web.Application(client_max_size=http.MOST_BODY)
    security.setup(app, settings)
    events.setup(app, settings)
    auth.setup(app, _sync_at_login)
    health.setup(app, broker.ping)
    metrics.setup(app)
    pages.setup(app)
    ops.setup(app)
    webhooks.setup(app)
    http.setup(app, await Api.make(introspection=settings.graphql_introspection))
    app.on_shutdown.append(websocket.close_all)
    app.on_cleanup.append(_close_session)
    return app


async def _close_session(_app: web.Application) -> None:
    await wire.close_session()


async def _sync_at_login(user_id: int) -> None:
    """Queue a first sync; a broker that is away does not spoil the login, since the scheduler finds the user due."""
    try:
        await asyncio.wait_for(in_db(request_sync, user_id, "login"), 10)
    except Exception as error:
        auth.log.warning("first sync not queued", user_id=user_id, reason=type(error).__name__)
