"""What waits for a webhook, in its order: the next killmail, and which tracker speaks of it. Reads only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from peewee import Node

from killsync.webhooks.voice import Voice
from models.expressions import now
from models.webhooks import ACTIVE, Tracker, Webhook, WebhookDelivery


def may_send(webhook: Any) -> Node:
    """Nobody asked for a pause that still lasts."""
    condition: Node = webhook.wait_until.is_null() | (webhook.wait_until <= now())
    return condition


@dataclass(frozen=True)
class Target:
    """A webhook under lease; *url* and *secret* are ciphertext."""

    webhook_id: int
    account_id: int
    name: str
    kind: str
    url: str
    secret: str | None


def target_of(webhook: Any) -> Target | None:
    """The target that a row of a webhook is."""
    if webhook is None:
        return None
    return Target(webhook.id, webhook.account_id, webhook.name, webhook.kind, webhook.url, webhook.secret)


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


def waiting_for(webhook_id: Any) -> Any:
    """What waits for a webhook, but for what its paused trackers keep."""
    delivery = (WebhookDelivery.id, WebhookDelivery.killmail_id, WebhookDelivery.created_at, WebhookDelivery.attempts,
                WebhookDelivery.tracker_id)  # fmt: skip
    voice = (Tracker.wants, Tracker.name, Tracker.title, Tracker.color, Tracker.ping, Tracker.thread_id)
    query: Any = WebhookDelivery.select(*delivery, *voice).join(Tracker, on=(Tracker.id == WebhookDelivery.tracker_id))
    is_open = WebhookDelivery.ended_at.is_null() & (Tracker.status == ACTIVE)
    return query.where((WebhookDelivery.webhook_id == webhook_id) & is_open)


def next_waiting(webhook_id: int) -> Waiting | None:
    """The delivery whose turn it is; None also while the webhook is switched off, or a pause lasts."""
    query = waiting_for(webhook_id).join(Webhook, on=(Webhook.id == WebhookDelivery.webhook_id))
    query = query.where((Webhook.status == ACTIVE) & may_send(Webhook))
    row = query.order_by(WebhookDelivery.id).limit(1).namedtuples().first()
    if row is None:
        return None
    voice = Voice(row.name, row.title, row.color, row.ping, row.thread_id)
    return Waiting(row.id, row.killmail_id, row.created_at, row.attempts, row.tracker_id, row.wants, voice)
