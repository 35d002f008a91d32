"""The figures that one process counts for Prometheus. Until `setup` is called counting does nothing and costs nothing.

A worker's processes count together through files (`setup` after PROMETHEUS_MULTIPROC_DIR is set), so nothing here is made
at import. Labels are names of routes, kinds and outcomes: never an id, never a person, never an address.
"""

from __future__ import annotations

from typing import Any

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

_made: dict[str, Any] = {}


def setup(*, gauges: bool = True) -> None:
    """Make the figures in Prometheus's default registry. Once a process; more often does nothing.

    Args:
        gauges: leave figures that only the scheduler sets out when False.
    """
    if _made:
        return
    from prometheus_client import Counter, Gauge, Histogram

    def histogram(name: str, text: str, labels: list[str]) -> Any:
        return Histogram(name, text, labels, buckets=_SECONDS)

    _made.update(
        esi=histogram("killsync_esi_request_duration_seconds", "Time that ESI took to answer.", ["route", "outcome"]),
        budget=Counter("killsync_esi_budget_refusals", "Calls not sent because no token was left.", ["route"]),
        pages=Counter("killsync_sync_pages", "Pages of killmail lists, by what came.", ["outcome"]),
        syncs=Counter("killsync_syncs", "Syncs that ended, by how.", ["status"]),
        webhooks=histogram(
            "killsync_webhook_delivery_duration_seconds", "Time that webhooks took to answer.", ["kind", "outcome"]
        ),
        http=histogram(
            "killsync_http_request_duration_seconds", "Time to answer requests.", ["method", "route", "status"]
        ),
        ticks=Counter("killsync_scheduler_ticks", "Ticks of the scheduler, by what became of them.", ["outcome"]),
    )
    if gauges:
        _made["leads"] = Gauge("killsync_scheduler_leads", "Whether this scheduler is the one that ticks.")


def _count(name: str, *labels: str) -> None:
    if _made:
        _made[name].labels(*labels).inc()


def _observe(name: str, seconds: float, *labels: str) -> None:
    if _made:
        _made[name].labels(*labels).observe(seconds)


def esi_request(route: str, outcome: str, seconds: float) -> None:
    """ESI answered, or failed to."""
    _observe("esi", seconds, route, outcome)


def budget_refusal(route: str) -> None:
    """A call was not sent: its bucket had no token."""
    _count("budget", route)


def sync_page(outcome: str) -> None:
    """A page of a list: `read`, `unchanged` (304) or `cached` (not asked for before it expires)."""
    _count("pages", outcome)


def sync_ended(status: str) -> None:
    """A sync ended: `succeeded` or `failed`."""
    _count("syncs", status)


def webhook_delivery(kind: str, outcome: str, seconds: float) -> None:
    """A webhook's receiver answered, or failed to."""
    _observe("webhooks", seconds, kind, outcome)


def http_request(method: str, route: str, status: str, seconds: float) -> None:
    """A request was answered; *route* is the route's pattern, *status* its first digit and `xx`."""
    _observe("http", seconds, method, route, status)


def scheduler_tick(outcome: str, leads: bool) -> None:
    """A tick: `sent`, `standby` (another scheduler leads) or `skipped` (database or broker away)."""
    _count("ticks", outcome)
    if "leads" in _made:
        _made["leads"].set(1 if leads else 0)
