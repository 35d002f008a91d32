"""CCP's static data as Killsync keeps it: what types and systems are, where they belong, and which gates lead where.

Types and systems themselves are in `models.names`, beside the other things that have a name.
"""

from __future__ import annotations

from peewee import BigIntegerField, CompositeKey, SmallIntegerField, TextField

from models.fields import BaseModel, UtcDateTimeField


class ItemCategory(BaseModel):
    """The widest class of a type: 6 is a ship, 65 a structure."""

    category_id = BigIntegerField(primary_key=True)
    name = TextField(null=True)

    class Meta:
        table_name = "item_category"


class ItemGroup(BaseModel):
    """The class of a type, such as frigates."""

    group_id = BigIntegerField(primary_key=True)
    name = TextField(null=True)
    category_id = BigIntegerField()

    class Meta:
        table_name = "item_group"


class MarketGroup(BaseModel):
    """Where a type stands in the market; `parent_group_id` is empty at the top."""

    market_group_id = BigIntegerField(primary_key=True)
    name = TextField(null=True)
    parent_group_id = BigIntegerField(null=True)

    class Meta:
        table_name = "market_group"


class MetaGroup(BaseModel):
    """How well a type is made: Tech I, Tech II, Faction and so on."""

    meta_group_id = BigIntegerField(primary_key=True)
    name = TextField(null=True)

    class Meta:
        table_name = "meta_group"


class Region(BaseModel):
    region_id = BigIntegerField(primary_key=True)
    name = TextField(null=True)

    class Meta:
        table_name = "region"


class Constellation(BaseModel):
    constellation_id = BigIntegerField(primary_key=True)
    name = TextField(null=True)
    region_id = BigIntegerField()

    class Meta:
        table_name = "constellation"


class Stargate(BaseModel):
    """A gate from one system to another; the way back is a row of its own."""

    system_id = BigIntegerField()
    destination_id = BigIntegerField()

    class Meta:
        table_name = "stargate"
        primary_key = CompositeKey("system_id", "destination_id")


class StaticDataBuild(BaseModel):
    """The build that is loaded, and the newest one that CCP was heard of: one row, `id` 1."""

    id = BigIntegerField(primary_key=True)
    build_number = BigIntegerField(null=True)
    released_at = UtcDateTimeField(null=True)
    loaded_at = UtcDateTimeField(null=True)
    newest_build_number = BigIntegerField(null=True)
    checked_at = UtcDateTimeField(null=True)
    #: How often static data was loaded that changed anything.
    load_number = BigIntegerField(default=0)

    class Meta:
        table_name = "static_data_build"


TYPE, SYSTEM = 1, 2


class StaticDataChange(BaseModel):
    """A type or system of which a load says something new, until the killmails that it touches are classified again.

    `former_group_id` is the group that a type was in before; 0 for none, and for systems.
    """

    kind = SmallIntegerField()
    entity_id = BigIntegerField()
    former_group_id = BigIntegerField(default=0)
    load_number = BigIntegerField()

    class Meta:
        table_name = "static_data_change"
        primary_key = CompositeKey("kind", "entity_id", "former_group_id")
