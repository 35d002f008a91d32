"""What pages call a thing: a type is a ship only where the static data says so. Reads the database."""

from __future__ import annotations

from collections.abc import Sequence

from peewee import Value

from killsync.names.entities import KnownEntity
from killsync.static_data import catalog
from models.killmails import SHIP_TYPE, Involvement

#: By category of the static data (CCP's `categories`); a type of another category is called a type.
_BY_CATEGORY = {
    6: "Ship", 7: "Module", 8: "Charge", 9: "Blueprint", 11: "NPC", 18: "Drone", 20: "Implant", 22: "Deployable",
    23: "Starbase structure", 32: "Subsystem", 46: "Orbital structure", 65: "Structure", 66: "Structure module", 87: "Fighter",
    91: "SKIN",
}  # fmt: skip


#: Categories of what is flown, fights by itself or stands in space: they are what killmails are about.
_FLOWN = frozenset({6, 11, 18, 22, 23, 46, 65, 87})


def is_flown(type_id: int) -> bool:
    """Whether a type may be on a killmail as what was flown or lost; so is one that is not known."""
    facts = catalog.current().get().type(type_id)
    return facts is None or facts.category_id is None or facts.category_id in _FLOWN


def of(found: Sequence[KnownEntity]) -> list[str]:
    """What each of the entities is called."""
    return [of_type(entity.id) if entity.kind.involvement == SHIP_TYPE else entity.kind.noun for entity in found]


def of_type(type_id: int) -> str:
    """What a type is called. Before static data is loaded one that was flown or lost counts as a ship, others as a type."""
    facts = catalog.current().get().type(type_id)
    if facts is not None and facts.category_id is not None:
        return _BY_CATEGORY.get(facts.category_id, "Type")
    flown = Involvement.select(Value(1)).where(Involvement.ship_type_id == type_id)
    return "Ship" if flown.exists() else "Type"
