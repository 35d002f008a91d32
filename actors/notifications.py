"""`notifications_queue`: webhooks are notified of killmails that were stored."""

from __future__ import annotations

from typing import Any

import dramatiq

from killsync.broker.queues import AT_ONCE, NOTIFICATIONS
from killsync.webhooks import delivery, matching


@dramatiq.actor(queue_name=NOTIFICATIONS, max_retries=0, priority=AT_ONCE)
def announce(**_newer: Any) -> None:
    """Read what was stored, and send the webhooks that are due."""
    matching.announce()


@dramatiq.actor(queue_name=NOTIFICATIONS, max_retries=3, priority=AT_ONCE)
def deliver(webhook_id: int, **_newer: Any) -> None:
    """Deliver what waits for one webhook."""
    delivery.deliver(webhook_id)
