"""Reading killmails: pages in a handful of statements, as plain trees whose keys are GraphQL's field names.

Queries only. A page costs at most four statements however many killmails, attackers and names it holds.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from models.fields import from_any, to_text
from models.killmails import ALLIANCE, ATTACKER_SIDE, CHARACTER, CORPORATION, SHIP_TYPE, VICTIM_SIDE
from models.names import NAME_KEYS
from models.sql import rows

MOST = 100


class BadCursor(ValueError):
    """A cursor that this server did not make."""


@dataclass(frozen=True)
class Filter:
    """Which killmails: all conditions hold, each on its own; `end` is the last moment that counts.

    `sides` limits where the named party (or the reader's own) stands. A character and a ship type need not have been
    the same pilot.
    """

    character_id: int | None = None
    corporation_id: int | None = None
    alliance_id: int | None = None
    ship_type_id: int | None = None
    system_id: int | None = None
    sides: int = VICTIM_SIDE | ATTACKER_SIDE
    start: datetime | None = None
    end: datetime | None = None
    mine: tuple[int, ...] | None = None

    @property
    def parties(self) -> list[tuple[int, tuple[int, ...]]]:
        """(kind, ids) of each party that must be involved, the rarest kind first."""
        named = (
            (CHARACTER, self.character_id),
            (CORPORATION, self.corporation_id),
            (SHIP_TYPE, self.ship_type_id),
            (ALLIANCE, self.alliance_id),
        )
        found = [(kind, (entity,)) for kind, entity in named if entity is not None]
        return [*([(CHARACTER, self.mine)] if self.mine is not None else []), *found]


@dataclass(frozen=True)
class Page:
    """One page, newest first."""

    killmails: list[dict[str, Any]]
    has_next: bool


def cursor_of(killmail: dict[str, Any]) -> str:
    """The opaque cursor after *killmail*: its place in time, so it stays true while newer killmails arrive."""
    text = f"{to_text(killmail['killmailTime'])}|{killmail['id']}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read_cursor(cursor: str) -> tuple[datetime, int]:
    """The place that `cursor_of` wrote.

    Raises:
        BadCursor: it is not one of ours.
    """
    try:
        text = base64.urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4)).decode()
        moment, _, number = text.partition("|")
        place = datetime.fromisoformat(moment), int(number)
        if place[0].tzinfo is None or not 0 <= place[1] < 2**63 or len(cursor) > 200:
            raise ValueError
        return place
    except (ValueError, binascii.Error):
        raise BadCursor("this cursor is not one of this server's") from None


def page(chosen: Filter, first: int, after: str | None, *, items: bool = True) -> Page:
    """A page of at most *first* killmails after the cursor; *items* false leaves the items out."""
    ids = page_ids(chosen, first + 1, read_cursor(after) if after else None)
    return Page(killmails(ids[:first], items=items), has_next=len(ids) > first)


def page_ids(chosen: Filter, limit: int, after: tuple[datetime, int] | None) -> list[int]:
    """The ids of a page of at most *limit* killmails behind the place *after*, newest first."""
    where: list[str] = []
    values: list[Any] = []
    parties = chosen.parties
    if parties:
        kind, ids = parties[0]
        source = "involvement d JOIN killmail k ON k.killmail_id = d.killmail_id"
        place = "d"
        where.append(f"d.kind = {kind} AND d.entity_id {among(ids)}")
        values.extend(ids)
        if chosen.sides != VICTIM_SIDE | ATTACKER_SIDE:
            where.append(f"(d.sides & {chosen.sides}) <> 0")
    else:
        source, place = "killmail k", "k"
    for kind, ids in parties[1:]:
        side = "" if chosen.sides == VICTIM_SIDE | ATTACKER_SIDE else f"AND (i.sides & {chosen.sides}) <> 0"
        where.append(
            f"EXISTS (SELECT 1 FROM involvement i WHERE i.kind = {kind} AND i.entity_id {among(ids)} "
            f"AND i.killmail_time = {place}.killmail_time AND i.killmail_id = {place}.killmail_id {side})"
        )
        values.extend(ids)
    if chosen.system_id is not None:
        where.append("k.solar_system_id = %s")
        values.append(chosen.system_id)
    for moment, sign in ((chosen.start, ">="), (chosen.end, "<=")):
        if moment is not None:
            where.append(f"{place}.killmail_time {sign} %s")
            values.append(to_text(moment))
    if after is not None:
        where.append(f"({place}.killmail_time, {place}.killmail_id) < (%s, %s)")
        values.extend((to_text(after[0]), after[1]))
    # Several characters of one account may stand on one killmail: it is one row of the page all the same.
    distinct = "DISTINCT" if parties and len(parties[0][1]) > 1 else ""
    condition = f"WHERE {' AND '.join(where)}" if where else ""
    found = rows(
        f"SELECT {distinct} {place}.killmail_time, {place}.killmail_id FROM {source} {condition} "
        f"ORDER BY {place}.killmail_time DESC, {place}.killmail_id DESC LIMIT %s",
        (*values, limit),
    )
    return [number for _, number in found]


def among(ids: Sequence[int]) -> str:
    """SQL that says a column is one of *ids*, which are its parameters."""
    if not ids:
        return "IN (NULL)"
    return "= %s" if len(ids) == 1 else f"IN ({', '.join(['%s'] * len(ids))})"


_KILLMAIL = (
    "SELECT k.killmail_id, k.killmail_hash, k.killmail_time, k.solar_system_id, k.moon_id, k.war_id, k.attacker_count, "
    "k.created_at, v.character_id, v.corporation_id, v.alliance_id, v.faction_id, v.ship_type_id, v.damage_taken, "
    "v.position_x, v.position_y, v.position_z FROM killmail k JOIN victim v ON v.killmail_id = k.killmail_id "
    "WHERE k.killmail_id {ids} ORDER BY k.killmail_time DESC, k.killmail_id DESC"
)
_ATTACKER = (
    "SELECT killmail_id, character_id, corporation_id, alliance_id, faction_id, ship_type_id, weapon_type_id, "
    "damage_done, final_blow, security_status FROM attacker WHERE killmail_id {ids} ORDER BY id"
)
_ITEM = (
    "SELECT killmail_id, id, parent_id, item_type_id, flag, quantity_dropped, quantity_destroyed, singleton "
    "FROM killmail_item WHERE killmail_id {ids} ORDER BY id"
)


def killmails(ids: Sequence[int], *, items: bool = True) -> list[dict[str, Any]]:
    """The stored killmails of *ids* as trees, newest first."""
    if not ids:
        return []
    names = Names()
    found = {row[0]: _killmail(row, names) for row in rows(_KILLMAIL.format(ids=among(ids)), ids)}
    for number, *row in rows(_ATTACKER.format(ids=among(ids)), ids):
        attacker = _attacker(row, names)
        tree = found[number]
        tree["attackers"].append(attacker)
        if attacker["finalBlow"]:
            tree["finalBlow"] = attacker
    for tree in found.values():
        _mark(tree)
    if items:
        _add_items(found, rows(_ITEM.format(ids=among(ids)), ids), names)
    names.fill()
    return list(found.values())


def killmail(killmail_id: int) -> dict[str, Any] | None:
    """One stored killmail as a tree."""
    found = killmails([killmail_id])
    return found[0] if found else None


class Names:
    """Hands out one object for each id and fills in all names with one statement at the end."""

    def __init__(self) -> None:
        self._wanted: dict[tuple[str, int], dict[str, Any]] = {}

    def of(self, table: str, entity_id: int | None) -> dict[str, Any] | None:
        """The object of one id of a name table; None for no id."""
        if entity_id is None:
            return None
        key = (table, entity_id)
        if key not in self._wanted:
            self._wanted[key] = {"id": str(entity_id), "name": None}
        return self._wanted[key]

    def fill(self) -> None:
        """Read all names that were handed out."""
        selects, values = [], []
        for table, key in NAME_KEYS.items():
            ids = [entity for kind, entity in self._wanted if kind == table]
            if ids:
                selects.append(f"SELECT '{table}', {key}, name FROM {table} WHERE {key} {among(ids)}")
                values.extend(ids)
        for table, entity_id, name in rows(" UNION ALL ".join(selects), values) if selects else ():
            self._wanted[table, entity_id]["name"] = name


def _killmail(row: tuple[Any, ...], names: Names) -> dict[str, Any]:
    (number, digest, moment, system, moon, war, count, created, character, corporation, alliance, faction, ship,
     damage, x, y, z) = row  # fmt: skip
    return {
        "id": str(number),
        "killmailHash": digest,
        "killmailTime": from_any(moment),
        "solarSystem": names.of("solar_system", system),
        "victim": {
            "character": names.of("character", character),
            "corporation": names.of("corporation", corporation),
            "alliance": names.of("alliance", alliance),
            "faction": names.of("faction", faction),
            "factionId": _text(faction),
            "shipType": names.of("item_type", ship),
            "damageTaken": damage,
            "position": None if x is None else {"x": x, "y": y, "z": z},
        },
        "attackers": [],
        "attackerCount": count,
        "finalBlow": None,
        "items": [],
        "solo": False,
        "npc": False,
        "warId": _text(war),
        "moonId": _text(moon),
        "createdAt": from_any(created),
    }


def _attacker(row: list[Any], names: Names) -> dict[str, Any]:
    character, corporation, alliance, faction, ship, weapon, damage, final_blow, security = row
    return {
        "character": names.of("character", character),
        "corporation": names.of("corporation", corporation),
        "alliance": names.of("alliance", alliance),
        "faction": names.of("faction", faction),
        "factionId": _text(faction),
        "shipType": names.of("item_type", ship),
        "weaponType": names.of("item_type", weapon),
        "damageDone": damage,
        "finalBlow": bool(final_blow),
        "securityStatus": security,
    }


def _mark(tree: dict[str, Any]) -> None:
    """`npc`: no pilot among the attackers. `solo`: one pilot alone killed another; NPCs that joined in do not count."""
    pilots = sum(1 for attacker in tree["attackers"] if attacker["character"] is not None)
    tree["npc"] = pilots == 0
    tree["solo"] = pilots == 1 and tree["victim"]["character"] is not None


def _add_items(found: dict[int, dict[str, Any]], item_rows: Iterable[tuple[Any, ...]], names: Names) -> None:
    by_id: dict[int, dict[str, Any]] = {}
    for number, row_id, parent_id, type_id, flag, dropped, destroyed, singleton in item_rows:
        item = by_id[row_id] = {
            "itemType": names.of("item_type", type_id),
            "flag": flag,
            "quantityDropped": dropped,
            "quantityDestroyed": destroyed,
            "singleton": singleton,
            "items": [],
        }
        (by_id[parent_id] if parent_id is not None else found[number])["items"].append(item)


def _text(number: int | None) -> str | None:
    return None if number is None else str(number)


def matches(tree: dict[str, Any], chosen: Filter) -> bool:
    """Whether a killmail passes the filter: the same answer as SQL gives, for killmails that are announced."""
    if chosen.system_id is not None and tree["solarSystem"]["id"] != str(chosen.system_id):
        return False
    if chosen.start is not None and tree["killmailTime"] < chosen.start:
        return False
    if chosen.end is not None and tree["killmailTime"] > chosen.end:
        return False
    fields = {CHARACTER: "character", CORPORATION: "corporation", ALLIANCE: "alliance", SHIP_TYPE: "shipType"}
    parties = [
        *([tree["victim"]] if chosen.sides & VICTIM_SIDE else []),
        *(tree["attackers"] if chosen.sides & ATTACKER_SIDE else []),
    ]
    for kind, ids in chosen.parties:
        wanted = {str(entity) for entity in ids}
        if not any(party[fields[kind]] is not None and party[fields[kind]]["id"] in wanted for party in parties):
            return False
    return True
