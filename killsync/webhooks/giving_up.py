"""Switching a webhook or a tracker off: its owner sees why, mends that, and resumes it."""

from __future__ import annotations

from killsync.killmails.filter_forms import BadFilter
from killsync.logging import get_logger
from models.db import in_transaction
from models.webhooks import ACTIVE, DISABLED, Tracker, Webhook

log = get_logger("notifications")


def unusable(error: BadFilter) -> str:
    """Why a tracker is given up whose filter cannot be used."""
    return f"Its filter cannot be used: {error}"


def disable(webhook_id: int, reason: str) -> None:
    """Give up on an active webhook; *reason* is for its owner. What waits is kept."""
    disabling = Webhook.update(status=DISABLED, reason=reason[:300], leased_by=None, leased_until=None)

    def work() -> bool:
        found = disabling.where(Webhook.id == webhook_id, Webhook.status == ACTIVE).execute()
        if found:
            Tracker.update(version=Tracker.version + 1).where(Tracker.webhook_id == webhook_id).execute()
        return bool(found)

    if in_transaction(work):
        log.warning("webhook disabled", webhook_id=webhook_id, reason=reason)


def disable_tracker(tracker_id: int, reason: str) -> None:
    """Give up on an active tracker; *reason* is for its owner. What waits is kept."""
    disabling = Tracker.update(status=DISABLED, reason=reason[:300], version=Tracker.version + 1)
    if in_transaction(disabling.where(Tracker.id == tracker_id, Tracker.status == ACTIVE).execute):
        log.warning("tracker disabled", tracker_id=tracker_id, reason=reason)
