"""Compares stored rows with what ESI serves, field by field, by SQL of its own."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

Sql = Callable[..., list[tuple[Any, ...]]]

PARTY = ("character_id", "corporation_id", "alliance_id", "faction_id", "ship_type_id")


def stored_killmail(sql: Sql, killmail_id: int, mark: str) -> dict[str, Any] | None:
    """The stored killmail in ESI's shape."""
    columns = "killmail_time, solar_system_id, moon_id, war_id, attacker_count, killmail_hash"
    found = sql(f"SELECT {columns} FROM killmail WHERE killmail_id = {mark}", (killmail_id,))
    if not found:
        return None
    moment, system, moon, war, count, digest = found[0]
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    body = {
        "killmail_id": killmail_id,
        "killmail_hash": digest,
        "killmail_time": moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "solar_system_id": system,
        "moon_id": moon,
        "war_id": war,
        "victim": _victim(sql, killmail_id, mark),
        "attackers": _attackers(sql, killmail_id, mark),
    }
    assert count == len(body["attackers"])
    return _without_nothing(body)


def _victim(sql: Sql, killmail_id: int, mark: str) -> dict[str, Any]:
    columns = (*PARTY, "damage_taken", "position_x", "position_y", "position_z")
    row = sql(f"SELECT {', '.join(columns)} FROM victim WHERE killmail_id = {mark}", (killmail_id,))[0]
    victim = dict(zip(columns, row, strict=True))
    x, y, z = (victim.pop(f"position_{axis}") for axis in "xyz")
    victim["position"] = None if x is None else {"x": x, "y": y, "z": z}
    victim["items"] = _items(sql, killmail_id, mark)
    return victim


def _attackers(sql: Sql, killmail_id: int, mark: str) -> list[dict[str, Any]]:
    columns = (*PARTY, "weapon_type_id", "damage_done", "final_blow", "security_status")
    found = sql(f"SELECT {', '.join(columns)} FROM attacker WHERE killmail_id = {mark} ORDER BY id", (killmail_id,))
    attackers = [dict(zip(columns, row, strict=True)) for row in found]
    for attacker in attackers:
        attacker["final_blow"] = bool(attacker["final_blow"])
    return attackers


def _items(sql: Sql, killmail_id: int, mark: str) -> list[dict[str, Any]]:
    columns = ("id", "parent_id", "item_type_id", "flag", "quantity_dropped", "quantity_destroyed", "singleton")
    found = sql(
        f"SELECT {', '.join(columns)} FROM killmail_item WHERE killmail_id = {mark} ORDER BY id", (killmail_id,)
    )
    by_id: dict[int, dict[str, Any]] = {}
    top: list[dict[str, Any]] = []
    for row in found:
        item = dict(zip(columns, row, strict=True))
        number, parent = item.pop("id"), item.pop("parent_id")
        item["items"] = []
        by_id[number] = item
        (by_id[parent]["items"] if parent is not None else top).append(item)
    return top


def _without_nothing(value: Any) -> Any:
    """*value* without absent fields and empty lists of items: ESI leaves those out."""
    if isinstance(value, dict):
        return {
            key: _without_nothing(each)
            for key, each in value.items()
            if each is not None and not (key == "items" and each == [])
        }
    if isinstance(value, list):
        return [_without_nothing(each) for each in value]
    return value


def served_killmail(body: dict[str, Any], killmail_hash: str) -> dict[str, Any]:
    """What ESI serves, in the same shape: with its hash, and without empty lists of items."""
    return _without_nothing({**body, "killmail_hash": killmail_hash})  # type: ignore[no-any-return]
