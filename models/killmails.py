"""Killmails as ESI gives them, and the ledger of every id that a list ever named. Tables only; queries live beside it."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

from peewee import (
    SQL,
    BigAutoField,
    BigIntegerField,
    BooleanField,
    CompositeKey,
    DateField,
    DoubleField,
    IntegerField,
    Node,
    SmallIntegerField,
    TextField,
)

from models.expressions import now
from models.fields import BaseModel, IskField, UtcDateTimeField, utcnow

PENDING = "pending"
FETCHED = "fetched"
INVALID = "invalid"

#: Values of `Killmail.classified_by` that are no number of a load.
UNCLASSIFIED, NO_STATIC_DATA = -1, 0

_OF_KILLMAIL: list[Node] = [SQL("REFERENCES killmail (killmail_id) ON DELETE CASCADE")]


class KillmailRef(BaseModel):
    """One killmail id a list named. `fetch_priority` orders the work (0 first).

    A `pending` row may be sent to a worker when `due_at` has passed; sending sets `sent_at` and moves `due_at` on, so a
    message that was lost is sent again by itself.
    """

    killmail_id = BigIntegerField(primary_key=True)
    killmail_hash = TextField()
    state = TextField(default=PENDING)
    attempts = IntegerField(default=0)
    last_error = TextField(null=True)
    discovered_at = UtcDateTimeField(default=now)
    fetch_priority = SmallIntegerField(column_name="lane", default=0)
    due_at = UtcDateTimeField(default=now)
    sent_at = UtcDateTimeField(null=True)
    refused_at = UtcDateTimeField(null=True)
    run_id = BigIntegerField(null=True)

    class Meta:
        table_name = "killmail_ref"


class UserKillmail(BaseModel):
    """Whose list named which killmail."""

    user_id = BigIntegerField()
    killmail_id = BigIntegerField(index=True)

    class Meta:
        table_name = "user_killmail"
        primary_key = CompositeKey("user_id", "killmail_id")


class CorporationKillmail(BaseModel):
    """Which corporation's list named which killmail."""

    corporation_id = BigIntegerField()
    killmail_id = BigIntegerField()

    class Meta:
        table_name = "corporation_killmail"
        primary_key = CompositeKey("corporation_id", "killmail_id")


class Killmail(BaseModel):
    killmail_id = BigIntegerField(primary_key=True)
    killmail_hash = TextField()
    killmail_time = UtcDateTimeField()
    solar_system_id = BigIntegerField()
    moon_id = BigIntegerField(null=True)
    war_id = BigIntegerField(null=True)
    attacker_count = IntegerField()
    created_at = UtcDateTimeField(default=utcnow)
    #: Its number in the log (`models.killmail_log`), given last in the transaction that stores it.
    sequence = BigIntegerField(null=True)
    #: What it is about (`killsync.killmails.classification`). Nothing where the static data does not know it.
    npc = BooleanField(default=False)
    solo = BooleanField(default=False)
    awox = BooleanField(default=False)
    victim_category_id = BigIntegerField(null=True)
    constellation_id = BigIntegerField(null=True)
    region_id = BigIntegerField(null=True)
    security = TextField(null=True)
    label_bits = BigIntegerField(default=0)
    #: By which load of the static data; NO_STATIC_DATA without any, UNCLASSIFIED not yet.
    classified_by = BigIntegerField(default=-1)
    #: What it was worth, ISK (`killsync.prices`), by the prices of which day; without a day it was not valued yet.
    total_value = IskField(default="0.00")
    destroyed_value = IskField(default="0.00")
    dropped_value = IskField(default="0.00")
    fitted_value = IskField(default="0.00")
    priced_on = DateField(null=True)

    class Meta:
        table_name = "killmail"


class Victim(BaseModel):
    killmail_id = BigIntegerField(primary_key=True, constraints=_OF_KILLMAIL)
    character_id = BigIntegerField(null=True, index=True)
    corporation_id = BigIntegerField(null=True)
    alliance_id = BigIntegerField(null=True)
    faction_id = BigIntegerField(null=True)
    ship_type_id = BigIntegerField()
    damage_taken = BigIntegerField()
    position_x = DoubleField(null=True)
    position_y = DoubleField(null=True)
    position_z = DoubleField(null=True)

    class Meta:
        table_name = "victim"


class Attacker(BaseModel):
    id = BigAutoField()
    killmail_id = BigIntegerField(index=True, constraints=_OF_KILLMAIL)
    character_id = BigIntegerField(null=True)
    corporation_id = BigIntegerField(null=True)
    alliance_id = BigIntegerField(null=True)
    faction_id = BigIntegerField(null=True)
    ship_type_id = BigIntegerField(null=True)
    weapon_type_id = BigIntegerField(null=True)
    damage_done = BigIntegerField()
    final_blow = BooleanField()
    security_status = DoubleField(null=True)

    class Meta:
        table_name = "attacker"


class KillmailItem(BaseModel):
    """An item the victim carried; `parent_id` is the row of the container it lay in."""

    id = BigAutoField()
    killmail_id = BigIntegerField(index=True, constraints=_OF_KILLMAIL)
    parent_id = BigIntegerField(null=True)
    item_type_id = BigIntegerField()
    flag = IntegerField()
    quantity_dropped = BigIntegerField(null=True)
    quantity_destroyed = BigIntegerField(null=True)
    singleton = IntegerField()

    class Meta:
        table_name = "killmail_item"


class KillmailBody(BaseModel):
    """ESI's own text of a killmail, for those of which the other tables do not say every field."""

    killmail_id = BigIntegerField(primary_key=True, constraints=_OF_KILLMAIL)
    body = TextField()

    class Meta:
        table_name = "killmail_body"


class _Parties(BaseModel):
    """The columns of `Involvement` that say who and of which killmail."""

    character_id = BigIntegerField(null=True)
    corporation_id = BigIntegerField(null=True)
    alliance_id = BigIntegerField(null=True)
    ship_type_id = BigIntegerField(null=True)
    ship_group_id = BigIntegerField(null=True)
    killmail_time = UtcDateTimeField()
    killmail_id = BigIntegerField()

    class Meta:
        # Its indexes say that no party is there twice; a key of the row would be one entry more and serve nobody.
        primary_key = False


class InvolvedVictim(_Parties):
    """Parties of `Involvement` that are the victim's alone."""

    class Meta:
        table_name = "involved_victim"


class InvolvedAttacker(_Parties):
    """Parties of `Involvement` that are among the attackers alone."""

    class Meta:
        table_name = "involved_attacker"


class InvolvedBoth(_Parties):
    """Parties of `Involvement` that stood on both sides."""

    class Meta:
        table_name = "involved_both"


class Involvement(_Parties):
    """Who and what took part in a killmail, once each, in the order pages are read: the index behind every filter.

    A row has room for one party of each kind, whether they belong together or not; all of them stood on the same `sides`, a
    bit set of VICTIM_SIDE and ATTACKER_SIDE. So five pilots of two corporations in three ships are five rows, not ten. Each
    kind has an index of its own (`OF_KIND`): the rows with a party of it, by party and time. An attacker table with 200 rows of
    one corporation names it once here, so a page by corporation is one index range.

    It is a view, for reading alone: the sides are told by the table that a row is in (`INVOLVED`), so that no index holds them.
    Both databases read the ranges of the three side by side, in the order of a page; of one side PostgreSQL reads two.
    """

    sides = SmallIntegerField()

    class Meta:
        table_name = "involved"


CHARACTER, CORPORATION, ALLIANCE, SHIP_TYPE, SHIP_GROUP = 1, 2, 3, 4, 5
VICTIM_SIDE, ATTACKER_SIDE = 1, 2
#: The table of the rows of `Involvement` with these sides.
INVOLVED: dict[int, Any] = {
    VICTIM_SIDE: InvolvedVictim,
    ATTACKER_SIDE: InvolvedAttacker,
    VICTIM_SIDE | ATTACKER_SIDE: InvolvedBoth,
}
#: The column of `Involvement` for each kind of party.
OF_KIND = {
    CHARACTER: "character_id",
    CORPORATION: "corporation_id",
    ALLIANCE: "alliance_id",
    SHIP_TYPE: "ship_type_id",
    SHIP_GROUP: "ship_group_id",
}


def party_of(involvement: Any, kind: int) -> Any:
    """The column of `Involvement`, or of an alias of it, that names parties of *kind*."""
    return getattr(involvement, OF_KIND[kind])


def _row_type(model: type[BaseModel]) -> Any:
    """A named tuple of a table's columns in their order, without a key that the database gives."""
    fields = [field for field in model._meta.sorted_fields if not isinstance(field, BigAutoField)]
    return namedtuple(f"{model.__name__}Row", [field.column_name for field in fields])


#: What a killmail becomes in each table. COPY takes columns by position, everybody else reads these by name.
KillmailRow = _row_type(Killmail)
VictimRow = _row_type(Victim)
AttackerRow = _row_type(Attacker)
KillmailItemRow = _row_type(KillmailItem)
KillmailBodyRow = _row_type(KillmailBody)
InvolvementRow = _row_type(Involvement)
PartiesRow = _row_type(_Parties)
