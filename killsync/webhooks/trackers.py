"""Trackers: which killmails are told to a webhook, and how. Each function touches the trackers of one account alone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from peewee import Node, fn

from killsync.killmails.filter import KillmailFilter
from killsync.killmails.filter_forms import BadFilter, from_json, to_json
from killsync.webhooks.subscribers import own_of_account
from killsync.webhooks.voice import Voice
from models.db import in_transaction
from models.exactly_once import in_transaction_once
from models.expressions import locked, now
from models.fields import moment
from models.users import Account
from models.webhooks import ACTIVE, PAUSED, Tracker, Webhook, WebhookDelivery

#: Trackers of one account.
MOST = 200


@dataclass(frozen=True)
class Row:
    """A tracker as its owner sees it. `problem`: why its filter cannot be used; `filter` wants nothing in particular then."""

    id: int
    webhook_id: int
    filter: KillmailFilter
    voice: Voice
    status: str
    reason: str | None
    delivered: int
    last_delivered_at: datetime | None
    waiting: int
    problem: str | None = None

    @property
    def name(self) -> str:
        return self.voice.name


@dataclass(frozen=True)
class Sent:
    """One killmail that a tracker wanted. `outcome`: None as long as it waits."""

    killmail_id: int
    entered_at: datetime
    ended_at: datetime | None
    outcome: str | None
    attempts: int


def of_account(account_id: int) -> list[Row]:
    """The trackers of an account, oldest first."""
    return _rows(account_id, Webhook.account_id == account_id)


def one(account_id: int, tracker_id: int) -> Row | None:
    """One tracker of an account; None when it is another's, or gone."""
    return next(iter(_rows(account_id, (Tracker.id == tracker_id) & (Webhook.account_id == account_id))), None)


def _rows(account_id: int, condition: Any) -> list[Row]:
    waiting = WebhookDelivery.select(fn.COUNT(WebhookDelivery.id)).where(
        WebhookDelivery.tracker_id == Tracker.id, WebhookDelivery.ended_at.is_null()
    )
    query: Any = Tracker.select(Tracker, waiting.alias("waiting")).join(Webhook, on=(Webhook.id == Tracker.webhook_id))
    found = list(query.where(condition).order_by(Tracker.id).dicts())
    own = own_of_account(account_id) if found else None
    return [_row(row, own) for row in found]


def _row(row: dict[str, Any], own: Any) -> Row:
    problem, chosen = None, KillmailFilter()
    try:
        chosen = from_json(row["wants"], own)
    except BadFilter as error:
        problem = str(error)
    voice = Voice(row["name"], row["title"], row["color"], row["ping"], row["thread_id"])
    last = row["last_delivered_at"]
    return Row(
        id=row["id"], webhook_id=row["webhook_id"], filter=chosen, voice=voice, status=row["status"], reason=row["reason"],
        delivered=row["delivered"], last_delivered_at=moment(last) if last else None, waiting=row["waiting"], problem=problem,
    )  # fmt: skip


def create(
    account_id: int, webhook_id: int, voice: Voice, chosen: KillmailFilter, *, status: str = ACTIVE
) -> int | None:
    """Enter a tracker; its id, or None when the account has MOST already, or no such webhook."""

    def work() -> int | None:
        # The account's row is locked, so that two requests at once cannot both be the last that fits.
        if locked(Account.select(Account.id).where(Account.id == account_id)).first() is None:
            return None
        mine = Webhook.select(Webhook.id).where(Webhook.account_id == account_id)
        if not mine.where(Webhook.id == webhook_id).exists():
            return None
        if Tracker.select().where(Tracker.webhook_id.in_(mine)).count() >= MOST:
            return None
        values = {"webhook_id": webhook_id, "wants": to_json(chosen), "since": now(), "status": status, **_voice(voice)}
        return int(Tracker.insert(**values).execute())

    return in_transaction_once(work)


def _voice(voice: Voice) -> dict[str, Any]:
    return {"name": voice.name, "title": voice.title, "color": voice.color, "ping": voice.ping,
            "thread_id": voice.thread_id}  # fmt: skip


def change(account_id: int, tracker_id: int, webhook_id: int, voice: Voice, chosen: KillmailFilter) -> bool:
    """Give a tracker another name, filter, webhook and voice. What waits goes where it now belongs."""

    def work() -> bool:
        mine = Webhook.select(Webhook.id).where(Webhook.account_id == account_id)
        if not mine.where(Webhook.id == webhook_id).exists():
            return False
        if not _changed(account_id, tracker_id, webhook_id=webhook_id, wants=to_json(chosen), **_voice(voice)):
            return False
        is_open = (WebhookDelivery.tracker_id == tracker_id) & WebhookDelivery.ended_at.is_null()
        WebhookDelivery.update(webhook_id=webhook_id).where(is_open, WebhookDelivery.webhook_id != webhook_id).execute()
        return True

    return in_transaction(work)


def duplicate(account_id: int, tracker_id: int) -> int | None:
    """Enter the same once more, paused, so that it is changed before it speaks; its id."""
    row = one(account_id, tracker_id)
    if row is None or row.problem is not None:
        return None
    name = f"{row.voice.name[:50]} (copy)"
    voice = Voice(name, row.voice.title, row.voice.color, row.voice.ping, row.voice.thread_id)
    return create(account_id, row.webhook_id, voice, row.filter, status=PAUSED)


def pause(account_id: int, tracker_id: int) -> bool:
    """Tell nothing more until `resume`; what waits is kept."""
    return in_transaction(lambda: _changed(account_id, tracker_id, Tracker.status == ACTIVE, status=PAUSED))


def resume(account_id: int, tracker_id: int) -> bool:
    """Go on: first with what waited, then with what is stored from now on."""
    values = {"status": ACTIVE, "reason": None, "since": now()}
    return in_transaction(lambda: _changed(account_id, tracker_id, Tracker.status != ACTIVE, **values))


def delete(account_id: int, tracker_id: int) -> bool:
    """Delete it with all that waits for it."""

    def work() -> bool:
        # The tracker before its deliveries, as the reader locks them.
        if locked(Tracker.select(Tracker.id).where(_mine(account_id, tracker_id))).first() is None:
            return False
        WebhookDelivery.delete().where(WebhookDelivery.tracker_id == tracker_id).execute()
        return bool(Tracker.delete().where(Tracker.id == tracker_id).execute())

    return in_transaction(work)


def _changed(account_id: int, tracker_id: int, *conditions: Node, **values: Any) -> bool:
    updating = Tracker.update(version=Tracker.version + 1, **values)
    return bool(updating.where(_mine(account_id, tracker_id), *conditions).execute())


def _mine(account_id: int, tracker_id: int) -> Any:
    webhooks = Webhook.select(Webhook.id).where(Webhook.account_id == account_id)
    return (Tracker.id == tracker_id) & Tracker.webhook_id.in_(webhooks)


def lately(tracker_id: int, limit: int) -> list[Sent]:
    """What a tracker wanted lately, the newest first."""
    query: Any = WebhookDelivery.select().where(WebhookDelivery.tracker_id == tracker_id)
    return [
        Sent(row.killmail_id, row.created_at, row.ended_at, row.outcome, row.attempts)
        for row in query.order_by(WebhookDelivery.id.desc()).limit(limit).namedtuples()
    ]
