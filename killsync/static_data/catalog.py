"""What the loaded build says of types and systems, in memory: a look-up for every killmail that is stored must cost nothing.

A catalog never changes; when another build has been loaded, a new one takes its place.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from killsync.process import OnePerProcess
from models import Constellation, ItemCategory, ItemGroup, ItemType, MarketGroup, Region, SolarSystem, StaticDataBuild
from models.db import connection, database
from models.static_data import SYSTEM, TYPE

T = TypeVar("T")

#: How often a process looks whether another build has been loaded, seconds.
LOOK_SECONDS = 30.0
#: Market groups below which everything is a capital ship.
CAPITAL_MARKET_GROUPS = frozenset({1381, 2288})


@dataclass(frozen=True, slots=True)
class TypeFacts:
    """What a type is."""

    group_id: int
    category_id: int | None
    is_capital: bool


@dataclass(frozen=True, slots=True)
class SystemFacts:
    """Where a system is, and its true security status."""

    constellation_id: int
    region_id: int
    security_status: float


@dataclass(frozen=True, slots=True)
class Named:
    """A category or region: its id, and its name if it has one."""

    id: int
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Group(Named):
    """The class of a type, such as frigates."""

    category: Named | None = None


@dataclass(frozen=True, slots=True)
class Area(Named):
    """A constellation, and the region that it is in."""

    region: Named | None = None


@dataclass(frozen=True)
class Names:
    """What things are called, by their ids; `areas` gives the region of a constellation as well."""

    groups: Mapping[int, str | None] = field(default_factory=dict)
    categories: Mapping[int, str | None] = field(default_factory=dict)
    regions: Mapping[int, str | None] = field(default_factory=dict)
    constellations: Mapping[int, tuple[str | None, int]] = field(default_factory=dict)


class Catalog:
    """Types and systems of one build.

    Args:
        types: (type, group, market group) of each.
        categories: the category of each group.
        parents: the parent of each market group.
        systems: by their ids.
        names: of groups, categories, regions and constellations.
        load_number: by which load it came; 0 without static data.

    Attributes:
        load_number: as given.
    """

    def __init__(
        self,
        types: Iterable[tuple[int, int, int | None]] = (),
        categories: Mapping[int, int] | None = None,
        parents: Mapping[int, int | None] | None = None,
        systems: Mapping[int, SystemFacts] | None = None,
        names: Names | None = None,
        load_number: int = 0,
    ) -> None:
        self.load_number = load_number
        categories, parents = categories or {}, parents or {}
        capital = {number for number in parents if _is_below(number, parents)} | CAPITAL_MARKET_GROUPS
        # One object for all types of a group: fifty thousand types have fewer than two thousand.
        shared: dict[tuple[int, bool], TypeFacts] = {}
        self._types: dict[int, TypeFacts] = {}
        for type_id, group_id, market_group_id in types:
            key = group_id, market_group_id in capital
            if key not in shared:
                shared[key] = TypeFacts(group_id, categories.get(group_id), key[1])
            self._types[type_id] = shared[key]
        self._systems = dict(systems or {})
        self._name(categories, names or Names())

    def _name(self, categories: Mapping[int, int], names: Names) -> None:
        kinds = {number: Named(number, names.categories.get(number)) for number in set(categories.values())}
        self._groups = {
            number: Group(number, names.groups.get(number), kinds[category_id])
            for number, category_id in categories.items()
        }
        self._regions = {number: Named(number, name) for number, name in names.regions.items()}
        self._areas = {
            number: Area(number, name, self.region(region_id))
            for number, (name, region_id) in names.constellations.items()
        }

    def type(self, type_id: int | None) -> TypeFacts | None:
        """What a type is; None when it is newer than the build."""
        return None if type_id is None else self._types.get(type_id)

    def system(self, system_id: int) -> SystemFacts | None:
        """Where a system is; None when it is newer than the build."""
        return self._systems.get(system_id)

    def group(self, group_id: int) -> Group:
        """A group by its id, as far as it is known."""
        return self._groups.get(group_id) or Group(group_id)

    def constellation(self, constellation_id: int) -> Area:
        """A constellation by its id, as far as it is known."""
        return self._areas.get(constellation_id) or Area(constellation_id)

    def region(self, region_id: int) -> Named:
        """A region by its id, as far as it is known."""
        return self._regions.get(region_id) or Named(region_id)

    def changes(self, later: Catalog) -> Iterator[tuple[int, int, int]]:
        """(TYPE or SYSTEM, id, group before or 0) of all of which *later* says something else than this."""
        for type_id, facts in later._types.items():
            before = self._types.get(type_id)
            if before != facts:
                yield TYPE, type_id, before.group_id if before else 0
        for system_id, where in later._systems.items():
            if self._systems.get(system_id) != where:
                yield SYSTEM, system_id, 0

    def __len__(self) -> int:
        return len(self._types)


def _is_below(number: int, parents: Mapping[int, int | None]) -> bool:
    """Whether a market group is below those of capital ships. A circle in the data ends the climb."""
    seen: set[int] = set()
    current: int | None = number
    while current is not None and current not in seen:
        if current in CAPITAL_MARKET_GROUPS:
            return True
        seen.add(current)
        current = parents.get(current)
    return False


def load_number() -> int:
    """How often static data was loaded that changed anything; 0 before the first."""
    return int(StaticDataBuild.select(StaticDataBuild.load_number).scalar() or 0)


def read() -> Catalog:
    """The catalog of the build that is loaded; empty before the first."""
    # First: should another load come between, what this catalog says counts as that of the load before.
    number = load_number()
    types: Any = ItemType.select(ItemType.type_id, ItemType.group_id, ItemType.market_group_id).where(
        ItemType.group_id.is_null(False)
    )
    systems: Any = SolarSystem.select().where(SolarSystem.region_id.is_null(False)).namedtuples()
    groups: list[Any] = list(ItemGroup.select().namedtuples())
    markets: Any = MarketGroup.select().namedtuples()
    kinds: Any = ItemCategory.select().namedtuples()
    regions: Any = Region.select().namedtuples()
    areas: Any = Constellation.select().namedtuples()
    return Catalog(
        ((each.type_id, each.group_id, each.market_group_id) for each in types.namedtuples().iterator()),
        {each.group_id: each.category_id for each in groups},
        {each.market_group_id: each.parent_group_id for each in markets},
        {
            each.system_id: SystemFacts(each.constellation_id, each.region_id, each.security_status or 0.0)
            for each in systems
        },
        Names(
            {each.group_id: each.name for each in groups},
            {each.category_id: each.name for each in kinds},
            {each.region_id: each.name for each in regions},
            {each.constellation_id: (each.name, each.region_id) for each in areas},
        ),
        number,
    )


class Current(Generic[T]):
    """What this process has in memory of the static data: read when it is first asked for, and again after another load.

    Args:
        read: makes it of the tables.
    """

    def __init__(self, read: Callable[[], T]) -> None:
        self._read = read
        self._lock = threading.Lock()
        self._value: T | None = None
        self._key: tuple[str, int] | None = None
        self._looked_at = float("-inf")

    def get(self) -> T:
        """What was read. Costs a statement every LOOK_SECONDS, and a second of reading after a new load."""
        with self._lock:
            name = str(database.obj.database)
            is_known = self._key is not None and self._key[0] == name
            if self._value is None or not is_known or time.monotonic() - self._looked_at >= LOOK_SECONDS:
                with connection():
                    while (key := (name, load_number())) != self._key or self._value is None:
                        # It is read table by table: another load in between is noticed by the next look.
                        self._value, self._key = self._read(), key
                self._looked_at = time.monotonic()
            return self._value

    def look(self) -> T:
        """The same, after having looked whether something was loaded."""
        self._looked_at = float("-inf")
        return self.get()


current = OnePerProcess(lambda: Current(read))
