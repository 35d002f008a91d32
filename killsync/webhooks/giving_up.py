"""Switching a webhook off: its owner sees why, mends that, and resumes it."""

from __future__ import annotations

from killsync.logging import get_logger
from killsync.webhooks.filter import BadFilter
from models.db import in_transaction
from models.webhooks import ACTIVE, DISABLED, Webhook

log = get_logger("notifications")


def unusable(error: BadFilter) -> str:
    """Why a webhook is given up whose conditions cannot be evaluated."""
    return f"Its conditions cannot be used: {error}"


def disable(webhook_id: int, reason: str) -> None:
    """Give up on an active webhook; *reason* is for its owner. What waits is kept."""
    disabling = Webhook.update(status=DISABLED, reason=reason[:300], leased_by=None, leased_until=None)
    if in_transaction(disabling.where(Webhook.id == webhook_id, Webhook.status == ACTIVE).execute):
        log.warning("webhook disabled", webhook_id=webhook_id, reason=reason)
