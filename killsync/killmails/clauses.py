"""What a filter of killmails is made of: one thing that has to hold, or must not. Pure.

A clause names what it looks at as both the tables and `Killmail` name it: `killsync.killmails.selection` asks the database for
what fits, and `matches` gives the same answer for a killmail in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from killsync.killmails.classification import DRIFTER_REGION, SecurityBand
from killsync.killmails.killmail import Attacker, ItemType, Killmail, Party
from killsync.killmails.labels import BITS, category_of
from models.killmails import ALLIANCE, ATTACKER_SIDE, CHARACTER, CORPORATION, SHIP_GROUP, SHIP_TYPE, VICTIM_SIDE

BOTH_SIDES = VICTIM_SIDE | ATTACKER_SIDE
#: Kinds of taking part that `models.killmails.Involvement` does not have; the last two are of attackers alone.
FACTION, SHIP_CATEGORY, WEAPON_TYPE, WEAPON_GROUP = -1, -2, -3, -4
#: The rarest kind first: a page begins with it.
RANK = (CHARACTER, CORPORATION, SHIP_TYPE, ALLIANCE, SHIP_GROUP, WEAPON_TYPE, FACTION, WEAPON_GROUP, SHIP_CATEGORY)
#: The attribute of a `Party` by kind.
_ATTRIBUTES = {CHARACTER: "character", CORPORATION: "corporation", ALLIANCE: "alliance", SHIP_TYPE: "ship_type",
               FACTION: "faction"}  # fmt: skip


@dataclass(frozen=True)
class Involves:
    """One of *ids* of a kind took part, on one of the sides."""

    kind: int
    ids: tuple[int, ...]
    sides: int = BOTH_SIDES

    def matches(self, killmail: Killmail) -> bool:
        """Whether *killmail* fits."""
        return any(id_of(party, self.kind) in self.ids for party in parties(killmail, self.sides))


@dataclass(frozen=True)
class FinalBlowBy:
    """The final blow was dealt by a member of one of these corporations, alliances or factions."""

    ids: tuple[int, ...]

    def matches(self, killmail: Killmail) -> bool:
        """Whether *killmail* fits."""
        return any(
            each is not None and each.id in self.ids
            for attacker in killmail.attackers
            if attacker.final_blow
            for each in (attacker.corporation, attacker.alliance, attacker.faction)
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
class Given:
    """A column of the killmail is not empty."""

    column: str

    def matches(self, killmail: Killmail) -> bool:
        """Whether *killmail* fits."""
        return getattr(killmail, self.column) is not None


@dataclass(frozen=True)
class Labelled:
    """The killmail has the label of this bit (`killsync.killmails.labels`)."""

    bit: int

    def matches(self, killmail: Killmail) -> bool:
        """Whether *killmail* fits."""
        return killmail.label_bits & self.bit == self.bit


@dataclass(frozen=True)
class Age:
    """When it was stored, the killmail was at most so many whole seconds old."""

    seconds: int

    def matches(self, killmail: Killmail) -> bool:
        """Whether *killmail* fits."""
        return (
            int((killmail.created_at.replace(microsecond=0) - killmail.killmail_time).total_seconds()) <= self.seconds
        )


Plain = Involves | FinalBlowBy | OneOf | Between | Flag | Given | Labelled | Age


@dataclass(frozen=True)
class Not:
    """Another clause does not hold; what is unknown of the killmail is not so."""

    clause: Plain

    def matches(self, killmail: Killmail) -> bool:
        """Whether *killmail* fits."""
        return not self.clause.matches(killmail)


Clause = Plain | Not


def parties(killmail: Killmail, sides: int) -> Iterator[Party]:
    """Who stands on the sides of a killmail."""
    if sides & VICTIM_SIDE:
        yield killmail.victim
    if sides & ATTACKER_SIDE:
        yield from killmail.attackers


def id_of(party: Party, kind: int) -> int | None:
    """The id by which a party takes part in this way."""
    if kind in _ATTRIBUTES:
        entity = getattr(party, _ATTRIBUTES[kind])
        return None if entity is None else int(entity.id)
    is_weapon = kind in (WEAPON_TYPE, WEAPON_GROUP)
    item: ItemType | None = party.ship_type
    if is_weapon:
        item = party.weapon_type if isinstance(party, Attacker) else None
    if item is None or kind == WEAPON_TYPE:
        return None if item is None else item.id
    if item.group is None or kind in (SHIP_GROUP, WEAPON_GROUP):
        return None if item.group is None else item.group.id
    return None if item.group.category is None else item.group.category.id


def labelled(label: str) -> Plain:
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
