"""Killmails as rows of a list: as much of each as a row shows, however many attackers and items it has. Reads only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from killsync.killmails.queries import Filter, Names, Page, among, page_ids, read_cursor
from models.fields import from_any, to_text
from models.killmails import VICTIM_SIDE
from models.sql import rows

#: A party whose view a list takes: (kind of involvement, ids). Its kills and its losses are told apart.
View = tuple[int, tuple[int, ...]]

_KILLMAIL = (
    "SELECT k.killmail_id, k.killmail_time, k.solar_system_id, k.attacker_count, v.character_id, v.corporation_id, "
    "v.alliance_id, v.faction_id, v.ship_type_id FROM killmail k JOIN victim v ON v.killmail_id = k.killmail_id "
    "WHERE k.killmail_id {ids} ORDER BY k.killmail_time DESC, k.killmail_id DESC"
)
_PILOTS = "SELECT killmail_id, count(character_id) FROM attacker WHERE killmail_id {ids} GROUP BY killmail_id"
_FINAL_BLOW = (
    "SELECT killmail_id, character_id, corporation_id, alliance_id, faction_id, ship_type_id FROM attacker "
    "WHERE killmail_id {ids} AND final_blow ORDER BY id"
)


def page(chosen: Filter, first: int, after: str | None, view: View | None = None) -> Page:
    """A page of at most *first* rows after the cursor."""
    ids = page_ids(chosen, first + 1, read_cursor(after) if after else None)
    return Page(of(ids[:first], view), has_next=len(ids) > first)


def of(ids: Sequence[int], view: View | None = None) -> list[dict[str, Any]]:
    """The stored killmails of *ids* as rows, newest first; `outcome` is "kill" or "loss" for whoever *view* names."""
    if not ids:
        return []
    names = Names()
    found = {row[0]: _row(row, names) for row in rows(_KILLMAIL.format(ids=among(ids)), ids)}
    for number, pilots in rows(_PILOTS.format(ids=among(ids)), ids):
        tree = found[number]
        tree["npc"] = pilots == 0
        tree["solo"] = pilots == 1 and tree["victim"]["character"] is not None
    for number, *party in rows(_FINAL_BLOW.format(ids=among(ids)), ids):
        found[number]["finalBlow"] = _party(party, names)
    names.fill()
    if view is not None and view[1] and found:
        _add_outcomes(found, view)
    return list(found.values())


def _row(row: tuple[Any, ...], names: Names) -> dict[str, Any]:
    number, moment, system, count, *victim = row
    return {
        "id": str(number),
        "killmailTime": from_any(moment),
        "solarSystem": names.of("solar_system", system),
        "victim": _party(victim, names),
        "attackerCount": count,
        "finalBlow": None,
        # No attacker had a pilot unless the count says otherwise.
        "npc": True,
        "solo": False,
        "outcome": None,
    }


def _party(row: Sequence[Any], names: Names) -> dict[str, Any]:
    character, corporation, alliance, faction, ship = row
    return {
        "character": names.of("character", character),
        "corporation": names.of("corporation", corporation),
        "alliance": names.of("alliance", alliance),
        "faction": names.of("faction", faction),
        "shipType": names.of("item_type", ship),
    }


def _add_outcomes(found: dict[int, dict[str, Any]], view: View) -> None:
    kind, entities = view
    times = [tree["killmailTime"] for tree in found.values()]
    involved = rows(
        f"SELECT killmail_id, sides FROM involvement WHERE kind = {kind} AND entity_id {among(entities)} "
        f"AND killmail_time >= %s AND killmail_time <= %s AND killmail_id {among(list(found))}",
        (*entities, to_text(min(times)), to_text(max(times)), *found),
    )
    for number, sides in involved:
        # Who shot at their own lost as well, and that is what they look for.
        if found[number]["outcome"] != "loss":
            found[number]["outcome"] = "loss" if sides & VICTIM_SIDE else "kill"
