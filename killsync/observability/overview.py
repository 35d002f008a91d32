"""Gathering how everything stands, for `killsync status`, the operator's dashboard and /metrics. Reads only; blocking."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from killsync import settings as settings_module
from killsync.broker.connection import BrokerAway
from killsync.broker.figures import queue_stats
from killsync.killmails import ledger_figures
from killsync.observability import counters, diagnosis, queries
from killsync.observability.counters import Figure
from killsync.observability.figures import Overview, Rates
from killsync.process import OnePerProcess
from killsync.sync import corporation_polls
from models import connection, utcnow

LISTS = ("character killmails", "corporation killmails")
#: Counting a million rows takes a while: readers that ask again and again get counts this old, seconds.
COUNTS_SECONDS = 30.0


@dataclass(frozen=True)
class Counts:
    """What takes long to count."""

    killmails: int
    ledger: dict[str, int]


class KeptCounts:
    """The counts as this process last read them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counts | None = None
        self._read_at = float("-inf")

    def read(self, *, exact: bool) -> Counts:
        """The counts of now, or with *exact* false those of the last COUNTS_SECONDS."""
        with self._lock:
            kept = self._counts
            if kept is not None and not exact and time.monotonic() - self._read_at < COUNTS_SECONDS:
                return kept
        found = Counts(queries.killmails(), ledger_figures.counts())
        with self._lock:
            self._counts, self._read_at = found, time.monotonic()
        return found


_counts = OnePerProcess(KeptCounts)


def gather(*, exact: bool = True) -> Overview:
    """How everything stands; `problems` says what is wrong and what to do.

    Args:
        exact: count stored killmails and the ledger now, rather than to within half a minute.
    """
    with connection():
        started = time.monotonic()
        queries.ping()
        database_ms = round((time.monotonic() - started) * 1000, 1)
        users, due, counted = queries.users(), queries.due_users(), _counts().read(exact=exact)
        overview = Overview(
            at=utcnow().isoformat(timespec="seconds"),
            database_ms=database_ms,
            users=users,
            due_users=due.due,
            late_users=due.late,
            latest_seconds=due.latest_seconds,
            killmails=counted.killmails,
            ledger=counted.ledger,
            oldest_pending=queries.oldest_pending(),
            budgets=queries.budgets(),
            character_budgets=queries.character_budgets(),
            gate=queries.gate(),
            sso=queries.sso(),
            names=queries.names(),
            esi_spent=queries.esi_spent(),
            rates=rates(counters.since(utcnow() - timedelta(minutes=61)), utcnow()),
            last_runs=queries.last_runs(),
            syncs=queries.syncs(),
            corporations=queries.corporations(),
            corporation_lists=corporation_polls.counts(),
            webhooks=queries.webhooks(),
            scheduler_seen_seconds=queries.scheduler_seen_seconds(),
            broker_in_memory=settings_module.current().uses_memory_broker,
        )
    try:
        overview.queues = queue_stats()
    except BrokerAway as error:
        overview.broker = str(error)
    overview.problems = diagnosis.problems(overview)
    return overview


def rates(found: Sequence[Figure], now: datetime) -> Rates:
    """What the figures by the minute, as `counters.since` gives them, say at the moment *now*. Pure."""
    this = now.replace(second=0, microsecond=0)

    def total(name: str, minutes: int, wanted: Callable[[str], bool] = lambda _detail: True) -> int:
        # The running minute is not over: rates are of whole ones.
        start = this - timedelta(minutes=minutes)
        return sum(
            figure.number
            for figure in found
            if figure.name == name and start <= figure.minute < this and wanted(figure.detail)
        )

    def outcome_is(*outcomes: str) -> Callable[[str], bool]:
        return lambda detail: detail.rsplit("|", 1)[-1] in outcomes

    def is_poll(detail: str) -> bool:
        route, _, outcome = detail.rpartition("|")
        return route in LISTS and outcome in ("2xx", "304")

    polls = total(counters.REQUESTS, 60, is_poll)
    unchanged = total(counters.REQUESTS, 60, lambda detail: is_poll(detail) and detail.endswith("|304"))
    return Rates(
        killmails_per_minute=round(total(counters.KILLMAILS, 5) / 5, 1),
        killmails_last_hour=total(counters.KILLMAILS, 60),
        requests_per_minute=round(total(counters.REQUESTS, 5) / 5, 1),
        requests_last_hour=total(counters.REQUESTS, 60),
        tokens_per_minute=round(total(counters.TOKENS, 5) / 5, 1),
        tokens_last_hour=total(counters.TOKENS, 60),
        unchanged_share=round(unchanged / polls, 3) if polls else None,
        requests_last_quarter=total(counters.REQUESTS, 15),
        failures_last_quarter=total(counters.REQUESTS, 15, outcome_is("5xx", "error")),
        errors_last_hour={
            kind: total(counters.REQUESTS, 60, outcome_is(kind)) for kind in ("4xx", "420", "429", "5xx", "error")
        },
        webhooks_last_hour={
            kind: total(counters.WEBHOOKS, 60, outcome_is(kind))
            for kind in ("taken", "later", "failed", "refused", "lost")
        },
    )
