"""A killmail as JSON webhooks get it: names in camelCase, ids as text. Pure."""

from __future__ import annotations

from typing import Any

from killsync.killmails.killmail import Attacker, Entity, Killmail, KillmailValue, Party, Position, SolarSystem
from killsync.static_data.catalog import Named


def payload(killmail: Killmail) -> dict[str, Any]:
    """The killmail as docs/webhooks.md promises it: names in camelCase, ids as text, no items."""
    return {
        "id": str(killmail.killmail_id),
        "killmailHash": killmail.killmail_hash,
        "killmailTime": killmail.killmail_time.isoformat(),
        "solarSystem": _system(killmail.solar_system),
        "victim": {
            **_party(killmail.victim),
            "shipGroup": _entity(killmail.victim.ship_type.group),
            "damageTaken": killmail.victim.damage_taken,
            "position": _position(killmail.victim.position),
        },
        "attackers": [_attacker(attacker) for attacker in killmail.attackers],
        "attackerCount": killmail.attacker_count,
        "finalBlow": _attacker(killmail.final_blow) if killmail.final_blow else None,
        "solo": killmail.solo,
        "npc": killmail.npc,
        "awox": killmail.awox,
        "labels": killmail.labels,
        "value": _value(killmail.value),
        "warId": _id(killmail.war_id),
        "moonId": _id(killmail.moon_id),
        "createdAt": killmail.created_at.isoformat(),
    }


def _party(party: Party) -> dict[str, Any]:
    return {
        "character": _entity(party.character),
        "corporation": _entity(party.corporation),
        "alliance": _entity(party.alliance),
        "faction": _entity(party.faction),
        "factionId": _id(party.faction_id),
        "shipType": _entity(party.ship_type),
    }


def _attacker(attacker: Attacker) -> dict[str, Any]:
    return {
        **_party(attacker),
        "weaponType": _entity(attacker.weapon_type),
        "damageDone": attacker.damage_done,
        "finalBlow": attacker.final_blow,
        "securityStatus": attacker.security_status,
    }


def _entity(entity: Entity | Named | None) -> dict[str, Any] | None:
    return None if entity is None else {"id": str(entity.id), "name": entity.name}


def _system(system: SolarSystem) -> dict[str, Any]:
    return {
        "id": str(system.id),
        "name": system.name,
        "securityStatus": system.security_status,
        "security": None if system.security is None else system.security.name,
        "constellation": _entity(system.constellation),
        "region": _entity(system.region),
    }


def _value(value: KillmailValue | None) -> dict[str, Any] | None:
    if value is None:
        return None
    return {"total": value.total, "destroyed": value.destroyed, "dropped": value.dropped, "fitted": value.fitted,
            "pricedOn": value.priced_on}  # fmt: skip


def _position(position: Position | None) -> dict[str, float] | None:
    return None if position is None else {"x": position.x, "y": position.y, "z": position.z}


def _id(number: int | None) -> str | None:
    return None if number is None else str(number)
