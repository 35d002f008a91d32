"""Names of what killmails mention. A row without a name is a name still to be asked for, at `retry_at` at the earliest.

`refusals` counts how often in a row ESI refused to name an id that was asked for by itself.
"""

from __future__ import annotations

from peewee import BigIntegerField, BooleanField, DoubleField, IntegerField, TextField

from models.fields import BaseModel, UtcDateTimeField


class Character(BaseModel):
    character_id = BigIntegerField(primary_key=True)
    name = TextField(null=True)
    updated_at = UtcDateTimeField(null=True)
    retry_at = UtcDateTimeField(null=True)
    refusals = IntegerField(default=0)

    class Meta:
        table_name = "character"


class Corporation(BaseModel):
    corporation_id = BigIntegerField(primary_key=True)
    name = TextField(null=True)
    ticker = TextField(null=True)
    #: When ESI was last asked for it: a page asks at most once a day.
    ticker_asked_at = UtcDateTimeField(null=True)
    updated_at = UtcDateTimeField(null=True)
    retry_at = UtcDateTimeField(null=True)
    refusals = IntegerField(default=0)

    class Meta:
        table_name = "corporation"


class Alliance(BaseModel):
    alliance_id = BigIntegerField(primary_key=True)
    name = TextField(null=True)
    ticker = TextField(null=True)
    #: When ESI was last asked for it: a page asks at most once a day.
    ticker_asked_at = UtcDateTimeField(null=True)
    updated_at = UtcDateTimeField(null=True)
    retry_at = UtcDateTimeField(null=True)
    refusals = IntegerField(default=0)

    class Meta:
        table_name = "alliance"


class Faction(BaseModel):
    faction_id = BigIntegerField(primary_key=True)
    name = TextField(null=True)
    updated_at = UtcDateTimeField(null=True)
    retry_at = UtcDateTimeField(null=True)
    refusals = IntegerField(default=0)

    class Meta:
        table_name = "faction"


class ItemType(BaseModel):
    """What things are made of: ships, modules, structures. All but the name comes from the static data."""

    type_id = BigIntegerField(primary_key=True)
    name = TextField(null=True)
    group_id = BigIntegerField(null=True, index=True)
    market_group_id = BigIntegerField(null=True)
    meta_group_id = BigIntegerField(null=True)
    published = BooleanField(null=True)
    #: Cubic metres and kilograms.
    volume = DoubleField(null=True)
    mass = DoubleField(null=True)
    updated_at = UtcDateTimeField(null=True)
    retry_at = UtcDateTimeField(null=True)
    refusals = IntegerField(default=0)

    class Meta:
        table_name = "item_type"


class SolarSystem(BaseModel):
    """All but the name comes from the static data; the position is in metres."""

    system_id = BigIntegerField(primary_key=True)
    name = TextField(null=True)
    constellation_id = BigIntegerField(null=True)
    region_id = BigIntegerField(null=True, index=True)
    security_status = DoubleField(null=True)
    position_x = DoubleField(null=True)
    position_y = DoubleField(null=True)
    position_z = DoubleField(null=True)
    updated_at = UtcDateTimeField(null=True)
    retry_at = UtcDateTimeField(null=True)
    refusals = IntegerField(default=0)

    class Meta:
        table_name = "solar_system"


#: In the order in which every transaction touches them, so that two transactions never wait for each other.
NAMED = (Character, Corporation, Alliance, Faction, ItemType, SolarSystem)

#: Table and key of each kind of name, in the one order in which every transaction touches them.
NAME_KEYS = {
    "character": "character_id",
    "corporation": "corporation_id",
    "alliance": "alliance_id",
    "faction": "faction_id",
    "item_type": "type_id",
    "solar_system": "system_id",
}
