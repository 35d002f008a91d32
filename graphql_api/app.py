"""The web server's application: walls, login, events, GraphQL, pages, health, put together."""

from __future__ import annotations

import asyncio

from aiohttp import web

from graphql_api import http, queue_status, websocket
from graphql_api.tartiflette.engine import Api
from killsync import http_session
from killsync.broker.connection import ping
from killsync.events import hub
from killsync.feed import pages as feed
from killsync.settings import Settings
from killsync.sync.characters import request_sync
from killsync.web import auth, connections, health, metrics, security
from killsync.web.pages import filter_panel, front, ops, trackers
from killsync.webhooks import pages as webhooks
from models.threads import in_service


async def create_app(settings: Settings) -> web.Application:
    """The application of *settings*; the models are connected already."""
    app = web.Application(client_max_size=http.MOST_BODY)
    security.setup(app, settings)
    connections.setup(app)
    hub.setup(app, settings)
    auth.setup(app, _sync_at_login)
    health.setup(app, ping)
    metrics.setup(app)
    front.setup(app)
    ops.setup(app)
    webhooks.setup(app)
    filter_panel.setup(app)
    trackers.setup(app)
    feed.setup(app, settings)
    queue_status.setup(app)
    websocket.setup(app)
    http.setup(app, await Api.make(introspection=settings.graphql_introspection))
    app.on_cleanup.append(_close_session)
    return app


async def _close_session(_app: web.Application) -> None:
    await http_session.close_session()


async def _sync_at_login(user_id: int) -> None:
    """Queue a first sync; a broker that is away does not spoil the login, since the scheduler finds the user due."""
    try:
        await asyncio.wait_for(in_service(request_sync, user_id, "login"), 10)
    except Exception as error:
        auth.log.warning("first sync not queued", user_id=user_id, reason=type(error).__name__)
