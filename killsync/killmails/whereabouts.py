"""Where the ships of a type or group were: the systems and regions of their newest killmails, most frequent first. Reads only."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from peewee import JOIN, Value, fn

from killsync.killmails.activity import MOST_COUNTED, newest_killmails
from killsync.killmails.entity_names import EntityNames
from killsync.killmails.killmail import SolarSystem
from killsync.names.entities import KnownEntity
from killsync.static_data.catalog import Named
from models.killmails import Killmail
from models.names import SolarSystem as SystemName

#: Systems and regions that are told.
MOST_PLACES = 5


@dataclass(frozen=True)
class Whereabouts:
    """Systems and regions with the number of killmails there, at most MOST_PLACES of each; regions only where they are known."""

    systems: list[tuple[SolarSystem, int]]
    regions: list[tuple[Named, int]]


def whereabouts(entity: KnownEntity) -> Whereabouts:
    """Where *entity* flew or was lost, by its newest MOST_COUNTED killmails."""
    newest = newest_killmails(entity, MOST_COUNTED)
    count = fn.COUNT(Value(1))
    table: Any = Killmail
    by_system = (
        table.select(table.solar_system_id, SystemName.name, count.alias("killmails"))
        .join(newest, on=newest.c.killmail_id == table.killmail_id)
        .join(SystemName, JOIN.LEFT_OUTER, on=SystemName.system_id == table.solar_system_id)
        .group_by(table.solar_system_id, SystemName.name)
        .order_by(count.desc(), table.solar_system_id)
    )
    names = EntityNames()
    systems: list[tuple[SolarSystem, int]] = []
    regions: Counter[int] = Counter()
    known: dict[int, Named] = {}
    for row in by_system.dicts():
        system = names.systems[row["solar_system_id"]]
        system.name = row["name"]
        if len(systems) < MOST_PLACES:
            systems.append((system, row["killmails"]))
        if system.region is not None:
            known[system.region.id] = system.region
            regions[system.region.id] += row["killmails"]
    return Whereabouts(systems, [(known[number], count) for number, count in regions.most_common(MOST_PLACES)])
