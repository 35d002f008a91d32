"""A killmail as ESI gave it, field for field, out of what is stored of it. Pure.

The tables say every field that the route promises, so a body is made of them again. What they cannot say (a field that ESI has
added since, an empty list where others leave it out, a null) is rare, and then ESI's own text is kept beside them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from killsync.killmails.killmail import Attacker, Entity, Item, Killmail, Party, Victim

#: Length of `2026-08-18T11:00:00Z`.
_MOMENT = 20
#: Up to here a whole number is the same as a float.
_EXACT = 2.0**53


def text_to_keep(body: Mapping[str, Any]) -> str | None:
    """ESI's text of a checked killmail, without white space; None where `body_of` makes the same of its rows."""
    served: bytes = getattr(body, "served", None) or msgspec.json.encode(body)
    return None if _is_said_by_rows(body, served) else msgspec.json.format(served, indent=-1).decode()


def _is_said_by_rows(body: Mapping[str, Any], served: bytes) -> bool:
    victim, moment = body["victim"], body["killmail_time"]
    items, position = victim.get("items"), victim.get("position") or {}
    if items is None or b"null" in served or len(moment) != _MOMENT or moment[10] != "T" or moment[-1] != "Z":
        return False
    inside = [item["items"] for item in items if "items" in item]
    names = len(body) + len(victim) + len(position) + sum(map(len, body["attackers"])) + sum(map(len, items))
    names += sum(len(inner) for each in inside for inner in each)
    # What was checked has lost the fields that nobody knew: then ESI's text has more names than these.
    return all(inside) and served.count(b'":') == names and all(abs(each) < _EXACT for each in position.values())


def body_of(killmail: Killmail) -> dict[str, Any]:
    """The body of GET /killmails/{killmail_id}/{killmail_hash}."""
    return _given(
        killmail_id=killmail.killmail_id,
        killmail_time=killmail.killmail_time.strftime("%Y-%m-%dT%H:%M:%SZ"),
        solar_system_id=killmail.solar_system.id,
        moon_id=killmail.moon_id,
        war_id=killmail.war_id,
        victim=_victim(killmail.victim, killmail.items),
        attackers=[_attacker(attacker) for attacker in killmail.attackers],
    )


def _given(**fields: Any) -> dict[str, Any]:
    """The fields that have a value: ESI leaves the others out."""
    return {name: value for name, value in fields.items() if value is not None}


def _id(entity: Entity | None) -> int | None:
    return None if entity is None else entity.id


def _party(party: Party) -> dict[str, Any]:
    return _given(
        character_id=_id(party.character),
        corporation_id=_id(party.corporation),
        alliance_id=_id(party.alliance),
        faction_id=_id(party.faction),
        ship_type_id=_id(party.ship_type),
    )


def _victim(victim: Victim, items: list[Item]) -> dict[str, Any]:
    place = victim.position
    return {
        **_party(victim),
        "damage_taken": victim.damage_taken,
        "items": [_item(item) for item in items],
        **({} if place is None else {"position": {"x": place.x, "y": place.y, "z": place.z}}),
    }


def _attacker(attacker: Attacker) -> dict[str, Any]:
    return {
        **_party(attacker),
        **_given(
            damage_done=attacker.damage_done,
            final_blow=attacker.final_blow,
            security_status=attacker.security_status,
            weapon_type_id=_id(attacker.weapon_type),
        ),
    }


def _item(item: Item) -> dict[str, Any]:
    return _given(
        item_type_id=item.item_type.id,
        flag=item.flag,
        quantity_dropped=item.quantity_dropped,
        quantity_destroyed=item.quantity_destroyed,
        singleton=item.singleton,
        items=[_item(inner) for inner in item.items] or None,
    )
