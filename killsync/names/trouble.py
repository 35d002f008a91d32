"""Whether ESI names things at all: in August 2019 it refused every list that held a character, for four days.

Kept here for all processes: which kinds of names are refused in bulk, when that is tried again, and how many requests for
names may still fail in this minute, since all routes of ESI share one error limit. Nothing here asks ESI.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from killsync import service_health
from killsync.logging import get_logger

log = get_logger("enrichment")

#: Refused requests for names in any minute, over all processes; ESI's error limit for everything is a hundred.
MOST_ERRORS, MINUTE = 20, 60.0
#: While a kind is refused in bulk, a bulk request is tried this often, seconds.
PROBE_SECONDS = 40.0
_NAME = "names"


class NamesState(msgspec.Struct, omit_defaults=True):
    """What all processes found.

    Attributes:
        kinds: epoch seconds since when a kind, called as its table, is refused in bulk.
        probe_at: epoch seconds at which a bulk request is tried again.
        errors: epoch seconds of the requests of the last minute that were refused, or may be since they are under way.
    """

    kinds: dict[str, float] = {}
    probe_at: float = 0.0
    errors: list[float] = []


@dataclass(frozen=True)
class NamesTrouble:
    """The kinds that are refused in bulk, and for how long already, seconds."""

    kinds: list[str]
    seconds: int


def kinds() -> set[str]:
    """The kinds of names that ESI refuses in bulk now."""
    return set(service_health.read(_NAME, NamesState).kinds)


def begin(names: Iterable[str]) -> None:
    """ESI refuses these kinds in bulk, though it should know what was asked for."""
    found = sorted(names)

    def work(state: NamesState, now: float) -> list[str]:
        fresh = [name for name in found if name not in state.kinds]
        for name in fresh:
            state.kinds[name] = now
        if fresh:
            state.probe_at = now + PROBE_SECONDS
        return fresh

    if fresh := service_health.change(_NAME, NamesState, work):
        log.error("ESI refuses to name these in bulk: they are asked for one by one", kinds=fresh)


def end(name: str) -> None:
    """ESI names this kind in bulk again."""

    def work(state: NamesState, _now: float) -> bool:
        return state.kinds.pop(name, None) is not None

    if service_health.change(_NAME, NamesState, work):
        log.info("ESI names these in bulk again", kind=name)


def is_probe_due() -> bool:
    """Whether some kind is refused and a bulk request may be tried."""
    state = service_health.read(_NAME, NamesState)
    return bool(state.kinds) and service_health.clock() >= state.probe_at


def take_probe() -> set[str]:
    """Take the right to try again; the kinds to try, none when it is not due."""

    def work(state: NamesState, now: float) -> set[str]:
        if not state.kinds or now < state.probe_at:
            return set()
        state.probe_at = now + PROBE_SECONDS
        return set(state.kinds)

    return service_health.change(_NAME, NamesState, work)


def reserve_error() -> float | None:
    """The right to one more request that may be refused, to be given back if it is not; None when there is none left."""

    def work(state: NamesState, now: float) -> float | None:
        state.errors = [at for at in state.errors if at > now - MINUTE]
        if len(state.errors) >= MOST_ERRORS:
            return None
        state.errors.append(now)
        return now

    return service_health.change(_NAME, NamesState, work)


def give_back(reserved: float) -> None:
    """The request was not refused."""

    def work(state: NamesState, _now: float) -> None:
        if reserved in state.errors:
            state.errors.remove(reserved)

    service_health.change(_NAME, NamesState, work)


def trouble() -> NamesTrouble | None:
    """What is refused in bulk now, and since when; None for nothing."""
    state = service_health.read(_NAME, NamesState)
    if not state.kinds:
        return None
    return NamesTrouble(sorted(state.kinds), round(service_health.clock() - min(state.kinds.values())))
