"""Which killmails a reader wants: one value for pages, GraphQL, subscriptions, trackers and feeds. Pure.

A filter is made of clauses (`killsync.killmails.clauses`), all of which hold.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import cached_property

from killsync.killmails.classification import SecurityBand
from killsync.killmails.clauses import (
    BOTH_SIDES,
    FACTION,
    RANK,
    SHIP_CATEGORY,
    WEAPON_GROUP,
    WEAPON_TYPE,
    Age,
    Between,
    Clause,
    FinalBlowBy,
    Flag,
    Given,
    Involves,
    Not,
    OneOf,
    Plain,
    labelled,
)
from killsync.killmails.killmail import Killmail
from models.killmails import ALLIANCE, ATTACKER_SIDE, CHARACTER, CORPORATION, SHIP_GROUP, SHIP_TYPE, VICTIM_SIDE

#: The name of a clause, by which `filter_forms` calls it, and the clause.
Named = tuple[str, Clause]
#: The kinds of taking part, by the fields of `Parties`.
PARTY_KINDS = {
    "character_ids": CHARACTER, "corporation_ids": CORPORATION, "alliance_ids": ALLIANCE, "faction_ids": FACTION,
    "ship_type_ids": SHIP_TYPE, "ship_group_ids": SHIP_GROUP, "ship_category_ids": SHIP_CATEGORY,
    "weapon_type_ids": WEAPON_TYPE, "weapon_group_ids": WEAPON_GROUP,
}  # fmt: skip


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
class Own:
    """Whom a reader calls "mine": the characters of the account, and the corporations and alliances that these are in."""

    characters: tuple[int, ...] = ()
    corporations: tuple[int, ...] = ()
    alliances: tuple[int, ...] = ()


@dataclass(frozen=True)
class Parties:
    """Who or what stands on one side: of each kind any of the ids. Victims have no weapons."""

    character_ids: tuple[int, ...] = ()
    corporation_ids: tuple[int, ...] = ()
    alliance_ids: tuple[int, ...] = ()
    faction_ids: tuple[int, ...] = ()
    ship_type_ids: tuple[int, ...] = ()
    ship_group_ids: tuple[int, ...] = ()
    ship_category_ids: tuple[int, ...] = ()
    weapon_type_ids: tuple[int, ...] = ()
    weapon_group_ids: tuple[int, ...] = ()


@dataclass(frozen=True)
class KillmailFilter:
    """Which killmails: all that is given holds, each on its own. None and an empty tuple stand for nothing given.

    A character and a ship type need not have been the same pilot.

    Attributes:
        character_id, corporation_id, alliance_id, ship_type_id, ship_group_id: took part, on one of *sides*.
        mine, my_corporation, my_alliance: the reader's own (`Own`), of which one took part on one of *sides*.
        sides: VICTIM_SIDE, ATTACKER_SIDE or both.
        victim, attackers: who was lost, and whom one of the attackers is of.
        not_victim, not_attackers: whom the victim and every attacker are not of.
        final_blow_ids: corporations, alliances and factions, of one of which the final blow was.
        system_id, constellation_id, region_id, security, near: where it happened.
        system_ids, constellation_ids, region_ids: the same, any of several.
        not_system_ids, not_constellation_ids, not_region_ids, not_security: where it did not.
        start, end: the first and the last moment that count.
        min_attackers, max_attackers: how many took part.
        min_value, max_value: what it was worth in all, ISK; 0 as long as it was not valued.
        npc, solo, awox, war: is so, or is not so.
        labels, not_labels: all that the killmail has to have, and those of which it may have none.
        max_age: seconds between the kill and its being stored, at most.
        stored_from: stored at this moment or later; no form has it.
        unknown: clauses that this version does not know, as (name, JSON): kept, and not used.
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
    my_corporation: tuple[int, ...] | None = None
    my_alliance: tuple[int, ...] | None = None
    victim: Parties = Parties()
    attackers: Parties = Parties()
    not_victim: Parties = Parties()
    not_attackers: Parties = Parties()
    final_blow_ids: tuple[int, ...] = ()
    security: tuple[SecurityBand, ...] = ()
    system_ids: tuple[int, ...] = ()
    constellation_ids: tuple[int, ...] = ()
    region_ids: tuple[int, ...] = ()
    not_security: tuple[SecurityBand, ...] = ()
    not_system_ids: tuple[int, ...] = ()
    not_constellation_ids: tuple[int, ...] = ()
    not_region_ids: tuple[int, ...] = ()
    near: Near | None = None
    min_attackers: int | None = None
    max_attackers: int | None = None
    min_value: Decimal | None = None
    max_value: Decimal | None = None
    npc: bool | None = None
    solo: bool | None = None
    awox: bool | None = None
    war: bool | None = None
    labels: tuple[str, ...] = ()
    not_labels: tuple[str, ...] = ()
    max_age: int | None = None
    stored_from: datetime | None = None
    unknown: tuple[tuple[str, str], ...] = ()

    @cached_property
    def named_clauses(self) -> tuple[Named, ...]:
        """What has to hold, by name; those about parties first, the rarest kind before the others."""
        involved = sorted(self._involved(), key=lambda named: RANK.index(named[1].kind))
        return (*involved, *self._where(), *self._what(), *self._not())

    @cached_property
    def clauses(self) -> tuple[Clause, ...]:
        """What has to hold, in the same order."""
        return tuple(clause for _, clause in self.named_clauses)

    def matches(self, killmail: Killmail) -> bool:
        """Whether *killmail* fits: the same answer as the database gives."""
        return all(clause.matches(killmail) for clause in self.clauses)

    def missed(self, killmail: Killmail) -> list[Named]:
        """The clauses that *killmail* does not fit."""
        return [named for named in self.named_clauses if not named[1].matches(killmail)]

    @property
    def needs_own(self) -> bool:
        """Whether somebody has to say who "mine" is."""
        return any(each is not None for each in (self.mine, self.my_corporation, self.my_alliance))

    @property
    def is_everything(self) -> bool:
        """Whether no clause has to hold."""
        return not self.named_clauses

    def _involved(self) -> Iterator[tuple[str, Involves]]:
        for name, kind, own in (
            ("mine", CHARACTER, self.mine),
            ("my_corporation", CORPORATION, self.my_corporation),
            ("my_alliance", ALLIANCE, self.my_alliance),
        ):
            if own is not None:
                yield name, Involves(kind, own, self.sides)
        for name, kind, entity in (
            ("character_id", CHARACTER, self.character_id),
            ("corporation_id", CORPORATION, self.corporation_id),
            ("ship_type_id", SHIP_TYPE, self.ship_type_id),
            ("alliance_id", ALLIANCE, self.alliance_id),
            ("ship_group_id", SHIP_GROUP, self.ship_group_id),
        ):
            if entity is not None:
                yield name, Involves(kind, (entity,), self.sides)
        for side, parties, sides in (
            ("victim", self.victim, VICTIM_SIDE),
            ("attackers", self.attackers, ATTACKER_SIDE),
        ):
            for name, clause in _of_side(parties, sides):
                if isinstance(clause, Involves):
                    yield f"{side}.{name}", clause

    def _where(self) -> Iterator[Named]:
        for name, column, place in (
            ("system_id", "solar_system_id", self.system_id),
            ("constellation_id", "constellation_id", self.constellation_id),
            ("region_id", "region_id", self.region_id),
        ):
            if place is not None:
                yield name, OneOf(column, frozenset([place]))
        if self.near is not None:
            yield "near.system_id", OneOf("solar_system_id", self.near.systems)
        for name, column in PLACES.items():
            if wanted := getattr(self, name):
                yield name, OneOf(column, frozenset(wanted))

    def _what(self) -> Iterator[Named]:
        for least, most, column in BOUNDS:
            low, high = getattr(self, least), getattr(self, most)
            if low is not None:
                yield least, Between(column, least=low)
            if high is not None:
                yield most, Between(column, most=high)
        for name, clause in _of_side(self.victim, VICTIM_SIDE):
            if isinstance(clause, OneOf):
                yield f"victim.{name}", clause
        if self.final_blow_ids:
            yield "final_blow_ids", FinalBlowBy(self.final_blow_ids)
        for column, wanted in (("npc", self.npc), ("solo", self.solo), ("awox", self.awox)):
            if wanted is not None:
                yield column, Flag(column, wanted)
        if self.war is not None:
            yield "war", Given("war_id") if self.war else Not(Given("war_id"))
        for label in self.labels:
            yield "labels", labelled(label)
        if self.stored_from is not None:
            yield "stored_from", Between("created_at", least=self.stored_from)
        if self.max_age is not None:
            yield "max_age", Age(self.max_age)

    def _not(self) -> Iterator[Named]:
        for name, parties, sides in (
            ("not_victim", self.not_victim, VICTIM_SIDE),
            ("not_attackers", self.not_attackers, ATTACKER_SIDE),
        ):
            for of, clause in _of_side(parties, sides):
                yield f"{name}.{of}", Not(clause)
        for name, column in PLACES.items():
            if unwanted := getattr(self, f"not_{name}"):
                yield f"not_{name}", Not(OneOf(column, frozenset(unwanted)))
        for label in self.not_labels:
            yield "not_labels", Not(labelled(label))


#: Clauses of several places, and the column of each.
PLACES = {
    "system_ids": "solar_system_id",
    "constellation_ids": "constellation_id",
    "region_ids": "region_id",
    "security": "security",
}
#: Two clauses of which the first may not be above the second, and the column that is between them.
BOUNDS = (
    ("start", "end", "killmail_time"),
    ("min_attackers", "max_attackers", "attacker_count"),
    ("min_value", "max_value", "total_value"),
)


def _of_side(parties: Parties, sides: int) -> Iterator[tuple[str, Plain]]:
    for name, kind in PARTY_KINDS.items():
        ids: tuple[int, ...] = getattr(parties, name)
        if not ids:
            continue
        if kind == SHIP_CATEGORY and sides == VICTIM_SIDE:
            yield name, OneOf("victim_category_id", frozenset(ids))
        else:
            yield name, Involves(kind, ids, sides)
