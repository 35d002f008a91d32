"""GET /metrics: how everything stands, in Prometheus's text format, from the tables that all processes share.

So one web process shows workers and schedulers on every host; beside that stand this process's own figures. Labels are
names of queues, routes and states, never of people.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

import msgspec
from aiohttp import web
from msgspec import UNSET
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from killsync.access.decision import Need
from killsync.events.hub import HUB
from killsync.observability import metrics as process_metrics
from killsync.observability.figures import Overview
from killsync.web import overview
from killsync.web.guard import needs
from killsync.web.security import Handler, check_rate

#: Seconds that reading the tables may take; after that the process's own figures stand alone.
READ_SECONDS = 5.0
#: Whoever asks, and however often, the tables are read once in so many seconds. Prometheus asks every 15 s or slower.
KEEP_SECONDS = 5.0


async def metrics(request: web.Request) -> web.Response:
    """The figures of this process, and those of all from the database while it answers.

    They are for who runs the server: asked from this host, from METRICS_ALLOWED, or by an admin.
    """
    check_rate(request, "metrics")
    try:
        current = await asyncio.wait_for(request.app[overview.OVERVIEW].read(KEEP_SECONDS), READ_SECONDS)
        found = [*_families(current), GaugeMetricFamily("killsync_database_up", "Whether the database answers.", 1)]
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


def _families(current: Overview) -> list[Metric]:
    requests = CounterMetricFamily("killsync_esi_requests", "Requests to ESI.", labels=["route", "outcome"])
    tokens = CounterMetricFamily("killsync_esi_tokens", "Tokens spent at ESI.", labels=["route", "outcome"])
    for use in current.esi_spent:
        requests.add_metric([use.route, use.outcome], use.requests)
        tokens.add_metric([use.route, use.outcome], use.tokens)
    left = GaugeMetricFamily("killsync_esi_tokens_left", "Tokens left in a shared bucket.", labels=["bucket"])
    for budget in current.budgets:
        left.add_metric([budget.bucket], budget.left)
    ledger = GaugeMetricFamily("killsync_killmail_refs", "Killmails that a list named, by state.", labels=["state"])
    for state in ("pending", "fetched", "invalid"):
        ledger.add_metric([state], current.ledger.get(state, 0))
    users = GaugeMetricFamily("killsync_users", "Users by token health.", labels=["status"])
    for status, number in msgspec.structs.asdict(current.users).items():
        users.add_metric([status], number)
    messages = GaugeMetricFamily("killsync_queue_messages", "Messages in a queue.", labels=["queue", "kind"])
    for queue in current.queues:
        for kind in ("message", "delayed", "dead"):
            messages.add_metric(
                [queue.queue_name, "ready" if kind == "message" else kind], getattr(queue, f"{kind}_count")
            )
    consumers = GaugeMetricFamily("killsync_queue_consumers", "Consumers of a queue.", labels=["queue"])
    for queue in current.queues:
        consumers.add_metric([queue.queue_name], queue.consumer_count)
    blocked = GaugeMetricFamily(
        "killsync_esi_blocked_seconds", "How long nothing of a bucket may be sent; `all` holds for every route.",
        labels=["bucket"],
    )  # fmt: skip
    blocked.add_metric(["all"], current.gate.blocked_seconds)
    for budget in current.budgets:
        blocked.add_metric([budget.bucket], budget.blocked_seconds)
    hooks = GaugeMetricFamily("killsync_webhooks", "Webhooks by state.", labels=["status"])
    for status in ("active", "paused", "disabled"):
        hooks.add_metric([status], getattr(current.webhooks, status))
    lists = GaugeMetricFamily("killsync_corporation_lists", "Corporations by state of their list.", labels=["state"])
    for state, number in current.corporation_lists.items():
        lists.add_metric([state], number)
    wrong = GaugeMetricFamily("killsync_problems", "Things that /ops says need a look.", labels=["severity"])
    for severity in ("bad", "warn"):
        wrong.add_metric([severity], sum(problem.severity == severity for problem in current.problems))
    return [
        requests, tokens, left, ledger, users, messages, consumers, blocked, hooks, lists, wrong,
        GaugeMetricFamily("killsync_broker_up", "Whether the broker answers.", 1 if current.broker is UNSET else 0),
        GaugeMetricFamily("killsync_database_answer_seconds", "Time of an empty question.", current.database_ms / 1000),
        GaugeMetricFamily("killsync_late_users", "Users who wait for more than five minutes.", current.late_users),
        GaugeMetricFamily("killsync_sync_lag_seconds", "How late the latest user is.", current.latest_seconds or 0),
        GaugeMetricFamily("killsync_webhooks_failing", "Active webhooks that fail.", current.webhooks.failing),
        GaugeMetricFamily(
            "killsync_webhook_messages_waiting", "Messages that wait for webhooks.", current.webhooks.waiting
        ),
        GaugeMetricFamily(
            "killsync_webhook_lag_seconds", "How long the oldest of them waits.", current.webhooks.oldest_seconds or 0
        ),
        GaugeMetricFamily(
            "killsync_scheduler_tick_age_seconds", "Time since a scheduler ticked.",
            float("inf") if current.scheduler_seen_seconds is None else current.scheduler_seen_seconds,
        ),
        GaugeMetricFamily("killsync_killmails", "Killmails stored.", current.killmails),
        GaugeMetricFamily("killsync_due_users", "Users whose next sync is due.", current.due_users),
    ]  # fmt: skip


@web.middleware
async def measure(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Measure how long an answer took. Routes are named by their pattern: what a visitor types is never a label."""
    started = time.monotonic()
    status = "5xx"
    try:
        response = await handler(request)
        status = f"{response.status // 100}xx"
        return response
    except web.HTTPException as error:
        status = f"{error.status // 100}xx"
        raise
    finally:
        resource = request.match_info.route.resource
        method = request.method if request.method in ("GET", "HEAD", "POST") else "other"
        if status != "1xx":  # a WebSocket is open for as long as somebody looks
            process_metrics.http_request(
                method, resource.canonical if resource else "none", status, time.monotonic() - started
            )


def setup(app: web.Application) -> None:
    """Add the route, and measure every other."""
    process_metrics.setup()
    overview.setup(app)
    app.middlewares.insert(0, measure)
    app.router.add_get("/metrics", needs(Need.METRICS, metrics))
