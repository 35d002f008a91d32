"""What the loaded build says of types and systems, in memory: a look-up for every killmail that is stored must cost nothing.

A catalog never changes; when another build has been loaded, a new one takes its place.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from killsync.process import OnePerProcess
from killsync.static_data import store
from models import ItemGroup, ItemType, MarketGroup, SolarSystem
from models.db import connection, database

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


class Catalog:
    """Types and systems of one build.

    Args:
        types: (type, group, market group) of each.
        categories: the category of each group.
        parents: the parent of each market group.
        systems: by their ids.
    """

    def __init__(
        self,
        types: Iterable[tuple[int, int, int | None]] = (),
        categories: Mapping[int, int] | None = None,
        parents: Mapping[int, int | None] | None = None,
        systems: Mapping[int, SystemFacts] | None = None,
    ) -> None:
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

    def type(self, type_id: int | None) -> TypeFacts | None:
        """What a type is; None when it is newer than the build."""
        return None if type_id is None else self._types.get(type_id)

    def system(self, system_id: int) -> SystemFacts | None:
        """Where a system is; None when it is newer than the build."""
        return self._systems.get(system_id)

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


def read() -> Catalog:
    """The catalog of the build that is loaded; empty before the first."""
    types: Any = ItemType.select(ItemType.type_id, ItemType.group_id, ItemType.market_group_id).where(
        ItemType.group_id.is_null(False)
    )
    systems: Any = SolarSystem.select().where(SolarSystem.region_id.is_null(False)).namedtuples()
    groups: Any = ItemGroup.select().namedtuples()
    markets: Any = MarketGroup.select().namedtuples()
    return Catalog(
        ((each.type_id, each.group_id, each.market_group_id) for each in types.namedtuples().iterator()),
        {each.group_id: each.category_id for each in groups},
        {each.market_group_id: each.parent_group_id for each in markets},
        {
            each.system_id: SystemFacts(each.constellation_id, each.region_id, each.security_status or 0.0)
            for each in systems
        },
    )


class CurrentCatalog:
    """The catalog of this process: read when it is first asked for, and again when another build has been loaded."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._catalog = Catalog()
        self._key: tuple[str, int | None] | None = None
        self._looked_at = float("-inf")

    def get(self) -> Catalog:
        """The catalog. Costs a statement every LOOK_SECONDS, and a second of reading after a new build."""
        with self._lock:
            name = str(database.obj.database)
            is_known = self._key is not None and self._key[0] == name
            if not is_known or time.monotonic() - self._looked_at >= LOOK_SECONDS:
                with connection():
                    build = store.loaded()
                    key = name, None if build is None else build.number
                    if key != self._key:
                        self._catalog, self._key = read(), key
                self._looked_at = time.monotonic()
            return self._catalog


current = OnePerProcess(CurrentCatalog)
