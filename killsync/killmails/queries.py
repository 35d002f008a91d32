"""Reading killmails: pages of whole killmails in a handful of statements, however many attackers and names they hold.

Reads only. A page costs at most five statements: its ids, the killmails, their attackers, their items, all names; one of
great battles reads its attackers by several.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import Any

from killsync.killmails.cursors import read_cursor, read_value_cursor
from killsync.killmails.entity_names import PARTY_COLUMNS, EntityNames
from killsync.killmails.filter import KillmailFilter
from killsync.killmails.killmail import VALUED, Attacker, Item, Killmail, Position, Victim, value_in
from killsync.killmails.selection import dearest_ids, page_ids
from killsync.prices import item_values
from models import killmails as tables
from models.fields import moment
from models.killmails import KillmailRef
from models.prepared import Ids, Prepared

#: The most killmails of a page.
MOST = 100
#: Attackers of one statement: the database's library holds all that one gives, 0.6 KB a row.
MOST_ROWS_AT_ONCE = 5_000
#: Columns that say what a killmail is about; the first three are flags.
CLASSIFIED = ("npc", "solo", "awox", "victim_category_id", "constellation_id", "region_id", "security", "label_bits")


@dataclass(frozen=True)
class Page:
    """One page, newest first."""

    killmails: list[Killmail]
    has_next: bool


def page(
    chosen: KillmailFilter, first: int, after: str | None, *, items: bool = True, dearest_first: bool = False
) -> Page:
    """A page of at most *first* killmails behind the cursor *after*; *items* false leaves the items out.

    Raises:
        BadCursor: *after* is not one of ours.
    """
    if dearest_first:
        ids = dearest_ids(chosen, first + 1, read_value_cursor(after) if after else None)
        by_id = {each.killmail_id: each for each in killmails(ids[:first], items=items)}
        return Page(
            [by_id[killmail_id] for killmail_id in ids[:first] if killmail_id in by_id], has_next=len(ids) > first
        )
    ids = page_ids(chosen, first + 1, read_cursor(after) if after else None)
    return Page(killmails(ids[:first], items=items), has_next=len(ids) > first)


def columns(table: Any, *names: str) -> list[Any]:
    """The columns of *table* of these names."""
    return [getattr(table, name) for name in names]


def _killmail_rows(ids: Ids) -> Any:
    table, victim = tables.Killmail, tables.Victim
    mail = columns(table, "killmail_id", "killmail_hash", "killmail_time", "solar_system_id", "moon_id", "war_id",
                   "attacker_count", "created_at", "sequence", *CLASSIFIED, *VALUED)  # fmt: skip
    lost = columns(victim, *PARTY_COLUMNS, "damage_taken", "position_x", "position_y", "position_z")
    query: Any = table.select(*mail, *lost).join(victim, on=victim.killmail_id == table.killmail_id)
    return query.where(ids.have(table.killmail_id)).order_by(table.killmail_time.desc(), table.killmail_id.desc())


def _attacker_rows(ids: Ids) -> Any:
    table = tables.Attacker
    wanted = columns(
        table, "killmail_id", *PARTY_COLUMNS, "weapon_type_id", "damage_done", "final_blow", "security_status"
    )
    return table.select(*wanted).where(ids.have(table.killmail_id)).order_by(table.id)


def _item_rows(ids: Ids) -> Any:
    table = tables.KillmailItem
    wanted = columns(table, "killmail_id", "id", "parent_id", "item_type_id", "flag", "quantity_dropped",
                     "quantity_destroyed", "singleton")  # fmt: skip
    return table.select(*wanted).where(ids.have(table.killmail_id)).order_by(table.id)


_KILLMAILS, _ATTACKERS, _ITEMS = Prepared(_killmail_rows), Prepared(_attacker_rows), Prepared(_item_rows)


def killmails(ids: Sequence[int], *, items: bool = True) -> list[Killmail]:
    """The stored killmails of *ids*, newest first; *items* false leaves the items out."""
    if not ids:
        return []
    names = EntityNames()
    found = {row["killmail_id"]: _killmail(row, names) for row in _KILLMAILS.fetch(ids)}
    _add_attackers(found, names)
    if items:
        _add_items(found, names)
        item_values.add(found.values())
    names.fill()
    return list(found.values())


def killmail(killmail_id: int) -> Killmail | None:
    """One stored killmail."""
    found = killmails([killmail_id])
    return found[0] if found else None


def first_listed(killmail_id: int) -> datetime | None:
    """When a killmail that need not be stored yet was first listed; None when no list ever named it."""
    found: KillmailRef | None = KillmailRef.get_or_none(KillmailRef.killmail_id == killmail_id)
    return found.discovered_at if found is not None else None


def _killmail(row: dict[str, Any], names: EntityNames) -> Killmail:
    has_position = row["position_x"] is not None
    victim = Victim(
        **names.party(row),
        damage_taken=row["damage_taken"],
        position=Position(row["position_x"], row["position_y"], row["position_z"]) if has_position else None,
    )
    value, total = value_in(row)
    return Killmail(
        value=value,
        total_value=total,
        killmail_id=row["killmail_id"],
        killmail_hash=row["killmail_hash"],
        killmail_time=moment(row["killmail_time"]),
        solar_system=names.systems[row["solar_system_id"]],
        moon_id=row["moon_id"],
        war_id=row["war_id"],
        victim=victim,
        attacker_count=row["attacker_count"],
        created_at=moment(row["created_at"]),
        sequence=row["sequence"] or 0,
        npc=bool(row["npc"]),
        solo=bool(row["solo"]),
        awox=bool(row["awox"]),
        **{name: row[name] for name in CLASSIFIED[3:]},
    )


def _portions(found: dict[int, Killmail]) -> Iterator[list[int]]:
    """The killmails in portions of so many attackers as are read at once; mostly that is one."""
    portion: list[int] = []
    rows = 0
    for number, killmail in found.items():
        if portion and rows + killmail.attacker_count > MOST_ROWS_AT_ONCE:
            yield portion
            portion, rows = [], 0
        portion.append(number)
        rows += killmail.attacker_count
    yield portion


def _add_attackers(found: dict[int, Killmail], names: EntityNames) -> None:
    characters, corporations, alliances = names.characters, names.corporations, names.alliances
    factions, types = names.factions, names.types
    # A page has hundreds of them: rows are read as tuples, in the order of `_attacker_rows`.
    rows = chain.from_iterable(_ATTACKERS.tuples(portion) for portion in _portions(found))
    for (
        killmail_id, character_id, corporation_id, alliance_id, faction_id, ship_type_id, weapon_type_id, damage_done,
        final_blow, security_status,
    ) in rows:  # fmt: skip
        attacker = Attacker(
            character=characters[character_id],
            corporation=corporations[corporation_id],
            alliance=alliances[alliance_id],
            faction=factions[faction_id],
            ship_type=types[ship_type_id],
            weapon_type=types[weapon_type_id],
            damage_done=damage_done,
            final_blow=bool(final_blow),
            security_status=security_status,
        )
        killmail = found[killmail_id]
        killmail.attackers.append(attacker)
        if attacker.final_blow:
            killmail.final_blow = attacker


def _add_items(found: dict[int, Killmail], names: EntityNames) -> None:
    by_row: dict[int, Item] = {}
    for row in _ITEMS.fetch(found):
        item = by_row[row["id"]] = Item(
            item_type=names.types[row["item_type_id"]],
            flag=row["flag"],
            quantity_dropped=row["quantity_dropped"],
            quantity_destroyed=row["quantity_destroyed"],
            singleton=row["singleton"],
        )
        parent = row["parent_id"]
        (found[row["killmail_id"]].items if parent is None else by_row[parent].items).append(item)
