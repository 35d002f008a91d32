"""When Killsync looks for a new build by itself: once a day, and after a failure ever later. Over all processes."""

from __future__ import annotations

import random

import msgspec

from killsync import service_health
from killsync import settings as settings_module
from killsync.broker.messages import send
from killsync.logging import get_logger
from killsync.static_data.update import UpdateFailed, update

log = get_logger("static_data")

#: CCP publishes a build about weekly; seconds between two looks, and by how much they differ, so that not all of the world's
#: Killsyncs ask in the same minute.
LOOK_SECONDS, SPREAD_SECONDS = 86_400.0, 3_600.0
#: The pause after a first failure, seconds; it doubles with each up to LOOK_SECONDS.
PAUSE_SECONDS = 900.0
#: A message that was sent and never answered is taken to be lost after this long, seconds.
LOST_SECONDS = 1_800.0
_NAME = "static-data"


class Looking(msgspec.Struct, omit_defaults=True):
    """What all processes know: epoch seconds of the next look, and how often in a row it failed."""

    next_at: float = 0.0
    failures: int = 0


def send_due() -> bool:
    """Have a worker look for a new build if it is time; whether it is. One process alone sends it.

    Raises:
        dramatiq.errors.BrokerConnectionError: the broker does not answer; it is due again after LOST_SECONDS.
    """
    if service_health.read(_NAME, Looking).next_at > service_health.clock():
        return False

    def work(state: Looking, now: float) -> bool:
        if state.next_at > now:
            return False
        state.next_at = now + LOST_SECONDS
        return True

    is_ours = service_health.change(_NAME, Looking, work)
    if is_ours:
        send("update_static_data")
    return is_ours


def look() -> None:
    """Load the newest build if it is not loaded yet, and note when to look again. What cannot be had is tried again later."""
    try:
        update(settings_module.current())
    except UpdateFailed as error:
        log.warning("static data not updated", reason=str(error), retry_in=_record_failure())
    else:
        service_health.change(_NAME, Looking, _succeed)


def _succeed(state: Looking, now: float) -> None:
    state.failures = 0
    state.next_at = now + LOOK_SECONDS + random.uniform(0.0, SPREAD_SECONDS)  # noqa: S311


def _record_failure() -> float:
    def work(state: Looking, now: float) -> float:
        pause = min(LOOK_SECONDS, PAUSE_SECONDS * 2 ** min(state.failures, 12))
        state.failures += 1
        state.next_at = now + pause
        return pause

    return service_health.change(_NAME, Looking, work)
