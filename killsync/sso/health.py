"""Whether the SSO itself is in trouble: around downtime it was seen to refuse everybody's good tokens for a minute.

What one refusal means for its user is decided in `refresh`. Nothing here asks the SSO.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from killsync import service_health
from killsync.logging import get_logger
from killsync.sso.errors import SsoAway

log = get_logger("sso")

#: So many users refused within this time, seconds, and nobody served in between: it is the SSO's trouble.
MANY, WITHIN_SECONDS = 5, 600.0
#: Seconds until the next probe while it is; twice as long after each that is refused, up to the second.
PROBE_SECONDS, LONGEST_PROBE_SECONDS = 60.0, 300.0
_NAME = "sso"


class SsoState(msgspec.Struct, omit_defaults=True):
    """What all processes found.

    Attributes:
        refused: epoch seconds of the last refusal by user id, since a refresh last succeeded.
        trouble_since: epoch seconds since when it refuses everybody; 0.0 while it does not.
        probe_at: epoch seconds at which the next refresh may be tried while it does.
        probes: tries that were refused since.
    """

    refused: dict[int, float] = {}
    trouble_since: float = 0.0
    probe_at: float = 0.0
    probes: int = 0


@dataclass(frozen=True)
class SsoTrouble:
    """The SSO refuses everybody: for how long already, and seconds until it is tried again."""

    seconds: int
    next_probe_seconds: int


def ask() -> None:
    """Take the right to refresh a token: anybody's while the SSO is well, a probe's while it refuses everybody.

    Raises:
        SsoAway: it does, and the next probe is not due.
    """
    if not service_health.read(_NAME, SsoState).trouble_since:
        return

    def work(state: SsoState, now: float) -> float:
        if not state.trouble_since:
            return 0.0
        if now < state.probe_at:
            return state.probe_at - now
        state.probe_at = now + PROBE_SECONDS
        return 0.0

    if wait := service_health.change(_NAME, SsoState, work):
        raise SsoAway("it refuses everybody's tokens now, which is its own trouble; tokens are kept", wait + 1.0)


def record_refusal(user_id: int) -> None:
    """The SSO refused a user's token."""

    def work(state: SsoState, now: float) -> bool:
        state.refused[user_id] = now
        if state.trouble_since:
            state.probes += 1
            state.probe_at = now + min(LONGEST_PROBE_SECONDS, PROBE_SECONDS * 2.0 ** min(state.probes, 8))
            return False
        state.refused = {each: at for each, at in state.refused.items() if at > now - WITHIN_SECONDS}
        if len(state.refused) < MANY:
            return False
        state.trouble_since, state.probe_at, state.probes = now, now + PROBE_SECONDS, 0
        return True

    if service_health.change(_NAME, SsoState, work):
        log.error("EVE SSO refuses everybody: refreshes pause", refused=MANY)


def record_success() -> list[int]:
    """The SSO gave tokens; the users whom it refused while it was in trouble, who may be asked for at once."""
    state = service_health.read(_NAME, SsoState)
    if not state.refused and not state.trouble_since:
        return []

    def work(state: SsoState, _now: float) -> list[int]:
        was_in_trouble, refused = bool(state.trouble_since), list(state.refused)
        state.refused, state.trouble_since, state.probe_at, state.probes = {}, 0.0, 0.0, 0
        return refused if was_in_trouble else []

    freed = service_health.change(_NAME, SsoState, work)
    if freed:
        log.info("EVE SSO gives tokens again", refused=len(freed))
    return freed


def trouble() -> SsoTrouble | None:
    """How long the SSO has refused everybody; None while it does not."""
    state = service_health.read(_NAME, SsoState)
    if not state.trouble_since:
        return None
    now = service_health.clock()
    return SsoTrouble(round(now - state.trouble_since), max(0, round(state.probe_at - now)))
