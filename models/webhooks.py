"""Webhooks: where a player wants to be notified of killmails, what waits for them. Addresses and secrets are ciphertext."""

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
    wants = TextField()
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


class WebhookDelivery(BaseModel):
    """One killmail for one webhook; its id is its place in the order. `ended_at` empty: still to be delivered."""

    id = BigAutoField()
    webhook_id = BigIntegerField()
    killmail_id = BigIntegerField()
    created_at = UtcDateTimeField(default=now)
    attempts = IntegerField(default=0)
    ended_at = UtcDateTimeField(null=True)
    outcome = TextField(null=True)

    class Meta:
        table_name = "webhook_delivery"
        indexes = ((("webhook_id", "killmail_id"), True),)
