"""What is wrong, and what to do about it: reads the overview as an operator would. Pure; asks nobody."""

from __future__ import annotations

from msgspec import UNSET

from killsync.observability.figures import Overview, Problem

#: Beyond these a figure is worth a look.
SLOW_DATABASE_MS = 250.0
SCHEDULER_SECONDS = 60
WEBHOOK_SECONDS = 600
PENDING_SECONDS = 6 * 3600
NEEDS_LOGIN_SHARE, NEEDS_LOGIN_LEAST = 0.25, 3
FAILURE_SHARE, FAILURE_LEAST = 0.2, 10
#: Shares of a board beyond which what befalls single lists is the board's trouble: of lists whose sync failed, of lists that
#: wait, of users that are late. On a board of five one is enough, on one of thousands single ones are every day's.
FAILING_SHARE, WAITING_SHARE, LATE_SHARE = 0.2, 1 / 3, 0.02
#: A single user who waits for longer than this is worth a look on any board, seconds.
LATE_SECONDS = 3600


def problems(overview: Overview) -> list[Problem]:
    """What the overview says is wrong, the worst first."""
    checks = (_broker, _processes, _esi, _sso, _names, _syncs, _users, _leftovers, _webhooks)
    found = [problem for check in checks for problem in check(overview)]
    return sorted(found, key=lambda problem: problem.severity != "bad")


def _broker(overview: Overview) -> list[Problem]:
    found = []
    if overview.broker is not UNSET:
        found.append(
            Problem(
                "bad", "broker", str(overview.broker), "Start RabbitMQ or correct BROKER_URL; work goes on by itself."
            )
        )
    if overview.database_ms > SLOW_DATABASE_MS:
        found.append(
            Problem(
                "warn",
                "database slow",
                f"The database took {overview.database_ms:.0f} ms for an empty question.",
                "Look at its load and disk; `killsync doctor` says where it was sought.",
            )
        )
    return found


def _processes(overview: Overview) -> list[Problem]:
    found = []
    # A broker in memory is seen by its own process alone: another cannot see into it.
    queues = [] if overview.broker_in_memory else overview.queues
    unread = [queue for queue in queues if not queue.consumer_count]
    if unread and len(unread) == len(queues):
        found.append(
            Problem(
                "bad",
                "no workers",
                "No worker takes messages from any queue.",
                "Start workers: `dramatiq actors`, or `honcho start` for everything.",
            )
        )
    elif unread:
        names = ", ".join(queue.queue_name for queue in unread)
        found.append(
            Problem(
                "bad",
                "queue unread",
                f"No worker takes messages from {names}.",
                "Start a worker for them: `dramatiq actors` takes all, `-Q` only those it names.",
            )
        )
    seen = overview.scheduler_seen_seconds
    if seen is None or seen > SCHEDULER_SECONDS:
        since = "No scheduler has ever ticked here" if seen is None else f"No scheduler has ticked for {_span(seen)}"
        found.append(
            Problem(
                "bad",
                "no scheduler",
                f"{since}: nobody is synced by themselves.",
                "Start one: `python scheduler.py`, or `honcho start` for everything.",
            )
        )
    return found


def _esi(overview: Overview) -> list[Problem]:
    found = []
    if overview.gate.blocked_seconds:
        found.append(
            Problem(
                "warn",
                "ESI away",
                f"Nothing is sent to ESI for {_span(overview.gate.blocked_seconds)}.",
                "ESI is down (daily at 11:00 UTC) or asked for it. Nothing to do: it goes on by itself.",
            )
        )
    found += [
        Problem(
            "warn",
            "budget blocked",
            f"ESI asked for a pause of {_span(budget.blocked_seconds)} on {budget.bucket}.",
            "Look whether something else uses this public address; hosts that share one need the same ESI_EGRESS.",
        )
        for budget in overview.budgets
        if budget.blocked_seconds
    ]
    rates = overview.rates
    requests, failures = rates.requests_last_quarter, rates.failures_last_quarter
    is_share = failures > FAILURE_SHARE * requests
    if is_share and (requests >= FAILURE_LEAST or (failures > 1 and 2 * failures >= requests)):
        found.append(
            Problem(
                "warn",
                "ESI failing",
                f"{failures} of {requests} requests of the last 15 minutes failed.",
                "Look at ESI's status page and at the network of this host.",
            )
        )
    limited = rates.errors_last_hour.get("429", 0) + rates.errors_last_hour.get("420", 0)
    if limited:
        found.append(
            Problem(
                "warn",
                "rate limited",
                f"ESI refused {limited} requests of the last hour for their rate.",
                "Look whether something else uses this public address; see docs/tuning.md on ESI_EGRESS.",
            )
        )
    return found


def _syncs(overview: Overview) -> list[Problem]:
    syncs, budgets = overview.syncs, overview.character_budgets
    found = []
    if syncs.failing and syncs.failing >= FAILING_SHARE * syncs.looked_at:
        found.append(
            Problem(
                "bad" if 2 * syncs.failing >= syncs.looked_at else "warn",
                "syncs failing",
                f"The last sync of {syncs.failing} of {syncs.looked_at} lists failed: {syncs.failing_reason}.",
                "Mend what the reason names; they are tried again within the hour, or at once by Sync now.",
            )
        )
    blocked = max(budgets.empty, budgets.blocked)
    if syncs.waiting and syncs.waiting >= WAITING_SHARE * syncs.looked_at:
        found.append(
            Problem(
                "warn",
                "syncs waiting",
                f"{syncs.waiting} of {syncs.looked_at} lists wait: {syncs.waiting_reason}.",
                "They go on by themselves. If it happens again and again, raise SYNC_INTERVAL_SECONDS.",
            )
        )
    elif blocked and blocked >= WAITING_SHARE * budgets.known:
        found.append(
            Problem(
                "warn",
                "characters blocked",
                f"{blocked} of {budgets.known} characters have spent what ESI allows them in a quarter of an hour.",
                "They go on by themselves. If it happens again and again, raise SYNC_INTERVAL_SECONDS.",
            )
        )
    return found


def _sso(overview: Overview) -> list[Problem]:
    found = []
    if overview.sso.trouble_seconds is not None:
        found.append(
            Problem(
                "warn",
                "SSO refuses",
                f"EVE's login has refused everybody's tokens for {_span(overview.sso.trouble_seconds)}.",
                "It is EVE's trouble: tokens are kept, and one is tried about once a minute. It goes on by itself.",
            )
        )
    known, doubted = overview.users.active, overview.sso.doubted
    if not found and doubted >= NEEDS_LOGIN_LEAST and doubted / known > NEEDS_LOGIN_SHARE:
        found.append(
            Problem(
                "warn",
                "tokens doubted",
                f"EVE's login refused the tokens of {doubted} of {known} active users.",
                "Each is asked again by itself. If it lasts, check SSO_CLIENT_ID, its secret and its scopes at CCP.",
            )
        )
    return found


def _names(overview: Overview) -> list[Problem]:
    names = overview.names
    if not names.trouble:
        return []
    return [
        Problem(
            "warn",
            "names in trouble",
            f"ESI has refused to name {', '.join(names.trouble)} for {_span(names.trouble_seconds)}; "
            f"{names.unnamed} names are unknown.",
            "They are asked for one by one, the newest killmails' first, until ESI answers again. Nothing to do.",
        )
    ]


def _users(overview: Overview) -> list[Problem]:
    found = []
    is_many = overview.late_users >= LATE_SHARE * overview.users.active
    if overview.late_users and (is_many or (overview.latest_seconds or 0) > LATE_SECONDS):
        found.append(
            Problem(
                "warn",
                "users late",
                f"{overview.late_users} users wait for their sync, up to {_span(overview.latest_seconds or 0)}.",
                "Look whether workers run and budget is left; more threads help only while it is.",
            )
        )
    tokens = overview.users
    known = tokens.active + tokens.needs_login
    is_share = tokens.needs_login > NEEDS_LOGIN_SHARE * known
    if is_share and (tokens.needs_login >= NEEDS_LOGIN_LEAST or 2 * tokens.needs_login >= known):
        found.append(
            Problem(
                "warn",
                "logins needed",
                f"{tokens.needs_login} of {known} users have to log in again.",
                "If they became so many at once, check SSO_CLIENT_ID, its secret and its scopes at CCP.",
            )
        )
    return found


def _leftovers(overview: Overview) -> list[Problem]:
    found = []
    dead = [queue for queue in overview.queues if queue.dead_count]
    if dead:
        names = ", ".join(f"{queue.dead_count} in {queue.queue_name}" for queue in dead)
        found.append(
            Problem(
                "warn",
                "dead letters",
                f"Messages were given up: {names}.",
                "The workers' log has the reason. Their work is sent again from the tables; RabbitMQ drops "
                "them after a week.",
            )
        )
    oldest = overview.oldest_pending
    if oldest and oldest.last_error and (oldest.seconds or 0) > PENDING_SECONDS:
        found.append(
            Problem(
                "warn",
                "killmail stuck",
                f"Killmail {oldest.killmail_id} has waited {_span(oldest.seconds)}: {oldest.last_error}.",
                "`killsync ledger` shows it; it is tried again by itself.",
            )
        )
    return found


def _webhooks(overview: Overview) -> list[Problem]:
    hooks = overview.webhooks
    if (hooks.oldest_seconds or 0) > WEBHOOK_SECONDS and hooks.failing < hooks.active:
        return [
            Problem(
                "warn",
                "webhooks late",
                f"{hooks.waiting} webhook messages wait, up to "
                f"{_span(hooks.oldest_seconds)}; {hooks.failing} of {hooks.active} webhooks are failing.",
                "Failing receivers are their owners' matter; else look whether workers take notifications_queue.",
            )
        ]
    return []


def _span(seconds: int | None) -> str:
    seconds = seconds or 0
    if seconds < 120:
        return f"{seconds} s"
    if seconds < 7200:
        return f"{seconds // 60} minutes"
    return f"{seconds // 3600} hours" if seconds < 172_800 else f"{seconds // 86_400} days"
