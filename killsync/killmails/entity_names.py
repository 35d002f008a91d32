"""Names of what a page of killmails mentions, read with one statement however many killmails there are. Reads only."""

from __future__ import annotations

from functools import reduce
from operator import add
from typing import Any

from peewee import Value

from killsync.killmails.killmail import Entity, Party
from models.expressions import one_of
from models.names import NAMED, Alliance, Character, Corporation, Faction, ItemType, SolarSystem
from models.sql import fetch

#: Columns of a party, as `victim` and `attacker` both have them.
PARTY_COLUMNS = ("character_id", "corporation_id", "alliance_id", "faction_id", "ship_type_id")


class EntityNames:
    """Gives one `Entity` for each id, and fills in all their names at the end."""

    def __init__(self) -> None:
        self._entities: dict[Any, dict[int, Entity]] = {table: {} for table in NAMED}

    def of(self, table: Any, entity_id: int) -> Entity:
        """The entity of one id of a name table."""
        known = self._entities[table]
        entity = known.get(entity_id)
        if entity is None:
            entity = known[entity_id] = Entity(entity_id)
        return entity

    def maybe(self, table: Any, entity_id: int | None) -> Entity | None:
        """The same; None for no id."""
        return None if entity_id is None else self.of(table, entity_id)

    def party(self, row: dict[str, Any]) -> dict[str, Any]:
        """The attributes of a `Party` whose columns *row* has."""
        return {
            "character": self.maybe(Character, row["character_id"]),
            "corporation": self.maybe(Corporation, row["corporation_id"]),
            "alliance": self.maybe(Alliance, row["alliance_id"]),
            "faction": self.maybe(Faction, row["faction_id"]),
            "ship_type": self.maybe(ItemType, row["ship_type_id"]),
        }

    def system(self, system_id: int) -> Entity:
        """A solar system."""
        return self.of(SolarSystem, system_id)

    def fill(self) -> None:
        """Read the names of all that was given out."""
        selects = []
        table: Any
        for position, table in enumerate(NAMED):
            ids = self._entities[table]
            if ids:
                key = table._meta.primary_key
                named = table.select(Value(position).alias("position"), key.alias("id"), table.name)
                selects.append(named.where(one_of(key, ids) & table.name.is_null(False)))
        for row in fetch(reduce(add, selects)) if selects else ():
            self._entities[NAMED[row["position"]]][row["id"]].name = row["name"]


def party(row: dict[str, Any], names: EntityNames) -> Party:
    """Who stands on one side, as a row of a list shows it."""
    return Party(**names.party(row))
