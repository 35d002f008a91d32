"""The tick: users and corporations whose turn it is become one message each, as many as the workers can take now."""

from __future__ import annotations

import math
import time

from dramatiq.errors import BrokerConnectionError

from killsync import settings as settings_module
from killsync.broker.connection import BrokerAway
from killsync.broker.figures import queue_depth
from killsync.broker.queues import PRIORITY, ROUTINE, USER_KILLMAILS
from killsync.logging import get_logger
from killsync.scheduling.turns import TICK_SECONDS, tick_seconds
from killsync.sync import corporation_polls, corporations, user_polls
from killsync.sync.characters import send_user
from killsync.sync.list_sync import IN_FLIGHT_SECONDS
from killsync.sync.user_polls import ClaimedUser
from models import utcnow

log = get_logger("enqueue")

#: Users that may wait in the sync queue; beyond it a tick leaves the rest due, so that urgent ones never queue long.
MOST_WAITING = 500
#: Users that are claimed and sent together: what a crash in between costs is a claim's time for so many.
BATCH = 25
#: Who is overdue by more than this was not just missed by a tick: the scheduler, the workers or ESI were away, seconds.
OVERDUE_SECONDS = 120.0
#: What became overdue together is taken up over about this time, so that neither ESI nor the SSO sees a herd, seconds.
SPREAD_SECONDS = 1800.0
#: Overdue users that a tick takes in any case.
LEAST_OVERDUE = 25
#: A tick ends after this long, seconds, when the broker is slow; the next one goes on.
MOST_SECONDS = 0.8
#: More due users than this need not be told apart: the queue has no room for a tick's share of them.
MOST_COUNTED = int(MOST_WAITING * SPREAD_SECONDS / TICK_SECONDS)


def enqueue_due_users() -> None:
    """Send a message for each user and each corporation whose next sync is due, within what the queue has room for."""
    try:
        room = MOST_WAITING - queue_depth(USER_KILLMAILS)
    except BrokerAway as error:
        log.warning("queue depth unknown", reason=str(error))
        return
    seconds = tick_seconds(settings_module.current())
    corporation_ids = corporation_polls.claim_due(min(room, BATCH), IN_FLIGHT_SECONDS)
    _send_corporations(corporation_ids)
    counted = user_polls.count_due(OVERDUE_SECONDS, MOST_COUNTED)
    take = min(room - len(corporation_ids), share(counted.due, counted.late, tick_seconds=seconds))
    queued, began = 0, time.monotonic()
    while queued < take and time.monotonic() - began < MOST_SECONDS:
        claimed = user_polls.claim_due_users(min(BATCH, take - queued), IN_FLIGHT_SECONDS)
        _send(claimed)
        queued += len(claimed)
        if not claimed:
            break
    if queued or corporation_ids:
        log.info("users queued", users=queued, corporations=len(corporation_ids))


def _send(claimed: list[ClaimedUser]) -> None:
    """A message for each user; those that the broker did not take are due again."""
    for position, user in enumerate(claimed):
        try:
            send_user(user.user_id, broker_priority=PRIORITY if user.priority > 0 else ROUTINE, is_routine=True)
        except BrokerConnectionError:
            user_polls.unclaim([unsent.user_id for unsent in claimed[position:]])
            raise


def _send_corporations(corporation_ids: list[int]) -> None:
    for position, corporation_id in enumerate(corporation_ids):
        try:
            corporations.send(corporation_id)
        except BrokerConnectionError:
            for unsent in corporation_ids[position:]:
                corporation_polls.schedule_next(unsent, utcnow())
            raise


def share(due: int, late: int, *, tick_seconds: float) -> int:
    """How many users a tick takes: all that have just become due, and a part of those that have long been. Pure.

    So a tick keeps up with any even load, and what piled up while everything stood still is worked off evenly.
    """
    return due - late + min(late, max(LEAST_OVERDUE, math.ceil(late * tick_seconds / SPREAD_SECONDS)))
