"""Webhooks, where a player wants to be told of killmails; trackers, of which; and what waits. Addresses are ciphertext."""

from __future__ import annotations

from peewee import BigAutoField, BigIntegerField, BooleanField, IntegerField, TextField

from models.expressions import now
from models.fields import BaseModel, UtcDateTimeField

DISCORD = "discord"
SLACK = "slack"
JSON = "json"
KINDS = (DISCORD, SLACK, JSON)

ACTIVE = "active"
PAUSED = "paused"
DISABLED = "disabled"


class Webhook(BaseModel):
    """One address of one account. Killmails stored before `since` are none of its business.

    Nothing is sent before `wait_until`; `asked_until` is the part of it that its receiver asked for. `is_slow`: it took
    long to answer the last time.
    """

    id = BigAutoField()
    account_id = BigIntegerField(index=True)
    name = TextField()
    kind = TextField()
    url = TextField()
    url_hint = TextField()
    secret = TextField(null=True)
    status = TextField(default=ACTIVE)
    reason = TextField(null=True)
    since = UtcDateTimeField(default=now)
    failures = IntegerField(default=0)
    failing_since = UtcDateTimeField(null=True)
    last_error = TextField(null=True)
    delivered = BigIntegerField(default=0)
    last_delivered_at = UtcDateTimeField(null=True)
    due_at = UtcDateTimeField(default=now)
    wait_until = UtcDateTimeField(null=True)
    asked_until = UtcDateTimeField(null=True)
    is_slow = BooleanField(default=False)
    leased_by = TextField(null=True)
    leased_until = UtcDateTimeField(null=True)
    created_at = UtcDateTimeField(default=now)

    class Meta:
        table_name = "webhook"


class Tracker(BaseModel):
    """What is told to a webhook, and how: `wants` is a filter as JSON (`killsync.killmails.filter_forms`).

    Killmails stored before `since` are none of its business. `version` rises with every change, also of its webhook.
    """

    id = BigAutoField()
    webhook_id = BigIntegerField(index=True)
    name = TextField()
    wants = TextField()
    title = TextField(default="")
    color = IntegerField(null=True)
    ping = TextField(default="")
    thread_id = TextField(default="")
    status = TextField(default=ACTIVE)
    reason = TextField(null=True)
    version = BigIntegerField(default=1)
    since = UtcDateTimeField(default=now)
    delivered = BigIntegerField(default=0)
    last_delivered_at = UtcDateTimeField(null=True)
    created_at = UtcDateTimeField(default=now)

    class Meta:
        table_name = "tracker"


class WebhookDelivery(BaseModel):
    """One killmail for one tracker of a webhook; its id is its place in the order. `ended_at` empty: still to be delivered."""

    id = BigAutoField()
    webhook_id = BigIntegerField()
    tracker_id = BigIntegerField()
    killmail_id = BigIntegerField()
    created_at = UtcDateTimeField(default=now)
    attempts = IntegerField(default=0)
    ended_at = UtcDateTimeField(null=True)
    outcome = TextField(null=True)

    class Meta:
        table_name = "webhook_delivery"
        indexes = ((("tracker_id", "killmail_id"), True),)
