"""A killmail as everything in Killsync reads it: pages, webhooks, filters, events and GraphQL.

The fields have ESI's names. Only what speaks to the outside (`graphql_api`, the JSON of a webhook) renames them.
"""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

import msgspec

from killsync.killmails.classification import SecurityBand
from killsync.killmails.labels import labels_of
from killsync.static_data.catalog import Area, Group, Named


class Entity(msgspec.Struct):
    """Something with an id at ESI and a name, which is None until it is known."""

    id: int
    name: str | None = None


class Organisation(Entity):
    """A corporation or alliance; its ticker is None until it is known."""

    ticker: str | None = None


class ItemType(Entity):
    """A ship, structure, module or other item; its group is None where the static data does not know it."""

    group: Group | None = None


class SolarSystem(Entity):
    """A solar system, and where it is as far as the static data knows. `security_status` is the true one."""

    security_status: float | None = None
    security: SecurityBand | None = None
    constellation: Area | None = None
    region: Named | None = None


class Position(msgspec.Struct):
    """A place in a solar system, metres from its sun."""

    x: float
    y: float
    z: float


class Party(msgspec.Struct, kw_only=True):
    """Who stands on one side of a killmail, as far as a row of a list shows."""

    character: Entity | None = None
    corporation: Organisation | None = None
    alliance: Organisation | None = None
    faction: Entity | None = None
    ship_type: ItemType | None = None

    @property
    def faction_id(self) -> int | None:
        return None if self.faction is None else self.faction.id


class Victim(Party, kw_only=True):
    """Who and what was lost. A structure has no character; `ship_type` is always there."""

    ship_type: ItemType
    damage_taken: int
    position: Position | None = None


class Attacker(Party, kw_only=True):
    """One who took part. NPCs have no character."""

    weapon_type: ItemType | None = None
    damage_done: int
    final_blow: bool
    #: From -10 to 5.
    security_status: float | None = None


class Item(msgspec.Struct, kw_only=True):
    """Something the victim carried, and what lay in it. `flag` and `singleton` are ESI's numbers."""

    item_type: ItemType
    flag: int
    quantity_dropped: int | None = None
    quantity_destroyed: int | None = None
    singleton: int
    items: list[Item] = []
    #: What all of it was worth, ISK, by the prices that its killmail was valued by; None until then.
    value: float | None = None


#: The columns that say what a killmail was worth.
VALUED = ("total_value", "destroyed_value", "dropped_value", "fitted_value", "priced_on")


class KillmailValue(msgspec.Struct, kw_only=True):
    """What a killmail was worth, ISK (`killsync.prices.valuation`); `priced_on` is the day of the prices, such as 2026-11-26."""

    total: float
    destroyed: float
    dropped: float
    fitted: float
    priced_on: str | None


#: What a killmail is worth as long as no prices are known.
NOT_VALUED = KillmailValue(total=0.0, destroyed=0.0, dropped=0.0, fitted=0.0, priced_on=None)


def value_in(row: dict[str, Any]) -> tuple[KillmailValue | None, Decimal]:
    """(what a killmail was worth, its exact total) by the columns VALUED."""
    total = row["total_value"]
    exact = total if isinstance(total, Decimal) else Decimal(f"{total:.2f}")
    if row["priced_on"] is None:
        return None, exact
    destroyed, dropped, fitted = (float(row[name]) for name in ("destroyed_value", "dropped_value", "fitted_value"))
    day: date | str = row["priced_on"]
    return KillmailValue(
        total=float(total), destroyed=destroyed, dropped=dropped, fitted=fitted, priced_on=str(day)
    ), exact


class Killmail(msgspec.Struct, kw_only=True):
    """A stored killmail, whole. Attackers and items are in ESI's order."""

    killmail_id: int
    killmail_hash: str
    killmail_time: datetime
    solar_system: SolarSystem
    moon_id: int | None = None
    war_id: int | None = None
    victim: Victim
    attackers: list[Attacker] = []
    attacker_count: int
    final_blow: Attacker | None = None
    items: list[Item] = []
    #: What it is about, as it was classified (`killsync.killmails.classification`).
    npc: bool = False
    solo: bool = False
    awox: bool = False
    victim_category_id: int | None = None
    constellation_id: int | None = None
    region_id: int | None = None
    security: str | None = None
    label_bits: int = 0
    created_at: datetime
    #: Its number in the log.
    sequence: int = 0
    #: None until it was valued; `total_value` is the exact total, ISK, 0 until then.
    value: KillmailValue | None = None
    total_value: Decimal = Decimal(0)
    #: `killsync.fitting.values.Fitting`, for whoever asked for it.
    fitting: Any = None

    @property
    def solar_system_id(self) -> int:
        return self.solar_system.id

    @property
    def value_or_nothing(self) -> KillmailValue:
        """What it was worth, 0 of everything until it was valued."""
        return self.value or NOT_VALUED

    @property
    def labels(self) -> list[str]:
        """The labels that other killboards know, sorted."""
        return list(labels_of(self.label_bits, self.victim_category_id))


class KillmailSummary(msgspec.Struct, kw_only=True):
    """As much of a killmail as a row of a list shows."""

    killmail_id: int
    killmail_time: datetime
    solar_system: SolarSystem
    victim: Party
    attacker_count: int
    final_blow: Party | None = None
    solo: bool = False
    npc: bool = False
    awox: bool = False
    #: What it was worth in all, ISK; None until it was valued.
    total_value: float | None = None
    #: "kill" or "loss" for whoever the list is about; None for nobody.
    outcome: str | None = None
