"""Names of what a page of killmails mentions, read with one statement however many killmails there are. Reads only."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from operator import add
from typing import Any

from peewee import Value, fn

from killsync.killmails.classification import band
from killsync.killmails.killmail import Entity, ItemType, Organisation, Party, SolarSystem
from killsync.static_data import catalog
from killsync.static_data.catalog import Catalog
from models.names import NAMED, Alliance, Corporation
from models.prepared import Ids, Prepared

#: Columns of a party, as `victim` and `attacker` both have them.
PARTY_COLUMNS = ("character_id", "corporation_id", "alliance_id", "faction_id", "ship_type_id")


def _names(*ids: Ids) -> Any:
    """(position in NAMED, id, name, ticker) of the named ones among the ids, given for each table of NAMED."""
    selects = []
    table: Any
    for position, (table, wanted) in enumerate(zip(NAMED, ids, strict=True)):
        key = table._meta.primary_key
        # Text for all kinds: PostgreSQL wants each column of a union to be of one type.
        ticker = fn.COALESCE(table.ticker, "") if table in (Corporation, Alliance) else Value("")
        named = table.select(Value(position).alias("position"), key.alias("id"), table.name, ticker.alias("ticker"))
        selects.append(named.where(wanted.have(key) & table.name.is_null(False)))
    return reduce(add, selects)


_NAMES = Prepared(_names, lists=len(NAMED))


class _Entities(dict[int | None, Any]):
    """One `Entity` for each id of one table of names, made when it is asked for first; no id is no entity."""

    def __init__(self, make: Callable[[int], Entity] = Entity) -> None:
        super().__init__({None: None})
        self._make = make

    def __missing__(self, entity_id: int | None) -> Entity:
        assert entity_id is not None
        entity = self[entity_id] = self._make(entity_id)
        return entity


class EntityNames:
    """Gives one `Entity` for each id, and fills in all their names and tickers at the end.

    What types are and where systems lie comes from the static data that this process has in memory.
    """

    def __init__(self) -> None:
        known = catalog.current().get()
        self.characters = _Entities()
        self.corporations = _Entities(Organisation)
        self.alliances = _Entities(Organisation)
        self.factions = _Entities()
        self.types = _Entities(lambda type_id: _type(type_id, known))
        self.systems = _Entities(lambda system_id: _system(system_id, known))

    def party(self, row: dict[str, Any]) -> dict[str, Any]:
        """The attributes of a `Party` whose columns *row* has."""
        return {
            "character": self.characters[row["character_id"]],
            "corporation": self.corporations[row["corporation_id"]],
            "alliance": self.alliances[row["alliance_id"]],
            "faction": self.factions[row["faction_id"]],
            "ship_type": self.types[row["ship_type_id"]],
        }

    def fill(self) -> None:
        """Read the names and tickers of all that was given out."""
        # In the order of NAMED.
        given = (self.characters, self.corporations, self.alliances, self.factions, self.types, self.systems)
        wanted = [[entity_id for entity_id in entities if entity_id is not None] for entities in given]
        for row in _NAMES.fetch(*wanted):
            entity = given[row["position"]][row["id"]]
            entity.name = row["name"]
            if row["ticker"]:
                entity.ticker = row["ticker"]


def _type(type_id: int, known: Catalog) -> ItemType:
    facts = known.type(type_id)
    return ItemType(type_id, group=known.group(facts.group_id) if facts is not None else None)


def _system(system_id: int, known: Catalog) -> SolarSystem:
    facts = known.system(system_id)
    if facts is None:
        return SolarSystem(system_id)
    return SolarSystem(
        system_id,
        security_status=facts.security_status,
        security=band(facts.security_status, facts.region_id),
        constellation=known.constellation(facts.constellation_id),
        region=known.region(facts.region_id),
    )


def party(row: dict[str, Any], names: EntityNames) -> Party:
    """Who stands on one side, as a row of a list shows it."""
    return Party(**names.party(row))
