"""What waits to be delivered to webhooks: taken one by one in order, by one worker at a time, ended by an answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from peewee import Case, Node, fn

from killsync.webhooks.giving_up import disable
from killsync.webhooks.policy import Consequence, Failures
from killsync.webhooks.slots import Lane
from killsync.webhooks.voice import Voice
from models.db import in_transaction
from models.exactly_once import in_transaction_once
from models.expressions import later_of, locked, now
from models.fields import moment
from models.webhooks import ACTIVE, Tracker, Webhook, WebhookDelivery

DELIVERED, REFUSED, GONE, UNUSABLE = "delivered", "refused", "gone", "unusable"


def _may_send(webhook: Any) -> Node:
    """Nobody asked for a pause that still lasts."""
    condition: Node = webhook.wait_until.is_null() | (webhook.wait_until <= now())
    return condition


def claim_due(limit: int, seconds: float, *, is_slow: bool = False) -> list[int]:
    """Active webhooks that have something to deliver, are due and are with no worker; left alone for *seconds*.

    In the order in which they are to be sent to workers. Accounts take turns: whose webhooks are with fewer workers comes
    first. Slow receivers are claimed apart from the others.
    """
    other = Webhook.alias()
    is_with_a_worker = (other.leased_until > now()) | ((other.due_at > now()) & _may_send(other))
    at_work = other.select(fn.COUNT(other.id)).where(other.account_id == Webhook.account_id, is_with_a_worker)
    waiting = _waiting_for(Webhook.id)
    place = fn.ROW_NUMBER().over(partition_by=[Webhook.account_id], order_by=[Webhook.due_at, Webhook.id])
    due = (
        Webhook.select(Webhook.id, (place + at_work).alias("turn"))
        .where(
            Webhook.status == ACTIVE,
            Webhook.is_slow == is_slow,
            Webhook.due_at <= now(),
            _may_send(Webhook),
            fn.COALESCE(Webhook.leased_until, Webhook.due_at) <= now(),
            fn.EXISTS(waiting),
        )
        .alias("due")
    )
    # Looked at again when the row is locked: another process may have claimed it meanwhile.
    claimable = (
        Webhook.select(Webhook.id)
        .join(due, on=(due.c.id == Webhook.id))
        .where(Webhook.due_at <= now())
        .order_by(due.c.turn, Webhook.due_at)
        .limit(limit)
    )

    def work() -> list[int]:
        ids = [row.id for row in locked(claimable, skip=True, of=Webhook).namedtuples()]
        if ids:
            Webhook.update(due_at=now(seconds)).where(Webhook.id.in_(ids)).execute()
        return ids

    return in_transaction_once(work)


def _waiting_for(webhook_id: Any) -> Any:
    """What waits for a webhook, but for what its paused trackers keep."""
    delivery = (WebhookDelivery.id, WebhookDelivery.killmail_id, WebhookDelivery.created_at, WebhookDelivery.attempts,
                WebhookDelivery.tracker_id)  # fmt: skip
    voice = (Tracker.wants, Tracker.name, Tracker.title, Tracker.color, Tracker.ping, Tracker.thread_id)
    query: Any = WebhookDelivery.select(*delivery, *voice).join(Tracker, on=(Tracker.id == WebhookDelivery.tracker_id))
    is_open = WebhookDelivery.ended_at.is_null() & (Tracker.status == ACTIVE)
    return query.where((WebhookDelivery.webhook_id == webhook_id) & is_open)


def unclaim(webhook_id: int) -> None:
    """Nobody could work on a claimed webhook: it is due again, behind those that are due already."""
    in_transaction(Webhook.update(due_at=now()).where(Webhook.id == webhook_id, Webhook.due_at > now()).execute)


def lane_of(webhook_id: int) -> Lane | None:
    """Which slot a delivery to it takes; None when it is gone or not active."""
    found = (
        Webhook.select(Webhook.account_id, Webhook.is_slow)
        .where(Webhook.id == webhook_id, Webhook.status == ACTIVE)
        .first()
    )
    return Lane(found.account_id, found.is_slow) if found else None


@dataclass(frozen=True)
class Target:
    """A webhook under lease; *url* and *secret* are ciphertext."""

    webhook_id: int
    account_id: int
    name: str
    kind: str
    url: str
    secret: str | None


@dataclass(frozen=True)
class Waiting:
    """The next delivery of a webhook: which tracker speaks, and how; `wants` is its filter as it is stored."""

    delivery_id: int
    killmail_id: int
    entered_at: datetime
    attempts: int
    tracker_id: int
    wants: str
    voice: Voice


def lease(webhook_id: int, holder: str, message_id: str, seconds: float) -> Target | None:
    """Take a webhook for *seconds*; None when its receiver asked for a pause, or another worker is at it.

    *holder* begins with *message_id*: a message that comes again was taken from a worker that died, and takes over.
    """
    is_free = (
        Webhook.leased_until.is_null()
        | (Webhook.leased_until <= now())
        | Webhook.leased_by.startswith(f"{message_id}:")
    )
    return _take(webhook_id, holder, seconds, is_free)


def renew(webhook_id: int, holder: str, seconds: float) -> Target | None:
    """Keep a webhook for *seconds* more, as it is now: its owner may have changed it.

    None when it is paused, deleted or given up, a pause was asked for, or another worker took over.
    """
    return _take(webhook_id, holder, seconds, Webhook.leased_by == holder)


def _take(webhook_id: int, holder: str, seconds: float, may_take: Node) -> Target | None:
    def work() -> Target | None:
        leasing = (
            Webhook.update(leased_by=holder, leased_until=now(seconds))
            .where(Webhook.id == webhook_id, Webhook.status == ACTIVE, _may_send(Webhook), may_take)
            .returning(Webhook)
        )
        webhook = next(iter(leasing.execute()), None)
        if webhook is None:
            return None
        return Target(
            webhook_id=webhook.id,
            account_id=webhook.account_id,
            name=webhook.name,
            kind=webhook.kind,
            url=webhook.url,
            secret=webhook.secret,
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
    row = _waiting_for(webhook_id).order_by(WebhookDelivery.id).limit(1).namedtuples().first()
    if row is None:
        return None
    voice = Voice(row.name, row.title, row.color, row.ping, row.thread_id)
    return Waiting(row.id, row.killmail_id, row.created_at, row.attempts, row.tracker_id, row.wants, voice)


def record_delivery(
    webhook_id: int, delivery_id: int, holder: str, pause: float, lease_seconds: float, *, is_slow: bool = False
) -> bool:
    """Its receiver has it; the next one not before *pause* seconds. False when another worker took over meanwhile."""

    def work() -> bool:
        is_open = WebhookDelivery.select().where(WebhookDelivery.id == delivery_id, WebhookDelivery.ended_at.is_null())
        updating = Webhook.update(
            # Told twice, by a worker that was taken over and by the one that took over, it counts once.
            delivered=Webhook.delivered + Case(None, ((fn.EXISTS(is_open), 1),), 0),
            last_delivered_at=now(),
            failures=0,
            failing_since=None,
            last_error=None,
            is_slow=is_slow,
            leased_until=now(lease_seconds),
            **(_pause(pause, pause) if pause > 0 else {}),
        )
        held = updating.where(_held(webhook_id, holder)).execute()
        of_delivery = WebhookDelivery.select(WebhookDelivery.tracker_id).where(WebhookDelivery.id == delivery_id)
        Tracker.update(
            delivered=Tracker.delivered + Case(None, ((fn.EXISTS(is_open), 1),), 0), last_delivered_at=now()
        ).where(Tracker.id.in_(of_delivery)).execute()
        _end(delivery_id, DELIVERED)
        return bool(held)

    return in_transaction_once(work)


def skip(delivery_id: int, outcome: str) -> None:
    """This one will never be taken by its receiver, or is of no more use."""
    in_transaction(lambda: _end(delivery_id, outcome))


def _end(delivery_id: int, outcome: str) -> None:
    WebhookDelivery.update(ended_at=now(), outcome=outcome, attempts=WebhookDelivery.attempts + 1).where(
        WebhookDelivery.id == delivery_id, WebhookDelivery.ended_at.is_null()
    ).execute()


def defer(webhook_id: int, holder: str, seconds: float, *, asked: float = 0.0) -> bool:
    """Through no fault of anybody: the next try not before *seconds*. *asked*: so long by its receiver's wish.

    False, and nothing is changed, when another worker took over: it is that one's to go on with.
    """
    deferring = Webhook.update(**_give_back(seconds, asked)).where(_held(webhook_id, holder))
    return bool(in_transaction_once(deferring.execute))


def _pause(seconds: float, asked: float = 0.0) -> dict[str, Any]:
    """Nothing before *seconds*: a longer pause, of this receiver or of all of its kind, stays as it is."""
    values: dict[str, Any] = {"wait_until": later_of(Webhook.wait_until, now(seconds))}
    if asked > 0:
        values["asked_until"] = later_of(Webhook.asked_until, now(asked))
    return values


def _give_back(seconds: float, asked: float = 0.0) -> dict[str, Any]:
    return {**_pause(seconds, asked), "due_at": now(seconds), "leased_by": None, "leased_until": None}


def defer_kind(kind: str, seconds: float) -> None:
    """A receiver asked every sender of ours to pause: Discord's global limit."""
    of_kind = locked(Webhook.select(Webhook.id).where(Webhook.kind == kind).order_by(Webhook.id))
    in_transaction(Webhook.update(**_pause(seconds, seconds)).where(Webhook.id.in_(of_kind)).execute)


def record_pause(webhook_id: int, seconds: float) -> None:
    """Its receiver asked for a pause outside a delivery."""
    in_transaction(Webhook.update(**_pause(seconds, seconds)).where(Webhook.id == webhook_id).execute)


def record_failure(
    target: Target,
    delivery_id: int,
    holder: str,
    reason: str,
    judge: Callable[[Failures], Consequence],
    *,
    is_slow: bool = False,
) -> Consequence | None:
    """It was not taken: note why, and do what *judge* makes of the failures that the webhook has by now.

    None, and nothing is noted, when another worker took over, or the address that failed is no longer the webhook's. The
    lease is given back, unless the message is left out and the next one can follow.
    """

    def work() -> Consequence | None:
        is_it = (_held(target.webhook_id, holder)) & (Webhook.url == target.url)
        webhook = locked(Webhook.select(Webhook, now().alias("database_now")).where(is_it)).first()
        if webhook is None:
            return None
        delivery = WebhookDelivery.id == delivery_id
        attempts: int | None = WebhookDelivery.select(WebhookDelivery.attempts).where(delivery).scalar()
        lasting = moment(webhook.database_now) - webhook.failing_since if webhook.failing_since else timedelta(0)
        found = judge(Failures(webhook.failures + 1, lasting, (attempts or 0) + 1))
        if webhook.status == ACTIVE and found.disable is not None:
            disable(target.webhook_id, found.disable)
        goes_on = found.skip and found.disable is None
        Webhook.update(
            failures=Webhook.failures + 1,
            last_error=reason[:300],
            failing_since=fn.COALESCE(Webhook.failing_since, now()),
            is_slow=is_slow,
            **({} if goes_on else _give_back(found.pause, found.asked)),
        ).where(Webhook.id == target.webhook_id).execute()
        if found.skip:
            _end(delivery_id, REFUSED)
        else:
            WebhookDelivery.update(attempts=WebhookDelivery.attempts + 1).where(delivery).execute()
        return found

    return in_transaction_once(work)


def prune(keep_seconds: float) -> int:
    """Delete deliveries that ended long ago; the number."""
    return int(WebhookDelivery.delete().where(WebhookDelivery.ended_at < now(-keep_seconds)).execute())
