"""What operators want to know, read from the tables that all processes share. Reads only, but for `roll_up_usage`."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

from peewee import EXCLUDED, Case, Select, fn

from killsync import settings as settings_module
from killsync.esi import clock
from killsync.esi.rate_limit.circuit_breaker import CircuitBreaker
from killsync.esi.rate_limit.token_bucket import TokenBucket
from killsync.killmails import ledger_figures
from killsync.names import trouble, wanted
from killsync.observability.counters import LATE_SECONDS
from killsync.observability.figures import (
    Budget,
    CharacterBudgets,
    Corporation,
    DueUsers,
    Gate,
    Names,
    OldestPending,
    Run,
    Spent,
    Sso,
    Syncs,
    Users,
    Webhooks,
)
from killsync.scheduling import leader
from killsync.sso import health
from killsync.sync import corporation_polls
from models.db import database
from models.esi import EsiBucket, EsiUsage
from models.exactly_once import in_transaction_once
from models.expressions import locked, now
from models.fields import UtcDateTimeField, utcnow
from models.killmails import Killmail
from models.sync import FAILED, WAITING, SyncRun
from models.users import ACTIVE, User
from models.webhooks import ACTIVE as WEBHOOK_ACTIVE
from models.webhooks import Webhook, WebhookDelivery

#: Use of ESI is kept by the hour for this long, seconds; what is older becomes one row a route and outcome.
KEEP_HOURS_SECONDS = 2 * 86_400.0
#: The hour under which everything older is summed up.
ROLLED_UP = datetime(2000, 1, 1, tzinfo=UTC)
#: Newest runs that are looked at to say how syncs stand.
MOST_RUNS = 500
#: A sync that has taken less than this may wait for a moment without anybody minding, seconds.
WAITING_SECONDS = 60.0
#: Buckets of characters that are looked at, those used last.
MOST_BUCKETS = 500


def ping() -> None:
    """Ask the database for nothing, to see how long it takes."""
    Select(columns=[1]).bind(database).scalar()


def _age(moment: datetime | str | None) -> int | None:
    """Seconds since *moment*."""
    found = UtcDateTimeField().python_value(moment)
    return None if found is None else max(0, round((utcnow() - found).total_seconds()))


def _by_status(model: Any) -> dict[str, int]:
    found = model.select(model.status, fn.COUNT(model.id).alias("number")).group_by(model.status)
    return {each.status: each.number for each in found.namedtuples()}


def users() -> Users:
    """Users by token health."""
    known = _by_status(User)
    return Users(**{name: known.get(name, 0) for name in ("active", "needs_login", "disabled")})


def names() -> Names:
    """The kinds of names that ESI refuses in bulk."""
    found = trouble.trouble()
    if found is None:
        return Names()
    return Names([f"{name.replace('_', ' ')}s" for name in found.kinds], found.seconds, wanted.count_unnamed())


def sso() -> Sso:
    """Whose tokens EVE SSO refuses, and whether it refuses everybody."""
    doubted = User.select().where(User.status == ACTIVE, User.refusals > 0).count()
    found = health.trouble()
    return Sso(doubted, found.seconds, found.next_probe_seconds) if found is not None else Sso(doubted)


def due_users() -> DueUsers:
    """Users who wait for their sync."""
    is_late = Case(None, [(User.next_sync_at <= now(-LATE_SECONDS), 1)], 0)
    due: Any = (
        User.select(
            fn.COUNT(User.id).alias("due"),
            fn.COALESCE(fn.SUM(is_late), 0).alias("late"),
            fn.MIN(User.next_sync_at).alias("oldest"),
        )
        .where(User.status == ACTIVE, User.next_sync_at <= now())
        .namedtuples()
        .get()
    )
    return DueUsers(due=due.due, late=int(due.late), latest_seconds=_age(due.oldest))


def killmails() -> int:
    """Killmails stored."""
    return int(Killmail.select().count())


def oldest_pending() -> OldestPending | None:
    """The killmail that has waited longest to be fetched."""
    oldest = ledger_figures.oldest_pending()
    if oldest is None:
        return None
    return OldestPending(
        killmail_id=oldest.killmail_id,
        since=str(oldest.discovered_at),
        seconds=_age(oldest.discovered_at),
        attempts=oldest.attempts,
        last_error=oldest.last_error,
    )


def last_runs() -> list[Run]:
    """The newest sync runs."""
    found: Any = (
        SyncRun.select(
            SyncRun.id,
            User.character_name.alias("character"),
            SyncRun.status,
            SyncRun.found,
            SyncRun.saved,
            SyncRun.skipped,
            SyncRun.errors,
            SyncRun.esi_requests.alias("requests"),
            SyncRun.esi_tokens.alias("tokens"),
            SyncRun.started_at,
            SyncRun.finished_at,
            SyncRun.error,
        )
        .join(User, on=(User.id == SyncRun.user_id))
        .order_by(SyncRun.id.desc())
        .limit(12)
    )
    return [Run(**run) for run in found.dicts()]


def syncs() -> Syncs:
    """How the newest sync of each list stands that was synced in the last day, of the newest MOST_RUNS runs."""
    newest: dict[tuple[int, str], Any] = {}
    runs: Any = (
        SyncRun.select(SyncRun.user_id, SyncRun.kind, SyncRun.status, SyncRun.error, SyncRun.started_at)
        .order_by(SyncRun.id.desc())
        .limit(MOST_RUNS)
        .namedtuples()
    )
    now = utcnow()
    for run in runs:
        if now - run.started_at < timedelta(days=1):
            newest.setdefault((run.user_id, run.kind), run)
    failing = [run.error or "no reason is known" for run in newest.values() if run.status == FAILED]
    waiting = [
        run.error or "no reason is known"
        for run in newest.values()
        if run.status == WAITING and now - run.started_at > timedelta(seconds=WAITING_SECONDS)
    ]
    return Syncs(len(newest), len(failing), _commonest(failing), len(waiting), _commonest(waiting))


def _commonest(reasons: list[str]) -> str:
    return Counter(reasons).most_common(1)[0][0] if reasons else ""


def corporations() -> list[Corporation]:
    """The corporations whose lists are read, by whom, and for how many of our users."""
    moment = UtcDateTimeField().python_value
    return [
        Corporation(
            **{
                **each,
                "works": bool(each["works"]),
                "last_sync_at": moment(each["last_sync_at"]),
                "next_sync_at": moment(each["next_sync_at"]),
            }
        )
        for each in corporation_polls.overview()
    ]


def webhooks() -> Webhooks:
    """Webhooks by state, and what waits for the active ones."""
    known = _by_status(Webhook)
    waiting: Any = (
        WebhookDelivery.select(
            fn.COUNT(WebhookDelivery.id).alias("number"), fn.MIN(WebhookDelivery.created_at).alias("oldest")
        )
        .join(Webhook, on=(Webhook.id == WebhookDelivery.webhook_id))
        .where(WebhookDelivery.ended_at.is_null(), Webhook.status == WEBHOOK_ACTIVE)
        .namedtuples()
        .get()
    )
    failing = Webhook.select().where(Webhook.status == WEBHOOK_ACTIVE, Webhook.failing_since.is_null(False))
    return Webhooks(
        active=known.get("active", 0),
        paused=known.get("paused", 0),
        disabled=known.get("disabled", 0),
        failing=failing.count(),
        waiting=waiting.number,
        oldest_seconds=_age(waiting.oldest),
    )


def scheduler_seen_seconds() -> int | None:
    """Seconds since a scheduler last said that it ticks; None when none ever did."""
    seconds = leader.seconds_since_tick()
    return None if seconds is None else round(seconds)


def budgets() -> list[Budget]:
    """The token buckets that everybody shares, one by one."""
    moment = clock.shared(settings_module.current()).now()
    found = []
    for stored in EsiBucket.select().where(EsiBucket.name.contains("|ip:")).order_by(EsiBucket.name):
        bucket = TokenBucket.load(stored.account)
        used = bucket.used(moment)
        found.append(
            Budget(
                bucket=stored.name,
                limit=bucket.limit,
                left=bucket.limit - used,
                used=used,
                blocked_seconds=max(0, round(bucket.blocked_until - moment)),
            )
        )
    return found


def character_budgets() -> CharacterBudgets:
    """The token buckets of characters, in sum."""
    moment = clock.shared(settings_module.current()).now()
    newest = EsiBucket.select().where(EsiBucket.name.contains("|char:")).order_by(EsiBucket.updated_at.desc())
    buckets = [TokenBucket.load(stored.account) for stored in newest.limit(MOST_BUCKETS)]
    left = [bucket.limit - bucket.used(moment) for bucket in buckets]
    return CharacterBudgets(
        known=len(buckets),
        empty=sum(1 for tokens in left if tokens < 2),
        blocked=sum(1 for bucket in buckets if bucket.blocked_until > moment),
        least_left=min(left, default=None),
    )


def gate() -> Gate:
    """What holds for every route of ESI: the circuit breaker and the error limit."""
    moment = clock.shared(settings_module.current()).now()
    stored = EsiBucket.get_or_none(EsiBucket.name == "gate")
    breaker = CircuitBreaker.load(stored.account) if stored else CircuitBreaker()
    return Gate(
        blocked_seconds=round(breaker.wait(moment)),
        failures=breaker.failures,
        errors_left=breaker.errors_left if breaker.errors_reset > moment else 100,
    )


def esi_spent() -> list[Spent]:
    """Everything ever asked of ESI, by route and outcome."""
    found = (
        EsiUsage.select(
            EsiUsage.route,
            EsiUsage.outcome,
            fn.SUM(EsiUsage.requests).alias("requests"),
            fn.SUM(EsiUsage.tokens).alias("tokens"),
        )
        .group_by(EsiUsage.route, EsiUsage.outcome)
        .order_by(EsiUsage.route, EsiUsage.outcome)
    )
    # PostgreSQL's sum of 64-bit numbers is a decimal.
    return [
        Spent(route=each.route, outcome=each.outcome, requests=int(each.requests), tokens=int(each.tokens))
        for each in found.namedtuples()
    ]


def roll_up_usage() -> int:
    """Sum old hours up into one row a route and outcome, so that reading all costs the same after years; the rows summed.

    The sums of everything stay exact at every moment: hours go and their sum comes in one transaction, and what is deleted
    is what is added, whoever else does the same or writes an old hour late.
    """
    is_old = (EsiUsage.hour < utcnow() - timedelta(seconds=KEEP_HOURS_SECONDS)) & (EsiUsage.hour != ROLLED_UP)
    key = [EsiUsage.hour, EsiUsage.route, EsiUsage.outcome]

    def work() -> int:
        locked(EsiUsage.select(*key).where(is_old).order_by(*key)).namedtuples().execute()
        gone = list(EsiUsage.delete().where(is_old).returning(EsiUsage).execute())
        sums: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
        for use in gone:
            sums[use.route, use.outcome][0] += use.requests
            sums[use.route, use.outcome][1] += use.tokens
        if sums:
            EsiUsage.insert_many(
                [(ROLLED_UP, route, outcome, *both) for (route, outcome), both in sorted(sums.items())],
                [*key, EsiUsage.requests, EsiUsage.tokens],
            ).on_conflict(
                conflict_target=key,
                update={
                    EsiUsage.requests: EsiUsage.requests + EXCLUDED.requests,
                    EsiUsage.tokens: EsiUsage.tokens + EXCLUDED.tokens,
                },
            ).as_rowcount().execute()
        return len(gone)

    return in_transaction_once(work)
