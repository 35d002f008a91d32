"""What waits to be delivered to webhooks: taken one by one in order, by one worker at a time, ended by an answer."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from peewee import Node, fn

from killsync.webhooks.filter import WebhookFilter
from models.db import in_transaction
from models.expressions import locked, now
from models.users import User
from models.webhooks import ACTIVE, DISABLED, Webhook, WebhookDelivery

DELIVERED, REFUSED, GONE = "delivered", "refused", "gone"


def claim_due(limit: int, seconds: float) -> list[int]:
    """Active webhooks that have something to deliver, are due and are with no worker; left alone for *seconds*."""
    waiting = WebhookDelivery.select(WebhookDelivery.id).where(
        WebhookDelivery.webhook_id == Webhook.id, WebhookDelivery.ended_at.is_null()
    )
    due = (
        Webhook.select(Webhook.id)
        .where(
            Webhook.status == ACTIVE,
            Webhook.due_at <= now(),
            fn.COALESCE(Webhook.wait_until, Webhook.due_at) <= now(),
            fn.COALESCE(Webhook.leased_until, Webhook.due_at) <= now(),
            fn.EXISTS(waiting),
        )
        .order_by(Webhook.due_at)
        .limit(limit)
    )
    claiming = Webhook.update(due_at=now(seconds)).where(Webhook.id.in_(locked(due, skip=True))).returning(Webhook.id)
    return [row.id for row in in_transaction(lambda: list(claiming.namedtuples().execute()))]


def unclaim(webhook_id: int) -> None:
    """Nobody could work on a claimed webhook: it is due again, behind those that are due already."""
    in_transaction(Webhook.update(due_at=now()).where(Webhook.id == webhook_id, Webhook.due_at > now()).execute)


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
        is_ready = Webhook.wait_until.is_null() | (Webhook.wait_until <= now())
        is_free = (
            Webhook.leased_until.is_null()
            | (Webhook.leased_until <= now())
            | Webhook.leased_by.startswith(f"{message_id}:")
        )
        leasing = (
            Webhook.update(leased_by=holder, leased_until=now(seconds))
            .where(Webhook.id == webhook_id, Webhook.status == ACTIVE, is_ready, is_free)
            .returning(Webhook)
        )
        webhook = next(iter(leasing.execute()), None)
        if webhook is None:
            return None
        pilots = User.select(User.character_id).where(User.account_id == webhook.account_id).namedtuples()
        return Target(
            webhook_id=webhook.id,
            account_id=webhook.account_id,
            name=webhook.name,
            kind=webhook.kind,
            url=webhook.url,
            secret=webhook.secret,
            filter=WebhookFilter.load(webhook.wants),
            failures=webhook.failures,
            failing_since=webhook.failing_since,
            character_ids=tuple(pilot.character_id for pilot in pilots),
        )

    return in_transaction(work)


def _held(webhook_id: int, holder: str) -> Node:
    """The webhook, as long as nobody has taken it over."""
    condition: Node = (Webhook.id == webhook_id) & (Webhook.leased_by == holder)
    return condition


def release(webhook_id: int, holder: str) -> None:
    """Give it back: due again as soon as something waits."""
    releasing = Webhook.update(leased_by=None, leased_until=None, due_at=now())
    in_transaction(releasing.where(_held(webhook_id, holder)).execute)


def next_waiting(webhook_id: int) -> Waiting | None:
    """The delivery whose turn it is."""
    delivery = (
        WebhookDelivery.select()
        .where(WebhookDelivery.webhook_id == webhook_id, WebhookDelivery.ended_at.is_null())
        .order_by(WebhookDelivery.id)
        .first()
    )
    if delivery is None:
        return None
    return Waiting(delivery.id, delivery.killmail_id, delivery.created_at, delivery.attempts)


def record_delivery(webhook_id: int, delivery_id: int, holder: str, pause: float, lease_seconds: float) -> bool:
    """Its receiver has it; the next one not before *pause* seconds. False when another worker took over meanwhile."""

    def work() -> bool:
        updating = Webhook.update(
            delivered=Webhook.delivered + 1,
            last_delivered_at=now(),
            failures=0,
            failing_since=None,
            last_error=None,
            wait_until=now(pause) if pause > 0 else None,
            leased_until=now(lease_seconds),
        )
        held = updating.where(_held(webhook_id, holder)).execute()
        _end(delivery_id, DELIVERED)
        return bool(held)

    return in_transaction(work)


def skip(delivery_id: int, outcome: str) -> None:
    """This one will never be taken by its receiver, or is of no more use."""
    in_transaction(lambda: _end(delivery_id, outcome))


def _end(delivery_id: int, outcome: str) -> None:
    WebhookDelivery.update(ended_at=now(), outcome=outcome, attempts=WebhookDelivery.attempts + 1).where(
        WebhookDelivery.id == delivery_id
    ).execute()


def defer(webhook_id: int, holder: str, seconds: float) -> None:
    """Through no fault of anybody: the next try not before *seconds*."""
    deferring = Webhook.update(**_not_before(seconds)).where(_held(webhook_id, holder))
    in_transaction(deferring.execute)


def _not_before(seconds: float) -> dict[str, Any]:
    return {"wait_until": now(seconds), "due_at": now(seconds), "leased_by": None, "leased_until": None}


def defer_kind(kind: str, seconds: float) -> None:
    """A receiver asked every sender of ours to pause: Discord's global limit."""
    is_sooner = Webhook.wait_until.is_null() | (Webhook.wait_until < now(seconds))
    in_transaction(Webhook.update(wait_until=now(seconds)).where(Webhook.kind == kind, is_sooner).execute)


def record_failure(webhook_id: int, delivery_id: int, holder: str, reason: str, seconds: float) -> None:
    """It was not taken: note why, next try in *seconds*."""

    def work() -> None:
        WebhookDelivery.update(attempts=WebhookDelivery.attempts + 1).where(WebhookDelivery.id == delivery_id).execute()
        Webhook.update(
            failures=Webhook.failures + 1,
            last_error=reason[:300],
            failing_since=fn.COALESCE(Webhook.failing_since, now()),
            **_not_before(seconds),
        ).where(_held(webhook_id, holder)).execute()

    in_transaction(work)


def disable(webhook_id: int, reason: str) -> None:
    """Give up on a webhook; its owner sees why and can resume it. What waits is kept."""
    disabling = Webhook.update(status=DISABLED, reason=reason[:300], leased_by=None, leased_until=None)
    in_transaction(disabling.where(Webhook.id == webhook_id, Webhook.status == ACTIVE).execute)


def prune(keep_seconds: float) -> int:
    """Delete deliveries that ended long ago; the number."""
    return int(WebhookDelivery.delete().where(WebhookDelivery.ended_at < now(-keep_seconds)).execute())
