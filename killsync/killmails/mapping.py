"""From a killmail as ESI serves it to the rows that store it. Pure: no database, no clock, nothing left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from models.fields import to_text
from models.killmails import ALLIANCE, ATTACKER_SIDE, CHARACTER, CORPORATION, SHIP_TYPE, VICTIM_SIDE

KILLMAIL_COLUMNS = (
    "killmail_id", "killmail_hash", "killmail_time", "solar_system_id", "moon_id", "war_id", "attacker_count",
    "created_at",
)  # fmt: skip
VICTIM_COLUMNS = (
    "killmail_id", "character_id", "corporation_id", "alliance_id", "faction_id", "ship_type_id", "damage_taken",
    "position_x", "position_y", "position_z",
)  # fmt: skip
ATTACKER_COLUMNS = (
    "killmail_id", "character_id", "corporation_id", "alliance_id", "faction_id", "ship_type_id", "weapon_type_id",
    "damage_done", "final_blow", "security_status",
)  # fmt: skip
ITEM_COLUMNS = (
    "killmail_id", "parent_id", "item_type_id", "flag", "quantity_dropped", "quantity_destroyed", "singleton",
)  # fmt: skip
INVOLVEMENT_COLUMNS = ("kind", "entity_id", "killmail_time", "killmail_id", "sides")

_PARTIES = ((CHARACTER, "character_id"), (CORPORATION, "corporation_id"), (ALLIANCE, "alliance_id"),
            (SHIP_TYPE, "ship_type_id"))  # fmt: skip


@dataclass(frozen=True)
class Item:
    """An item and what lay in it; `columns` follow ITEM_COLUMNS without killmail and parent."""

    columns: tuple[Any, ...]
    inside: tuple[Item, ...] = ()


@dataclass(frozen=True)
class KillmailRows:
    """Everything one killmail becomes, ready to insert."""

    killmail_id: int
    killmail: tuple[Any, ...]
    victim: tuple[Any, ...]
    attackers: list[tuple[Any, ...]]
    items: tuple[Item, ...]
    involvement: list[tuple[Any, ...]]
    named: dict[str, set[int]]


def map_killmail(body: Mapping[str, Any], killmail_hash: str, created_at: datetime) -> KillmailRows:
    """The rows of one killmail.

    Args:
        body: a parsed and checked answer of GET /killmails/{killmail_id}/{killmail_hash}.
        killmail_hash: the hash that was asked for; ESI's body does not repeat it.
        created_at: the moment it is stored.
    """
    killmail_id = body["killmail_id"]
    moment = to_text(parse_time(body["killmail_time"]))
    victim, attackers = body["victim"], body["attackers"]
    position = victim.get("position") or {}
    items = tuple(_item(item) for item in victim.get("items") or ())
    return KillmailRows(
        killmail_id=killmail_id,
        killmail=(
            killmail_id, killmail_hash, moment, body["solar_system_id"], body.get("moon_id"), body.get("war_id"),
            len(attackers), to_text(created_at),
        ),
        victim=(
            killmail_id, victim.get("character_id"), victim.get("corporation_id"), victim.get("alliance_id"),
            victim.get("faction_id"), victim["ship_type_id"], victim["damage_taken"],
            position.get("x"), position.get("y"), position.get("z"),
        ),
        attackers=[
            (
                killmail_id, attacker.get("character_id"), attacker.get("corporation_id"), attacker.get("alliance_id"),
                attacker.get("faction_id"), attacker.get("ship_type_id"), attacker.get("weapon_type_id"),
                attacker["damage_done"], attacker["final_blow"], attacker.get("security_status"),
            )
            for attacker in attackers
        ],
        items=items,
        involvement=[
            (kind, entity, moment, killmail_id, sides)
            for (kind, entity), sides in sorted(_involved(victim, attackers).items())
        ],
        named=_named(body, items),
    )  # fmt: skip


def parse_time(text: str) -> datetime:
    """ESI's `killmail_time`, RFC 3339, as an aware UTC datetime."""
    return datetime.fromisoformat(text).astimezone(UTC)


def _item(item: Mapping[str, Any]) -> Item:
    return Item(
        columns=(
            item["item_type_id"],
            item["flag"],
            item.get("quantity_dropped"),
            item.get("quantity_destroyed"),
            item["singleton"],
        ),
        inside=tuple(_item(inner) for inner in item.get("items") or ()),
    )


def _involved(victim: Mapping[str, Any], attackers: list[Mapping[str, Any]]) -> dict[tuple[int, int], int]:
    sides: dict[tuple[int, int], int] = {}
    for party, side in ((victim, VICTIM_SIDE), *((attacker, ATTACKER_SIDE) for attacker in attackers)):
        for kind, field in _PARTIES:
            entity = party.get(field)
            if entity is not None:
                sides[kind, entity] = sides.get((kind, entity), 0) | side
    return sides


def _named(body: Mapping[str, Any], items: tuple[Item, ...]) -> dict[str, set[int]]:
    """The ids whose names a reader of this killmail wants, by the table that keeps them."""
    parties = [body["victim"], *body["attackers"]]

    def ids(*fields: str) -> set[int]:
        return {party[field] for party in parties for field in fields if party.get(field)}

    types = ids("ship_type_id", "weapon_type_id")
    for item in items:
        types.add(item.columns[0])
        types.update(inner.columns[0] for inner in item.inside)
    return {
        "character": ids("character_id"),
        "corporation": ids("corporation_id"),
        "alliance": ids("alliance_id"),
        "faction": ids("faction_id"),
        "item_type": types,
        "solar_system": {body["solar_system_id"]},
    }
