"""GET /metrics: how everything stands, in Prometheus's text format, from the tables that all processes share.

So one web process tells of workers and schedulers on every host. Labels are names of queues, routes and states, never of
people.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from actors import overview
from web.events import HUB

#: Seconds that reading the tables may take; after that the process's own figures stand alone.
PATIENCE = 5.0


async def metrics(request: web.Request) -> web.Response:
    """The figures of this process, and those of all from the database while it answers."""
    try:
        loop = asyncio.get_running_loop()
        data = await asyncio.wait_for(loop.run_in_executor(None, overview.gather), PATIENCE)
        found = [*_families(data), GaugeMetricFamily("killsync_database_up", "Whether the database answers.", 1)]
    except Exception:
        found = [GaugeMetricFamily("killsync_database_up", "Whether the database answers.", 0)]
    found.append(
        GaugeMetricFamily("killsync_subscribers", "Subscriptions open in this process.", request.app[HUB].subscribers)
    )
    registry = CollectorRegistry()
    registry.register(_Fixed(found))
    body = generate_latest(REGISTRY) + generate_latest(registry)
    return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})


class _Fixed:
    """A collector of figures that are there already."""

    def __init__(self, found: list[Metric]) -> None:
        self._found = found

    def collect(self) -> Iterable[Metric]:
        return self._found


def _families(data: dict[str, Any]) -> list[Metric]:
    requests = CounterMetricFamily("killsync_esi_requests", "Requests to ESI.", labels=["route", "outcome"])
    tokens = CounterMetricFamily("killsync_esi_tokens", "Tokens spent at ESI.", labels=["route", "outcome"])
    for use in data["esi_spent"]:
        requests.add_metric([use["route"], use["outcome"]], use["requests"])
        tokens.add_metric([use["route"], use["outcome"]], use["tokens"])
    left = GaugeMetricFamily("killsync_esi_tokens_left", "Tokens left in a shared bucket.", labels=["bucket"])
    for budget in data["budgets"]:
        left.add_metric([budget["bucket"]], budget["left"])
    ledger = GaugeMetricFamily("killsync_killmail_refs", "Killmails that a list named, by state.", labels=["state"])
    for state in ("pending", "fetched", "invalid"):
        ledger.add_metric([state], data["ledger"].get(state, 0))
    users = GaugeMetricFamily("killsync_users", "Users by token health.", labels=["status"])
    for status, number in data["users"].items():
        users.add_metric([status], number)
    messages = GaugeMetricFamily("killsync_queue_messages", "Messages in a queue.", labels=["queue", "kind"])
    for queue in data["queues"]:
        for kind in ("message", "delayed", "dead"):
            messages.add_metric([queue["queue_name"], "ready" if kind == "message" else kind], queue[f"{kind}_count"])
    return [
        requests, tokens, left, ledger, users, messages,
        GaugeMetricFamily("killsync_killmails", "Killmails stored.", data["killmails"]),
        GaugeMetricFamily("killsync_due_users", "Users whose next sync is due.", data["due_users"]),
    ]  # fmt: skip


def setup(app: web.Application) -> None:
    """Add the route."""
    app.router.add_get("/metrics", metrics)
