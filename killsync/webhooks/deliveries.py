"""What waits to be delivered to webhooks: taken one by one in order, by one worker at a time, ended by an answer."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from killsync.webhooks.filter import WebhookFilter
from killsync.webhooks.reader import moment_of
from models.db import in_transaction, is_postgres
from models.fields import from_any
from models.sql import rows, run, sql_now
from models.webhooks import DISABLED

DELIVERED, REFUSED, GONE = "delivered", "refused", "gone"


def claim_due(limit: int, seconds: float) -> list[int]:
    """Active webhooks that have something to deliver, are due and are with no worker; left alone for *seconds*."""
    lock = "FOR UPDATE SKIP LOCKED" if is_postgres() else ""
    now = sql_now()
    sql = (
        f"UPDATE webhook SET due_at = {sql_now(seconds)} WHERE id IN (SELECT id FROM webhook w WHERE status = 'active' "
        f"AND due_at <= {now} AND coalesce(wait_until, due_at) <= {now} AND coalesce(leased_until, due_at) <= {now} "
        "AND EXISTS (SELECT 1 FROM webhook_delivery d WHERE d.webhook_id = w.id AND d.ended_at IS NULL) "
        f"ORDER BY due_at LIMIT %s {lock}) RETURNING id"
    )
    return [number for (number,) in in_transaction(lambda: rows(sql, (limit,)))]


@dataclass(frozen=True)
class Target:
    """A webhook under lease; *url* and *secret* are ciphertext."""

    webhook_id: int
    account_id: int
    name: str
    kind: str
    url: str
    secret: str | None
    filter: WebhookFilter
    failures: int
    failing_since: datetime | None
    character_ids: tuple[int, ...]


@dataclass(frozen=True)
class Waiting:
    """The next delivery of a webhook."""

    delivery_id: int
    killmail_id: int
    entered_at: datetime
    attempts: int


def lease(webhook_id: int, holder: str, message_id: str, seconds: float) -> Target | None:
    """Take a webhook for *seconds*; None when its receiver asked for a pause, or another worker is at it.

    *holder* begins with *message_id*: a message that comes again was taken from a worker that died, and takes over.
    """

    def work() -> Target | None:
        taken = rows(
            f"UPDATE webhook SET leased_by = %s, leased_until = {sql_now(seconds)} WHERE id = %s AND status = 'active' "
            f"AND (wait_until IS NULL OR wait_until <= {sql_now()}) "
            f"AND (leased_until IS NULL OR leased_until <= {sql_now()} OR leased_by LIKE %s) "
            "RETURNING id, account_id, name, kind, url, secret, wants, failures, failing_since",
            (holder, webhook_id, f"{message_id}:%"),
        )
        if not taken:
            return None
        number, account, name, kind, url, secret, text, failures, failing = taken[0]
        pilots = rows('SELECT character_id FROM "user" WHERE account_id = %s', (account,))
        return Target(number, account, name, kind, url, secret, WebhookFilter.load(text), failures, from_any(failing),
                      tuple(pilot for (pilot,) in pilots))  # fmt: skip

    return in_transaction(work)


def release(webhook_id: int, holder: str) -> None:
    """Give it back: due again as soon as something waits."""
    sql = f"UPDATE webhook SET leased_by = NULL, leased_until = NULL, due_at = {sql_now()} WHERE id = %s AND leased_by = %s"
    in_transaction(lambda: run(sql, (webhook_id, holder)))


def next_waiting(webhook_id: int) -> Waiting | None:
    """The delivery whose turn it is."""
    found = rows(
        "SELECT id, killmail_id, created_at, attempts FROM webhook_delivery WHERE webhook_id = %s AND ended_at IS NULL "
        "ORDER BY id LIMIT 1",
        (webhook_id,),
    )
    return Waiting(found[0][0], found[0][1], moment_of(found[0][2]), found[0][3]) if found else None


def record_delivery(webhook_id: int, delivery_id: int, holder: str, pause: float, lease_seconds: float) -> bool:
    """Its receiver has it; the next one not before *pause* seconds. False when another worker took over meanwhile."""

    def work() -> bool:
        held = run(
            f"UPDATE webhook SET delivered = delivered + 1, last_delivered_at = {sql_now()}, failures = 0, "
            "failing_since = NULL, last_error = NULL, "
            f"wait_until = {sql_now(pause) if pause > 0 else 'NULL'}, leased_until = {sql_now(lease_seconds)} "
            "WHERE id = %s AND leased_by = %s",
            (webhook_id, holder),
        )
        run(_END.format(now=sql_now()), (DELIVERED, delivery_id))
        return bool(held)

    return in_transaction(work)


_END = "UPDATE webhook_delivery SET ended_at = {now}, outcome = %s, attempts = attempts + 1 WHERE id = %s"


def skip(delivery_id: int, outcome: str) -> None:
    """This one will never be taken by its receiver, or is of no more use."""
    in_transaction(lambda: run(_END.format(now=sql_now()), (outcome, delivery_id)))


def defer(webhook_id: int, holder: str, seconds: float) -> None:
    """Through no fault of anybody: the next try not before *seconds*."""
    sql = (
        f"UPDATE webhook SET wait_until = {sql_now(seconds)}, due_at = {sql_now(seconds)}, leased_by = NULL, "
        "leased_until = NULL WHERE id = %s AND leased_by = %s"
    )
    in_transaction(lambda: run(sql, (webhook_id, holder)))


def defer_kind(kind: str, seconds: float) -> None:
    """A receiver asked every sender of ours to pause: Discord's global limit."""
    sql = (
        f"UPDATE webhook SET wait_until = {sql_now(seconds)} WHERE kind = %s "
        f"AND (wait_until IS NULL OR wait_until < {sql_now(seconds)})"
    )
    in_transaction(lambda: run(sql, (kind,)))


def record_failure(webhook_id: int, delivery_id: int, holder: str, reason: str, seconds: float) -> None:
    """It was not taken: note why, next try in *seconds*."""

    def work() -> None:
        run("UPDATE webhook_delivery SET attempts = attempts + 1 WHERE id = %s", (delivery_id,))
        run(
            "UPDATE webhook SET failures = failures + 1, last_error = %s, "
            f"failing_since = coalesce(failing_since, {sql_now()}), wait_until = {sql_now(seconds)}, "
            f"due_at = {sql_now(seconds)}, leased_by = NULL, leased_until = NULL WHERE id = %s AND leased_by = %s",
            (reason[:300], webhook_id, holder),
        )

    in_transaction(work)


def disable(webhook_id: int, reason: str) -> None:
    """Give up on a webhook; its owner sees why and can resume it. What waits is kept."""
    sql = (
        "UPDATE webhook SET status = %s, reason = %s, leased_by = NULL, leased_until = NULL "
        "WHERE id = %s AND status = 'active'"
    )
    in_transaction(lambda: run(sql, (DISABLED, reason[:300], webhook_id)))


def prune(keep_seconds: float) -> int:
    """Forget deliveries that ended long ago; the number."""
    return run(f"DELETE FROM webhook_delivery WHERE ended_at < {sql_now(-keep_seconds)}")
