"""Checks that an answer of ESI is what its route promises, before anything is stored of it. Pure."""

from __future__ import annotations

from typing import Any

import orjson

#: A killmail with more of either is not a killmail; EVE's largest fights stay far below.
MOST_ATTACKERS = 20_000
MOST_ITEMS = 50_000


class ShapeError(ValueError):
    """The answer has another shape than the route promises; the text says where."""


def loads(body: bytes) -> Any:
    """Parse JSON.

    Raises:
        ValueError: it is not JSON, or was cut short.
    """
    return orjson.loads(body)


def killmail_refs(data: Any) -> list[tuple[int, str]]:
    """The (killmail_id, killmail_hash) pairs of a page of killmails/recent, in ESI's order."""
    if not isinstance(data, list):
        raise ShapeError(f"a list was due, not {_kind(data)}")
    refs = []
    for position, item in enumerate(data):
        if not isinstance(item, dict):
            raise ShapeError(f"[{position}] is {_kind(item)}")
        digest = item.get("killmail_hash")
        if not isinstance(digest, str) or not digest.isalnum() or len(digest) > 128:
            raise ShapeError(f"[{position}].killmail_hash is no hash")
        refs.append((_integer(item, "killmail_id", f"[{position}]"), digest))
    return refs


def killmail(data: Any, killmail_id: int) -> dict[str, Any]:
    """A killmail whose required fields are there and whose fields have the types of ESI's schema."""
    if not isinstance(data, dict):
        raise ShapeError(f"an object was due, not {_kind(data)}")
    if _integer(data, "killmail_id") != killmail_id:
        raise ShapeError("the body is of another killmail")
    _time(data, "killmail_time")
    _integer(data, "solar_system_id")
    _optional(data, "", "moon_id", "war_id")
    victim = data.get("victim")
    if not isinstance(victim, dict):
        raise ShapeError(f"victim is {_kind(victim)}")
    _integer(victim, "ship_type_id", "victim")
    _integer(victim, "damage_taken", "victim")
    _optional(victim, "victim", "character_id", "corporation_id", "alliance_id", "faction_id")
    position = victim.get("position")
    if position is not None:
        if not isinstance(position, dict):
            raise ShapeError(f"victim.position is {_kind(position)}")
        for axis in "xyz":
            _number(position, axis, "victim.position")
    _items(victim.get("items"), "victim.items", nested=True)
    _attackers(data.get("attackers"))
    return data


def _attackers(attackers: Any) -> None:
    if not isinstance(attackers, list) or len(attackers) > MOST_ATTACKERS:
        raise ShapeError(f"attackers is {_kind(attackers)}")
    for number, attacker in enumerate(attackers):
        where = f"attackers[{number}]"
        if not isinstance(attacker, dict):
            raise ShapeError(f"{where} is {_kind(attacker)}")
        _integer(attacker, "damage_done", where)
        if not isinstance(attacker.get("final_blow"), bool):
            raise ShapeError(f"{where}.final_blow is {_kind(attacker.get('final_blow'))}")
        if attacker.get("security_status") is not None:
            _number(attacker, "security_status", where)
        _optional(attacker, where, "character_id", "corporation_id", "alliance_id", "faction_id", "ship_type_id",
                  "weapon_type_id")  # fmt: skip


def _items(items: Any, where: str, *, nested: bool) -> None:
    if items is None:
        return
    if not isinstance(items, list) or len(items) > MOST_ITEMS:
        raise ShapeError(f"{where} is {_kind(items)}")
    for number, item in enumerate(items):
        here = f"{where}[{number}]"
        if not isinstance(item, dict):
            raise ShapeError(f"{here} is {_kind(item)}")
        for name in ("item_type_id", "flag", "singleton"):
            _integer(item, name, here)
        _optional(item, here, "quantity_dropped", "quantity_destroyed")
        if nested:
            _items(item.get("items"), f"{here}.items", nested=False)


def names(data: Any) -> dict[int, tuple[str, str]]:
    """(category, name) by id, of an answer to POST /universe/names."""
    if not isinstance(data, list):
        raise ShapeError(f"a list was due, not {_kind(data)}")
    found = {}
    for position, item in enumerate(data):
        if not isinstance(item, dict):
            raise ShapeError(f"[{position}] is {_kind(item)}")
        name, category = item.get("name"), item.get("category")
        if not isinstance(name, str) or not isinstance(category, str):
            raise ShapeError(f"[{position}] has no name or category")
        found[_integer(item, "id", f"[{position}]")] = (category, name.replace("\x00", ""))
    return found


def mapping(data: Any) -> dict[str, Any]:
    """An object of any content."""
    if not isinstance(data, dict):
        raise ShapeError(f"an object was due, not {_kind(data)}")
    return data


def _integer(data: dict[str, Any], name: str, where: str = "") -> int:
    value = data.get(name)
    if type(value) is not int or not -(2**63) <= value < 2**63:
        raise ShapeError(f"{where}{'.' if where else ''}{name} is {_kind(value)}")
    return value


def _optional(data: dict[str, Any], where: str, *names_: str) -> None:
    for name in names_:
        if data.get(name) is not None:
            _integer(data, name, where)


def _number(data: dict[str, Any], name: str, where: str) -> None:
    value = data.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ShapeError(f"{where}.{name} is {_kind(value)}")


def _time(data: dict[str, Any], name: str) -> None:
    from datetime import datetime

    value = data.get(name)
    try:
        if not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is None:
            raise ValueError
    except ValueError:
        raise ShapeError(f"{name} is no RFC 3339 time") from None


def _kind(value: Any) -> str:
    return {type(None): "missing", str: "a string", int: "a number", float: "a fraction", bool: "a boolean",
            list: "a list", dict: "an object"}.get(type(value), "unusable")  # fmt: skip
