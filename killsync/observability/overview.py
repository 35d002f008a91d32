"""How everything stands, for `killsync status`, the operator's dashboard and /metrics. Reads only; blocking."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from typing import Any

from killsync import settings as settings_module
from killsync.broker.connection import BrokerAway
from killsync.broker.figures import queue_stats
from killsync.esi import clock
from killsync.esi.rate_limit.circuit_breaker import CircuitBreaker
from killsync.esi.rate_limit.token_bucket import TokenBucket
from killsync.killmails import ledger
from killsync.observability import counters, diagnosis
from killsync.scheduling import leader
from killsync.sync import corporation_polls
from models import connection, utcnow
from models.fields import from_any
from models.sql import rows, sql_now

_RUN_COLUMNS = ("id", "character", "status", "found", "saved", "skipped", "errors", "requests", "tokens", "started_at",
                "finished_at", "error")  # fmt: skip
LISTS = ("character killmails", "corporation killmails")
#: Counting a million rows takes a while: readers that ask again and again get counts this old, seconds.
COUNTS_SECONDS = 30.0

_lock = threading.Lock()
_counted: tuple[float, str, dict[str, Any]] | None = None


def gather(*, exact: bool = True) -> dict[str, Any]:
    """How everything stands, as plain data; `problems` says what is wrong and what to do.

    Args:
        exact: count stored killmails and the ledger now, rather than to within half a minute.
    """
    started = time.monotonic()
    with connection():
        rows("SELECT 1")
        answered = time.monotonic() - started
        data: dict[str, Any] = {
            "at": utcnow().isoformat(timespec="seconds"),
            "database_ms": round(answered * 1000, 1),
            **_users(),
            **_counts(exact),
            "oldest_pending": _oldest(),
            **_budgets(),
            "esi_spent": [
                {"route": route, "outcome": outcome, "requests": int(requests), "tokens": int(tokens)}
                for route, outcome, requests, tokens in rows(
                    "SELECT route, outcome, sum(requests), sum(tokens) FROM esi_usage GROUP BY route, outcome ORDER BY 1, 2"
                )
            ],
            "rates": rates(counters.since(utcnow() - timedelta(minutes=61)), utcnow()),
            "last_runs": _runs(),
            "corporations": _corporations(),
            "corporation_lists": corporation_polls.counts(),
            "webhooks": _webhooks(),
            "scheduler_seen_seconds": _scheduler(),
        }
    data["broker_in_memory"] = settings_module.current().uses_memory_broker
    try:
        data["queues"] = [stat.__dict__ for stat in queue_stats()]
    except BrokerAway as error:
        data["queues"] = []
        data["broker"] = str(error)
    data["problems"] = [problem.__dict__ for problem in diagnosis.problems(data)]
    return data


def _users() -> dict[str, Any]:
    users = dict(rows('SELECT status, count(*) FROM "user" GROUP BY status'))
    due, late, oldest = rows(
        f"SELECT count(*), coalesce(sum(CASE WHEN next_sync_at <= {sql_now(-counters.LATE_SECONDS)} THEN 1 ELSE 0 END), 0), "
        f"min(next_sync_at) FROM \"user\" WHERE status = 'active' AND next_sync_at <= {sql_now()}"
    )[0]
    return {
        "users": {name: int(users.get(name, 0)) for name in ("active", "needs_login", "disabled")},
        "due_users": int(due),
        "late_users": int(late),
        "latest_seconds": _age(oldest),
    }


def _counts(exact: bool) -> dict[str, Any]:
    global _counted
    from models.db import database

    name = str(database.obj.database)
    with _lock:
        held = _counted
    if not exact and held is not None and held[1] == name and time.monotonic() - held[0] < COUNTS_SECONDS:
        return held[2]
    found = {"killmails": int(rows("SELECT count(*) FROM killmail")[0][0]), "ledger": ledger.counts()}
    with _lock:
        _counted = (time.monotonic(), name, found)
    return found


def _oldest() -> dict[str, Any] | None:
    oldest = ledger.oldest_pending()
    if oldest is None:
        return None
    return {"killmail_id": oldest[0], "since": str(from_any(oldest[1])), "seconds": _age(oldest[1]),
            "attempts": oldest[2], "last_error": oldest[3]}  # fmt: skip


def _age(value: Any) -> int | None:
    moment = from_any(value)
    return None if moment is None else max(0, round((utcnow() - moment).total_seconds()))


def _runs() -> list[dict[str, Any]]:
    found = rows(
        "SELECT s.id, u.character_name, s.status, s.found, s.saved, s.skipped, s.errors, s.esi_requests, s.esi_tokens, "
        's.started_at, s.finished_at, s.error FROM sync_run s JOIN "user" u ON u.id = s.user_id ORDER BY s.id DESC LIMIT 12'
    )
    listed = [dict(zip(_RUN_COLUMNS, row, strict=True)) for row in found]
    for run in listed:
        run["started_at"], run["finished_at"] = from_any(run["started_at"]), from_any(run["finished_at"])
    return listed


def _corporations() -> list[dict[str, Any]]:
    """The corporations whose lists are read, by whom, and for how many of our users."""
    return [
        {
            **feed,
            "works": bool(feed["works"]),
        }
        for feed in corporation_polls.overview()
    ]


def _webhooks() -> dict[str, Any]:
    by_status = dict(rows("SELECT status, count(*) FROM webhook GROUP BY status"))
    waiting, oldest = rows(
        "SELECT count(*), min(d.created_at) FROM webhook_delivery d JOIN webhook w ON w.id = d.webhook_id "
        "WHERE d.ended_at IS NULL AND w.status = 'active'"
    )[0]
    failing = rows("SELECT count(*) FROM webhook WHERE status = 'active' AND failing_since IS NOT NULL")[0][0]
    return {
        **{status: int(by_status.get(status, 0)) for status in ("active", "paused", "disabled")},
        "failing": int(failing),
        "waiting": int(waiting),
        "oldest_seconds": _age(oldest),
    }


def _scheduler() -> int | None:
    """Seconds since a scheduler last said that it ticks; None when none ever did."""
    seconds = leader.seconds_since_tick()
    return None if seconds is None else round(seconds)


def _budgets() -> dict[str, Any]:
    """The shared buckets one by one, those of characters in sum, and the gate before all of them."""
    now = clock.now()
    shared, characters = [], []
    for name, text in rows("SELECT name, account FROM esi_bucket WHERE name LIKE '%%|ip:%%' ORDER BY name"):
        account = TokenBucket.load(text)
        shared.append({"bucket": name, "limit": account.limit, "left": account.limit - account.used(now),
                       "used": account.used(now), "blocked_seconds": max(0, round(account.blocked_until - now))})  # fmt: skip
    for (text,) in rows(
        "SELECT account FROM esi_bucket WHERE name LIKE '%%|char:%%' ORDER BY updated_at DESC LIMIT 500"
    ):
        account = TokenBucket.load(text)
        characters.append((account.limit - account.used(now), account.blocked_until > now))
    found = rows("SELECT account FROM esi_bucket WHERE name = 'gate'")
    gate = CircuitBreaker.load(found[0][0]) if found else CircuitBreaker()
    return {
        "budgets": shared,
        "character_budgets": {
            "known": len(characters),
            "empty": sum(1 for left, _ in characters if left < 2),
            "blocked": sum(1 for _, blocked in characters if blocked),
            "least_left": min((left for left, _ in characters), default=None),
        },
        "gate": {"blocked_seconds": round(gate.wait(now)), "failures": gate.failures,
                 "errors_left": gate.errors_left if gate.errors_reset > now else 100},
    }  # fmt: skip


def rates(found: list[tuple[Any, str, str, int]], now: Any) -> dict[str, Any]:
    """What the figures by the minute say of the last minutes and the last hour. Pure.

    Args:
        found: (minute, name, detail, number), as `tallies.since` gives them.
        now: the moment.
    """
    this = now.replace(second=0, microsecond=0)

    def total(name: str, minutes: int, wanted: Any = None) -> int:
        # The running minute is not over: rates are of whole ones.
        start = this - timedelta(minutes=minutes)
        return sum(number for minute, each, detail, number in found
                   if each == name and start <= minute < this and (wanted is None or wanted(detail)))  # fmt: skip

    def outcome_is(*outcomes: str) -> Any:
        return lambda detail: detail.rsplit("|", 1)[-1] in outcomes

    def is_list(detail: str) -> bool:
        return detail.rsplit("|", 1)[0] in LISTS and detail.rsplit("|", 1)[-1] in ("2xx", "304")

    lists = total(counters.REQUESTS, 60, is_list)
    unchanged = total(counters.REQUESTS, 60, lambda detail: is_list(detail) and detail.endswith("|304"))
    return {
        "killmails_per_minute": round(total(counters.KILLMAILS, 5) / 5, 1),
        "killmails_last_hour": total(counters.KILLMAILS, 60),
        "requests_per_minute": round(total(counters.REQUESTS, 5) / 5, 1),
        "requests_last_hour": total(counters.REQUESTS, 60),
        "tokens_per_minute": round(total(counters.TOKENS, 5) / 5, 1),
        "tokens_last_hour": total(counters.TOKENS, 60),
        "unchanged_share": round(unchanged / lists, 3) if lists else None,
        "requests_last_quarter": total(counters.REQUESTS, 15),
        "failures_last_quarter": total(counters.REQUESTS, 15, outcome_is("5xx", "error")),
        "errors_last_hour": {
            kind: total(counters.REQUESTS, 60, outcome_is(kind)) for kind in ("4xx", "420", "429", "5xx", "error")
        },
        "webhooks_last_hour": {
            kind: total(counters.WEBHOOKS, 60, lambda detail, kind=kind: detail == kind)
            for kind in ("taken", "later", "failed", "refused", "lost")
        },
    }
