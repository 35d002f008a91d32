"""Which trackers may want a killmail, found by the rarest thing that each of them asks for, not by trying one after the other.

A tracker stands below one of its clauses, the one that the fewest killmails fit: a pilot before a corporation, a system before a
region, a class of ships before a kind of space. A killmail has a few dozen such things, and only trackers below those are asked.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from killsync.killmails.clauses import (
    BOTH_SIDES,
    FACTION,
    SHIP_CATEGORY,
    WEAPON_GROUP,
    WEAPON_TYPE,
    Between,
    Clause,
    FinalBlowBy,
    Flag,
    Given,
    Involves,
    Labelled,
    OneOf,
    id_of,
    parties,
)
from killsync.killmails.killmail import Killmail
from killsync.webhooks.subscribers import Subscriber
from models.killmails import ALLIANCE, CHARACTER, CORPORATION, SHIP_GROUP, SHIP_TYPE

#: Something that a killmail has: what it is, and which.
Key = tuple[Any, Any]
#: About the part of killmails that fit one value of a clause; the smallest is the rarest. Rough, and only their order counts.
_SHARES: dict[Any, float] = {
    CHARACTER: 0.0001, "solar_system_id": 0.001, CORPORATION: 0.001, "final blow": 0.001, SHIP_TYPE: 0.01,
    "constellation_id": 0.005, WEAPON_TYPE: 0.01, ALLIANCE: 0.02, "region_id": 0.02, SHIP_GROUP: 0.05, WEAPON_GROUP: 0.1,
    FACTION: 0.1, "awox": 0.005, "war_id": 0.02, "solo": 0.2, "npc": 0.1, "label": 0.3, "victim_category_id": 0.3,
    "security": 0.3, SHIP_CATEGORY: 0.7,
}  # fmt: skip
_KINDS = (CHARACTER, CORPORATION, SHIP_TYPE, ALLIANCE, SHIP_GROUP, WEAPON_TYPE, FACTION, WEAPON_GROUP, SHIP_CATEGORY)
_COLUMNS = ("solar_system_id", "constellation_id", "region_id", "victim_category_id", "security")
_ALL: Key = ("all", None)
_DEAR: Key = ("dear", None)
#: Trackers of killmails worth this much, ISK, or more are not asked about cheaper ones.
_DEAR_FROM = 100_000_000


class TrackerIndex:
    """The trackers by their rarest clause. Nothing in it changes."""

    def __init__(self, subscribers: Iterable[Subscriber]) -> None:
        below: dict[Key, list[Subscriber]] = defaultdict(list)
        for subscriber in subscribers:
            for key in _keys_of(subscriber.filter.clauses):
                below[key].append(subscriber)
        self._below = dict(below)

    def candidates(self, killmail: Killmail) -> Sequence[Subscriber]:
        """The trackers that may want *killmail*, in their order; the others do not want it."""
        found: dict[int, Subscriber] = {}
        for key in _keys_in(killmail):
            for subscriber in self._below.get(key, ()):
                found[subscriber.tracker_id] = subscriber
        return [found[tracker_id] for tracker_id in sorted(found)]


def _keys_of(clauses: Iterable[Clause]) -> list[Key]:
    """The keys below which a tracker stands: those of its rarest clause."""
    best, least = [_ALL], 1.0
    for clause in clauses:
        keys = list(_of_clause(clause))
        share = sum(_SHARES[key[0]] for key in keys) if keys else 1.0
        if isinstance(clause, Involves | OneOf) and not keys:
            return []  # One of none: nothing fits.
        if share < least:
            best, least = keys, share
    if best == [_ALL] and any(_is_dear(clause) for clause in clauses):
        return [_DEAR]
    return best


def _is_dear(clause: Clause) -> bool:
    return isinstance(clause, Between) and clause.column == "total_value" and (clause.least or 0) >= _DEAR_FROM


def _of_clause(clause: Clause) -> Iterator[Key]:
    if isinstance(clause, Involves):
        yield from ((clause.kind, number) for number in clause.ids)
    elif isinstance(clause, FinalBlowBy):
        yield from (("final blow", number) for number in clause.ids)
    elif isinstance(clause, OneOf):
        yield from ((clause.column, value) for value in clause.values)
    elif (isinstance(clause, Flag) and clause.wanted) or isinstance(clause, Given):
        yield clause.column, True
    elif isinstance(clause, Labelled):
        yield "label", clause.bit


def _keys_in(killmail: Killmail) -> Iterator[Key]:
    """Everything that a killmail has and that a tracker may stand below."""
    yield _ALL
    if killmail.total_value >= _DEAR_FROM:
        yield _DEAR
    yield from {
        (kind, number)
        for party in parties(killmail, BOTH_SIDES)
        for kind in _KINDS
        if (number := id_of(party, kind)) is not None
    }
    for blow in killmail.attackers:
        if blow.final_blow:
            yield from (("final blow", each.id) for each in (blow.corporation, blow.alliance, blow.faction) if each)
    yield from ((column, getattr(killmail, column)) for column in _COLUMNS)
    yield from ((column, True) for column in ("npc", "solo", "awox") if getattr(killmail, column))
    if killmail.war_id is not None:
        yield "war_id", True
    bits, bit = killmail.label_bits, 1
    while bits >= bit:
        if bits & bit:
            yield "label", bit
        bit <<= 1
