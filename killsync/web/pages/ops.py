"""GET /ops: the operator's dashboard. Says first what is wrong and what to do, then shows the figures behind it.

Everything comes from the tables that all processes share, so it tells of every host and needs no Prometheus.
"""

from __future__ import annotations

from typing import Any

import aiohttp_jinja2
from aiohttp import web

from killsync.observability import counters
from killsync.web import overview, sessions
from killsync.web.pages.ops_charts import HOURS, charts, span
from killsync.web.security import check_rate
from models import utcnow
from models.threads import in_db

#: Several operators, or one with several windows, cost the database one look in so many seconds.
KEEP_SECONDS = 2.0


async def ops(request: web.Request) -> web.Response:
    """The dashboard, for admins. `?hours=` chooses how far back the charts go."""
    check_rate(request, "page")
    viewer = await sessions.viewer_of(request)
    if viewer is None or not viewer.is_admin:
        context = {
            "title": "For operators",
            "text": "Log in with a character of ADMIN_CHARACTER_IDS to see how queues, budgets and syncs stand.",
            "viewer": viewer,
        }
        return aiohttp_jinja2.render_template("message.html", request, context, status=403)
    text = request.query.get("hours", "")
    hours = int(text) if text in map(str, HOURS) else HOURS[0]
    data = await request.app[overview.OVERVIEW].read(KEEP_SECONDS)
    now = utcnow()
    drawn = await in_db(lambda: charts(counters.slices(*span(now, hours)), now, hours))
    shown: dict[str, Any] = {
        "data": data, "viewer": viewer, "now": now, "hours": hours, "ranges": HOURS, "charts": drawn,
    }  # fmt: skip
    response = aiohttp_jinja2.render_template("ops.html", request, shown)
    response.headers["Cache-Control"] = "no-store"
    return response


def setup(app: web.Application) -> None:
    """Add the route."""
    overview.setup(app)
    app.router.add_get("/ops", ops)
