"""GET /ops: the operator's dashboard. Says first what is wrong and what to do, then shows the figures behind it.

Everything comes from the tables that all processes share, so it tells of every host and needs no Prometheus.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from aiohttp import web

from killsync.access import audit, keys
from killsync.access.decision import Need
from killsync.observability import counters
from killsync.sync import poll_table
from killsync.web import overview, render, sessions
from killsync.web.guard import needs
from killsync.web.pages.ops_charts import HOURS, Chart, charts, span
from killsync.web.pages.poll_curve import curve
from killsync.web.security import check_rate, client_ip
from models import utcnow
from models.threads import in_db

_WHY = "Log in with a character of ADMIN_CHARACTER_IDS to see how queues, budgets and syncs stand."
#: Several operators, or one with several windows, cost the database one look in so many seconds.
KEEP_SECONDS = 2.0
#: Entries of the audit trail that the page shows.
ENTRIES = 25


async def ops(request: web.Request) -> web.Response:
    """The dashboard, for admins. `?hours=` chooses how far back the charts go."""
    check_rate(request, "page")
    viewer = await sessions.viewer_of(request)
    assert viewer is not None
    text = request.query.get("hours", "")
    hours = int(text) if text in map(str, HOURS) else HOURS[0]
    data = await request.app[overview.OVERVIEW].read(KEEP_SECONDS)
    now = utcnow()
    drawn = await in_db(lambda: _charts(now, hours))
    shown: dict[str, Any] = {
        "data": data, "viewer": viewer, "now": now, "hours": hours, "ranges": HOURS, "charts": drawn,
        **await in_db(_access, viewer, client_ip(request)),
    }  # fmt: skip
    response = render.rendered(request, "ops.html", shown)
    response.headers["Cache-Control"] = "no-store"
    return response


def _charts(now: datetime, hours: int) -> list[Chart]:
    drawn = charts(counters.slices(*span(now, hours)), now, hours)
    return [*drawn, curve(poll_table.current().read(), poll_table.made())]


def _access(viewer: sessions.Viewer, address: str) -> dict[str, Any]:
    """Who has keys, and the audit trail; this look is an entry of it."""
    audit.record_once(
        audit.ADMIN_VIEW,
        subject=viewer.users[0].character_name,
        detail="/ops",
        account_id=viewer.account_id,
        address=address,
    )
    return {"keys": keys.all_listed(), "entries": audit.recent(ENTRIES)}


def setup(app: web.Application) -> None:
    """Add the route."""
    overview.setup(app)
    app.router.add_get("/ops", needs(Need.ADMIN, ops, why=_WHY))
