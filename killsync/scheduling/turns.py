"""Turns: of all messages that one kind of tick has left, one at a time is worked on, and no more than one in a period.

Ticks pile up while no worker runs. The first that is taken up again does the work of all before it, so the others are
dropped: worked off one after the other, and several at a time, they would do in seconds what is meant for many minutes.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable

from killsync import leases
from killsync import settings as settings_module
from killsync.logging import get_logger
from killsync.settings import Settings

log = get_logger("enqueue")

#: Seconds between two ticks. A tick is one small message; what is due is decided by whoever takes it.
TICK_SECONDS = 5.0
#: The part of a period that has to be over: ticks come a little early and late.
LEAST_PART = 0.7
#: A turn that takes longer than this has died with its worker, seconds.
MOST_SECONDS = 30.0


def tick_seconds(settings: Settings) -> float:
    """Seconds between two ticks."""
    return min(TICK_SECONDS, settings.sync_interval_seconds)


def take(name: str, work: Callable[[], None]) -> bool:
    """Do *work* if it is its turn; False when a tick of this *name* is being worked on, or was a moment ago.

    By the database's clock over all workers: how old a message is, only the host that sent it could tell.
    """
    lease, holder = f"turn:{name}", uuid.uuid4().hex
    if not leases.acquire(lease, holder, MOST_SECONDS):
        log.debug("tick dropped", tick=name)
        return False
    began = time.monotonic()
    try:
        work()
    finally:
        rest = LEAST_PART * tick_seconds(settings_module.current()) - (time.monotonic() - began)
        leases.acquire(lease, holder, max(0.0, rest))
    return True
