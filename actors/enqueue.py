"""The tick: users whose turn it is become one message each, as many as the workers can take now."""

from __future__ import annotations

from typing import Any

import dramatiq

import logs
from actors import broker as broker_module
from actors.broker import ENQUEUE, PRIORITY, ROUTINE, USER_KILLMAILS, BrokerAway
from models import runs

log = logs.get("enqueue")

#: Users that may wait in the sync queue; beyond it a tick leaves the rest due, so that urgent ones never queue long.
MOST_WAITING = 500
#: How long a user that was sent is left alone when nothing is heard of its sync, seconds.
IN_FLIGHT_SECONDS = 900.0


@dramatiq.actor(queue_name=ENQUEUE, max_retries=0)
def enqueue_due_users(**_newer: Any) -> None:
    """Send a message for each user whose next sync is due."""
    try:
        room = MOST_WAITING - broker_module.queue_depth(USER_KILLMAILS)
    except BrokerAway as error:
        log.warning("queue depth unknown", reason=str(error))
        return
    due = runs.claim_due_users(room, IN_FLIGHT_SECONDS)
    for user_id, _, priority in due:
        send_user(user_id, broker_priority=PRIORITY if priority > 0 else ROUTINE)
    if due:
        log.info("users queued", users=len(due))


def send_user(user_id: int, *, broker_priority: int = ROUTINE, run_id: int | None = None) -> None:
    """Send one user's sync message. It carries ids alone: the worker reads the token itself."""
    from actors.sync import sync_user_killmails

    sync_user_killmails.send_with_options(
        kwargs={"user_id": user_id, "run_id": run_id}, broker_priority=broker_priority
    )
