"""Which killmails a reader wants: one value for pages, GraphQL, subscriptions and webhooks. Pure.

A filter is made of clauses, all of which hold. A clause names what it looks at as both the tables and `Killmail` name it:
`killsync.killmails.selection` asks the database for what fits, and `matches` gives the same answer for a killmail in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from killsync.killmails.classification import DRIFTER_REGION, SecurityBand
from killsync.killmails.killmail import Killmail, Party
from killsync.killmails.labels import BITS, category_of
from models.killmails import ALLIANCE, ATTACKER_SIDE, CHARACTER, CORPORATION, SHIP_GROUP, SHIP_TYPE, VICTIM_SIDE

BOTH_SIDES = VICTIM_SIDE | ATTACKER_SIDE
#: The attribute of a `Party` by kind of involvement.
_ATTRIBUTES = {CHARACTER: "character", CORPORATION: "corporation", ALLIANCE: "alliance", SHIP_TYPE: "ship_type"}


@dataclass(frozen=True)
class Involves:
    """One of *ids* of a kind of involvement took part, on one of the sides."""

    kind: int
    ids: tuple[int, ...]
    sides: int = BOTH_SIDES

    def matches(self, killmail: Killmail) -> bool:
        """Whether *killmail* fits."""
        return any(_id_of(party, self.kind) in self.ids for party in _parties(killmail, self.sides))


@dataclass(frozen=True)
class FliesCategory:
    """An attacker flew, or was, something of one of these categories."""

    ids: tuple[int, ...]

    def matches(self, killmail: Killmail) -> bool:
        """Whether *killmail* fits."""
        groups = (party.ship_type.group for party in killmail.attackers if party.ship_type is not None)
        return any(
            group is not None and group.category is not None and group.category.id in self.ids for group in groups
        )


@dataclass(frozen=True)
class OneOf:
    """A column of the killmail has one of *values*."""

    column: str
    values: frozenset[Any]

    def matches(self, killmail: Killmail) -> bool:
        """Whether *killmail* fits."""
        return getattr(killmail, self.column) in self.values


@dataclass(frozen=True)
class Between:
    """A column of the killmail is neither below *least* nor above *most*; None for no bound."""

    column: str
    least: Any = None
    most: Any = None

    def matches(self, killmail: Killmail) -> bool:
        """Whether *killmail* fits."""
        value = getattr(killmail, self.column)
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)


@dataclass(frozen=True)
class Flag:
    """A column of the killmail is true, or is not."""

    column: str
    wanted: bool

    def matches(self, killmail: Killmail) -> bool:
        """Whether *killmail* fits."""
        return getattr(killmail, self.column) is self.wanted


@dataclass(frozen=True)
class Labelled:
    """The killmail has the label of this bit (`killsync.killmails.labels`)."""

    bit: int

    def matches(self, killmail: Killmail) -> bool:
        """Whether *killmail* fits."""
        return killmail.label_bits & self.bit == self.bit


Clause = Involves | FliesCategory | OneOf | Between | Flag | Labelled


@dataclass(frozen=True)
class Near:
    """Within so many jumps, or light years, or both, of a system.

    `systems` are those that are, by the static data that was loaded when the filter was made.
    """

    system_id: int
    max_jumps: int | None = None
    max_light_years: float | None = None
    systems: frozenset[int] = field(default=frozenset(), compare=False, repr=False)


@dataclass(frozen=True)
class KillmailFilter:
    """Which killmails: all that is given holds, each on its own. None and an empty tuple stand for nothing given.

    A character and a ship type need not have been the same pilot.

    Attributes:
        character_id, corporation_id, alliance_id, ship_type_id, ship_group_id: took part, on one of *sides*.
        mine: the reader's own characters, of which one took part on one of *sides*.
        sides: VICTIM_SIDE, ATTACKER_SIDE or both.
        system_id, constellation_id, region_id, security, near: where it happened.
        start, end: the first and the last moment that count.
        victim_ship_group_ids, victim_ship_category_ids: what was lost is of one of these.
        attacker_ship_group_ids, attacker_ship_category_ids: an attacker flew one of these.
        min_attackers, max_attackers: how many took part.
        min_value, max_value: what it was worth in all, ISK; 0 as long as it was not valued.
        npc, solo, awox: is so, or is not so.
        labels: all that the killmail has to have.
    """

    character_id: int | None = None
    corporation_id: int | None = None
    alliance_id: int | None = None
    ship_type_id: int | None = None
    ship_group_id: int | None = None
    system_id: int | None = None
    constellation_id: int | None = None
    region_id: int | None = None
    sides: int = BOTH_SIDES
    start: datetime | None = None
    end: datetime | None = None
    mine: tuple[int, ...] | None = None
    security: tuple[SecurityBand, ...] = ()
    near: Near | None = None
    victim_ship_group_ids: tuple[int, ...] = ()
    victim_ship_category_ids: tuple[int, ...] = ()
    attacker_ship_group_ids: tuple[int, ...] = ()
    attacker_ship_category_ids: tuple[int, ...] = ()
    min_attackers: int | None = None
    max_attackers: int | None = None
    min_value: Decimal | None = None
    max_value: Decimal | None = None
    npc: bool | None = None
    solo: bool | None = None
    awox: bool | None = None
    labels: tuple[str, ...] = ()

    @property
    def clauses(self) -> tuple[Clause, ...]:
        """What has to hold; those about parties first, the rarest kind before the others."""
        return (*self._involved(), *self._where(), *self._what())

    def matches(self, killmail: Killmail) -> bool:
        """Whether *killmail* fits: the same answer as the database gives."""
        return all(clause.matches(killmail) for clause in self.clauses)

    def _involved(self) -> Iterator[Clause]:
        if self.mine is not None:
            yield Involves(CHARACTER, self.mine, self.sides)
        for kind, entity in (
            (CHARACTER, self.character_id),
            (CORPORATION, self.corporation_id),
            (SHIP_TYPE, self.ship_type_id),
            (ALLIANCE, self.alliance_id),
            (SHIP_GROUP, self.ship_group_id),
        ):
            if entity is not None:
                yield Involves(kind, (entity,), self.sides)
        if self.victim_ship_group_ids:
            yield Involves(SHIP_GROUP, self.victim_ship_group_ids, VICTIM_SIDE)
        if self.attacker_ship_group_ids:
            yield Involves(SHIP_GROUP, self.attacker_ship_group_ids, ATTACKER_SIDE)
        if self.attacker_ship_category_ids:
            yield FliesCategory(self.attacker_ship_category_ids)

    def _where(self) -> Iterator[Clause]:
        for column, place in (
            ("solar_system_id", self.system_id),
            ("constellation_id", self.constellation_id),
            ("region_id", self.region_id),
        ):
            if place is not None:
                yield OneOf(column, frozenset([place]))
        if self.near is not None:
            yield OneOf("solar_system_id", self.near.systems)
        if self.security:
            yield OneOf("security", frozenset(self.security))

    def _what(self) -> Iterator[Clause]:
        if self.start is not None or self.end is not None:
            yield Between("killmail_time", self.start, self.end)
        if self.min_attackers is not None or self.max_attackers is not None:
            yield Between("attacker_count", self.min_attackers, self.max_attackers)
        if self.min_value is not None or self.max_value is not None:
            yield Between("total_value", self.min_value, self.max_value)
        if self.victim_ship_category_ids:
            yield OneOf("victim_category_id", frozenset(self.victim_ship_category_ids))
        for column, wanted in (("npc", self.npc), ("solo", self.solo), ("awox", self.awox)):
            if wanted is not None:
                yield Flag(column, wanted)
        for label in self.labels:
            yield _labelled(label)


def _labelled(label: str) -> Clause:
    """The clause of a label: by the column that says the same where there is one, since some of those have an index."""
    if (category_id := category_of(label)) is not None:
        return OneOf("victim_category_id", frozenset([category_id]))
    if label in ("npc", "solo", "awox"):
        return Flag(label, wanted=True)
    if label == "loc:abyssal":
        return OneOf("security", frozenset([SecurityBand.ABYSSAL]))
    if label == "loc:drifter":
        return OneOf("region_id", frozenset([DRIFTER_REGION]))
    if label.startswith("#:"):
        least = int(label.removeprefix("#:").removesuffix("+"))
        return Between("attacker_count", least, None if label.endswith("+") else least)
    return Labelled(BITS[label])


def _parties(killmail: Killmail, sides: int) -> Iterator[Party]:
    if sides & VICTIM_SIDE:
        yield killmail.victim
    if sides & ATTACKER_SIDE:
        yield from killmail.attackers


def _id_of(party: Party, kind: int) -> int | None:
    if kind == SHIP_GROUP:
        group = party.ship_type.group if party.ship_type is not None else None
        return group.id if group is not None else None
    entity = getattr(party, _ATTRIBUTES[kind])
    return None if entity is None else entity.id
