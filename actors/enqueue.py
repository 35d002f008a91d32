"""`esi_enqueue_queue`: what the scheduler's tick asks for. Small messages that the next tick replaces when one is lost."""

from __future__ import annotations

from typing import Any

import dramatiq

from killsync.broker.queues import ENQUEUE
from killsync.killmails import dispatch, reclassification
from killsync.prices import revaluation
from killsync.scheduling import enqueue as due
from killsync.scheduling import sweep as leftovers
from killsync.scheduling import turns


@dramatiq.actor(queue_name=ENQUEUE, max_retries=0)
def enqueue_due_users(**_newer: Any) -> None:
    """Send a message for each user and each corporation whose next sync is due."""
    turns.take("enqueue", due.enqueue_due_users)


@dramatiq.actor(queue_name=ENQUEUE, max_retries=0)
def dispatch_killmails(scheduled_by: str | None = None, **_newer: Any) -> None:
    """Send the killmails of the ledger that have become due."""
    dispatch.dispatch_again(scheduled_by)


@dramatiq.actor(queue_name=ENQUEUE, max_retries=0)
def sweep(**_newer: Any) -> None:
    """Pick up whatever a crash, a wiped broker or a lost message left behind."""
    turns.take("sweep", leftovers.sweep)


@dramatiq.actor(queue_name=ENQUEUE, max_retries=0)
def classify_killmails(**_newer: Any) -> None:
    """Classify killmails that are stored: those that came before the static data, or of which it says something new."""
    reclassification.classify_some(reclassification.SOME_SECONDS)


@dramatiq.actor(queue_name=ENQUEUE, max_retries=0)
def value_killmails(**_newer: Any) -> None:
    """Value killmails that are stored: those that came before any price, or of whose day the prices came later."""
    revaluation.value_some(revaluation.SOME_SECONDS)
