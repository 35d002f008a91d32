"""What waits to be delivered to webhooks: taken one by one in order, by one worker at a time, ended by an answer."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from peewee import Case, Node, fn

from killsync.webhooks.giving_up import disable
from killsync.webhooks.policy import Consequence, Failures
from killsync.webhooks.slots import Lane
from killsync.webhooks.waiting import Target, Waiting, may_send, next_waiting, target_of, waiting_for
from models.db import in_transaction
from models.exactly_once import in_transaction_once
from models.expressions import later_of, locked, now
from models.fields import moment
from models.webhooks import ACTIVE, Tracker, Webhook, WebhookDelivery

DELIVERED, REFUSED, GONE, UNUSABLE = "delivered", "refused", "gone", "unusable"


def claim_due(limit: int, seconds: float, *, is_slow: bool = False) -> list[int]:
    """Active webhooks that have something to deliver, are due and are with no worker; left alone for *seconds*.

    In the order in which they are to be sent to workers. Accounts take turns: whose webhooks are with fewer workers comes
    first. Slow receivers are claimed apart from the others.
    """

    def work() -> list[int]:
        ids = [row.id for row in _lock_due(limit, is_slow=is_slow)]
        if ids:
            Webhook.update(due_at=now(seconds)).where(Webhook.id.in_(ids)).execute()
        return ids

    return in_transaction_once(work)


def take_due(holder: str, seconds: float, *, is_slow: bool, but: Collection[int] = ()) -> Target | None:
    """Take the webhook that `claim_due` would give for *seconds*, none of the accounts *but*; None when none is due."""

    def work() -> Target | None:
        ids = [row.id for row in _lock_due(1, is_slow=is_slow, but=but)]
        return _lease(Webhook.id == ids[0], holder, seconds) if ids else None

    return in_transaction_once(work)


def _lock_due(limit: int, *, is_slow: bool, but: Collection[int] = ()) -> list[Any]:
    """The first webhooks that are due, locked."""
    other = Webhook.alias()
    is_with_a_worker = (other.leased_until > now()) | ((other.due_at > now()) & may_send(other))
    at_work = other.select(fn.COUNT(other.id)).where(other.account_id == Webhook.account_id, is_with_a_worker)
    place = fn.ROW_NUMBER().over(partition_by=[Webhook.account_id], order_by=[Webhook.due_at, Webhook.id])
    due = (
        Webhook.select(Webhook.id, (place + at_work).alias("turn"))
        .where(
            Webhook.status == ACTIVE,
            Webhook.is_slow == is_slow,
            Webhook.due_at <= now(),
            may_send(Webhook),
            fn.COALESCE(Webhook.leased_until, Webhook.due_at) <= now(),
            Webhook.account_id.not_in(sorted(but)),
            fn.EXISTS(waiting_for(Webhook.id)),
        )
        .alias("due")
    )
    # Looked at again when the row is locked: another process may have claimed it meanwhile.
    claimable = (
        Webhook.select(Webhook.id)
        .join(due, on=(due.c.id == Webhook.id))
        .where(Webhook.due_at <= now(), fn.COALESCE(Webhook.leased_until, Webhook.due_at) <= now())
        .order_by(due.c.turn, Webhook.due_at)
        .limit(limit)
    )
    return list(locked(claimable, skip=True, of=Webhook).namedtuples())


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
    condition = (Webhook.id == webhook_id) & (Webhook.status == ACTIVE) & may_send(Webhook) & may_take
    return in_transaction(lambda: _lease(condition, holder, seconds))


def _lease(condition: Node, holder: str, seconds: float) -> Target | None:
    leasing = Webhook.update(leased_by=holder, leased_until=now(seconds)).where(condition).returning(Webhook)
    return target_of(next(iter(leasing.execute()), None))


def let_go(message_id: str) -> None:
    """Whatever the worker held that took this message before and died: due again."""
    is_its = Webhook.leased_by.startswith(f"{message_id}:")
    in_transaction(Webhook.update(leased_by=None, leased_until=None, due_at=now()).where(is_its).execute)


def _held(webhook_id: int, holder: str) -> Node:
    """The webhook, as long as nobody has taken it over."""
    condition: Node = (Webhook.id == webhook_id) & (Webhook.leased_by == holder)
    return condition


def release(webhook_id: int, holder: str) -> None:
    """Give it back: due again as soon as something waits."""
    in_transaction(lambda: _release(webhook_id, holder))


def _release(webhook_id: int, holder: str) -> None:
    Webhook.update(leased_by=None, leased_until=None, due_at=now()).where(_held(webhook_id, holder)).execute()


@dataclass(frozen=True)
class Follows:
    """What follows a delivery: whether the webhook is still held, and what comes next at once, for the webhook as it is now."""

    is_held: bool
    target: Target | None = None
    waiting: Waiting | None = None


def record_delivery(
    webhook_id: int, delivery_id: int, holder: str, pause: float, lease_seconds: float, *, is_slow: bool = False
) -> Follows:
    """Its receiver has it; the next one not before *pause* seconds. When nothing can follow, the webhook is given back.

    When a pause is due it is still held, and when another worker took over meanwhile it is not.
    """

    def work() -> Follows:
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
        held = target_of(next(iter(updating.where(_held(webhook_id, holder)).returning(Webhook).execute()), None))
        of_delivery = WebhookDelivery.select(WebhookDelivery.tracker_id).where(WebhookDelivery.id == delivery_id)
        Tracker.update(
            delivered=Tracker.delivered + Case(None, ((fn.EXISTS(is_open), 1),), 0), last_delivered_at=now()
        ).where(Tracker.id.in_(of_delivery)).execute()
        _end(delivery_id, DELIVERED)
        if held is None or pause > 0:
            return Follows(is_held=held is not None)
        waiting = next_waiting(webhook_id)
        if waiting is None:
            _release(webhook_id, holder)
        return Follows(waiting is not None, held, waiting)

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
