"""What the static data says around a thing: what it is part of, what is part of it. Reads only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from models import Constellation, ItemCategory, ItemGroup, ItemType, MetaGroup, Region, SolarSystem, Stargate

#: The most parts that a page lists: the largest region has about 250 systems, the largest ship group about 60 ships.
MOST_PARTS = 500


@dataclass(frozen=True)
class TypeDetails:
    """What a type is. `volume` in cubic metres, `mass` in kilograms; None where the build does not say."""

    group_id: int
    group: str | None
    category_id: int | None
    category: str | None
    meta_group: str | None
    is_published: bool
    volume: float | None
    mass: float | None


@dataclass(frozen=True)
class SystemPart:
    """A system as another one or an area lists it. `security_status` is the true one."""

    id: int
    name: str | None
    region_id: int
    security_status: float


@dataclass(frozen=True)
class Part:
    """A constellation or type in a list."""

    id: int
    name: str | None


@dataclass(frozen=True)
class SystemDetails:
    """Where a system is, and the systems that its gates lead to."""

    constellation_id: int
    constellation: str | None
    region_id: int
    region: str | None
    security_status: float
    neighbours: list[SystemPart]


@dataclass(frozen=True)
class ConstellationDetails:
    """The region of a constellation, and its systems."""

    region_id: int
    region: str | None
    systems: list[SystemPart]


@dataclass(frozen=True)
class RegionDetails:
    """The constellations and systems of a region."""

    constellations: list[Part]
    systems: list[SystemPart]


@dataclass(frozen=True)
class GroupDetails:
    """The category of a group, and its published types."""

    category_id: int
    category: str | None
    types: list[Part]


def type_details(type_id: int) -> TypeDetails | None:
    """What a type is; None when the build does not know it."""
    query: Any = ItemType.select(
        ItemType.group_id, ItemGroup.name.alias("group"), ItemGroup.category_id, ItemCategory.name.alias("category"),
        MetaGroup.name.alias("meta_group"), ItemType.published, ItemType.volume, ItemType.mass,
    )  # fmt: skip
    for table, key in (
        (ItemGroup, ItemGroup.group_id == ItemType.group_id),
        (ItemCategory, ItemCategory.category_id == ItemGroup.category_id),
        (MetaGroup, MetaGroup.meta_group_id == ItemType.meta_group_id),
    ):
        query = query.join(table, "LEFT JOIN", on=key)
    row = query.where((ItemType.type_id == type_id) & ItemType.group_id.is_null(False)).dicts().first()
    if row is None:
        return None
    published = row.pop("published")
    return TypeDetails(**row, is_published=bool(published))


def system_details(system_id: int) -> SystemDetails | None:
    """Where a system is; None when the build does not know it."""
    query: Any = SolarSystem.select(
        SolarSystem.constellation_id, Constellation.name.alias("constellation"), SolarSystem.region_id,
        Region.name.alias("region"), SolarSystem.security_status,
    )  # fmt: skip
    query = query.join(Constellation, "LEFT JOIN", on=Constellation.constellation_id == SolarSystem.constellation_id)
    query = query.join(Region, "LEFT JOIN", on=Region.region_id == SolarSystem.region_id)
    row = query.where((SolarSystem.system_id == system_id) & SolarSystem.region_id.is_null(False)).dicts().first()
    if row is None:
        return None
    led_to = Stargate.select(Stargate.destination_id).where(Stargate.system_id == system_id)
    row["security_status"] = row["security_status"] or 0.0
    return SystemDetails(**row, neighbours=_systems(SolarSystem.system_id.in_(led_to)))


def constellation_details(constellation_id: int) -> ConstellationDetails | None:
    """What is in a constellation; None when the build does not know it."""
    query: Any = Constellation.select(Constellation.region_id, Region.name.alias("region"))
    query = query.join(Region, "LEFT JOIN", on=Region.region_id == Constellation.region_id)
    row = query.where(Constellation.constellation_id == constellation_id).dicts().first()
    if row is None:
        return None
    return ConstellationDetails(**row, systems=_systems(SolarSystem.constellation_id == constellation_id))


def region_details(region_id: int) -> RegionDetails | None:
    """What is in a region; None when the build does not know it."""
    areas: Any = Constellation.select(Constellation.constellation_id.alias("id"), Constellation.name)
    areas = areas.where(Constellation.region_id == region_id).order_by(Constellation.name).limit(MOST_PARTS)
    return RegionDetails([Part(**row) for row in areas.dicts()], _systems(SolarSystem.region_id == region_id))


def group_details(group_id: int) -> GroupDetails | None:
    """What is in a group; None when the build does not know it."""
    query: Any = ItemGroup.select(ItemGroup.category_id, ItemCategory.name.alias("category"))
    query = query.join(ItemCategory, "LEFT JOIN", on=ItemCategory.category_id == ItemGroup.category_id)
    row = query.where(ItemGroup.group_id == group_id).dicts().first()
    if row is None:
        return None
    types: Any = ItemType.select(ItemType.type_id.alias("id"), ItemType.name)
    types = types.where((ItemType.group_id == group_id) & ItemType.published).order_by(ItemType.name).limit(MOST_PARTS)
    return GroupDetails(**row, types=[Part(**each) for each in types.dicts()])


def _systems(condition: Any) -> list[SystemPart]:
    query: Any = SolarSystem.select(
        SolarSystem.system_id.alias("id"), SolarSystem.name, SolarSystem.region_id, SolarSystem.security_status
    )
    query = query.where(condition & SolarSystem.region_id.is_null(False)).order_by(SolarSystem.name).limit(MOST_PARTS)
    return [SystemPart(**{**row, "security_status": row["security_status"] or 0.0}) for row in query.dicts()]
