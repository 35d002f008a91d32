"""From a killmail as ESI serves it to the rows that store it. Pure: no database, no clock, nothing left out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import zip_longest
from typing import Any, NamedTuple

from killsync.killmails.classification import classify, value_bits
from killsync.killmails.esi_body import text_to_keep
from killsync.prices.book import Book
from killsync.prices.valuation import Value, to_isk, value_of
from killsync.static_data.catalog import Catalog
from models.fields import to_text
from models.killmails import (
    ALLIANCE,
    ATTACKER_SIDE,
    CHARACTER,
    CORPORATION,
    INVOLVED,
    OF_KIND,
    SHIP_GROUP,
    SHIP_TYPE,
    VICTIM_SIDE,
    AttackerRow,
    InvolvementRow,
    KillmailRow,
    VictimRow,
)

_PARTIES = ((CHARACTER, "character_id"), (CORPORATION, "corporation_id"), (ALLIANCE, "alliance_id"),
            (SHIP_TYPE, "ship_type_id"))  # fmt: skip
#: The columns of an attacker that are fields of ESI's.
_OF_ATTACKER = AttackerRow._fields[1:]
#: Of who stores without static data.
_NO_CATALOG = Catalog()
_NO_PRICES = Book()
_NO_VALUE = Value(0, 0, 0)


class Item(NamedTuple):
    """An item as ESI gives it, and what lay in it. Its row needs ids that only the database can give."""

    item_type_id: int
    flag: int
    quantity_dropped: int | None
    quantity_destroyed: int | None
    singleton: int
    inside: tuple[Item, ...]


@dataclass(frozen=True)
class KillmailRows:
    """Everything one killmail becomes, ready to insert.

    Attributes:
        killmail, victim, attackers, involvement: rows of `models.killmails`.
        items: in ESI's order.
        named: the ids whose names a reader wants, by the table that keeps them.
    """

    killmail_id: int
    killmail: Any
    victim: Any
    attackers: list[Any]
    items: tuple[Item, ...]
    involvement: list[Any]
    #: ESI's own text, where the rows do not say every field of it.
    body: str | None
    named: dict[str, set[int]]


def map_killmail(
    body: Mapping[str, Any], killmail_hash: str, created_at: datetime, catalog: Catalog = _NO_CATALOG,
    book: Book = _NO_PRICES,
) -> KillmailRows:  # fmt: skip
    """The rows of one killmail.

    Args:
        body: a parsed and checked answer of GET /killmails/{killmail_id}/{killmail_hash}.
        killmail_hash: the hash that was asked for; ESI's body does not repeat it.
        created_at: the moment it is stored.
        catalog: what the static data says of types and systems.
        book: prices.
    """
    killmail_id = body["killmail_id"]
    time = parse_time(body["killmail_time"])
    moment = to_text(time)
    kind = classify(body, time, catalog)
    priced = book.of(time.date())
    worth = _NO_VALUE if priced is None else value_of(body, priced[1], catalog)
    victim, attackers = body["victim"], body["attackers"]
    position = victim.get("position") or {}
    parties = involved(victim, attackers, catalog)
    items = tuple(_item(item) for item in victim.get("items") or ())
    return KillmailRows(
        killmail_id=killmail_id,
        killmail=KillmailRow(
            killmail_id=killmail_id,
            killmail_hash=killmail_hash,
            killmail_time=moment,
            solar_system_id=body["solar_system_id"],
            moon_id=body.get("moon_id"),
            war_id=body.get("war_id"),
            attacker_count=len(attackers),
            created_at=to_text(created_at),
            sequence=None,
            npc=kind.npc,
            solo=kind.solo,
            awox=kind.awox,
            victim_category_id=kind.victim_category_id,
            constellation_id=kind.constellation_id,
            region_id=kind.region_id,
            security=kind.security,
            label_bits=kind.label_bits | value_bits(worth.total),
            classified_by=catalog.load_number,
            total_value=to_isk(worth.total),
            destroyed_value=to_isk(worth.destroyed),
            dropped_value=to_isk(worth.dropped),
            fitted_value=to_isk(worth.fitted),
            priced_on=None if priced is None else priced[0].isoformat(),
        ),
        victim=VictimRow(
            killmail_id=killmail_id,
            character_id=victim.get("character_id"),
            corporation_id=victim.get("corporation_id"),
            alliance_id=victim.get("alliance_id"),
            faction_id=victim.get("faction_id"),
            ship_type_id=victim["ship_type_id"],
            damage_taken=victim["damage_taken"],
            position_x=position.get("x"),
            position_y=position.get("y"),
            position_z=position.get("z"),
        ),
        attackers=[
            AttackerRow._make((killmail_id, *map(attacker.get, _OF_ATTACKER)))  # a call with names takes twice as long
            for attacker in attackers
        ],
        items=items,
        involvement=involvement_rows(parties, moment, killmail_id),
        body=text_to_keep(body),
        named=_named(body, items, parties),
    )


def parse_time(text: str) -> datetime:
    """ESI's `killmail_time`, RFC 3339, as an aware UTC datetime."""
    return datetime.fromisoformat(text).astimezone(UTC)


def days_of(bodies: Iterable[Mapping[str, Any]]) -> set[date]:
    """The days on which killmails happened; those whose time cannot be read are somebody else's business."""
    days: set[date] = set()
    for body in bodies:
        with suppress(KeyError, TypeError, ValueError):
            days.add(parse_time(body["killmail_time"]).date())
    return days


def types_of(bodies: Iterable[Mapping[str, Any]]) -> set[int]:
    """The types of what was lost on killmails."""
    types: set[int] = set()
    for body in bodies:
        with suppress(KeyError, TypeError):
            types.add(body["victim"]["ship_type_id"])
            for item in body["victim"].get("items") or ():
                types.update(each["item_type_id"] for each in (item, *(item.get("items") or ())))
    return types


def _item(item: Mapping[str, Any]) -> Item:
    get, inside = item.get, item.get("items")
    return Item(
        item["item_type_id"], item["flag"], get("quantity_dropped"), get("quantity_destroyed"), item["singleton"],
        tuple([_item(inner) for inner in inside]) if inside else (),
    )  # fmt: skip


def involved(
    victim: Mapping[str, Any], attackers: list[Mapping[str, Any]], catalog: Catalog
) -> dict[tuple[int, int], int]:
    """The sides of each (kind, entity) that took part."""
    sides: dict[tuple[int, int], int] = {}
    for party, side in ((victim, VICTIM_SIDE), *((attacker, ATTACKER_SIDE) for attacker in attackers)):
        for kind, field in _PARTIES:
            entity = party.get(field)
            if entity is not None:
                sides[kind, entity] = sides.get((kind, entity), 0) | side
    for (kind, entity), side in tuple(sides.items()):
        if kind == SHIP_TYPE and (ship := catalog.type(entity)) is not None:
            group = SHIP_GROUP, ship.group_id
            sides[group] = sides.get(group, 0) | side
    return sides


def involvement_rows(parties: Mapping[tuple[int, int], int], moment: str, killmail_id: int) -> list[Any]:
    """Parties with their sides, as `involved` gives them, in the fewest rows."""
    columns: dict[int, dict[int, list[int]]] = {}
    for (kind, entity), sides in sorted(parties.items()):
        columns.setdefault(sides, {kind: [] for kind in OF_KIND})[kind].append(entity)
    return [
        InvolvementRow(*entities, moment, killmail_id, sides)
        for sides, of_kind in columns.items()
        for entities in zip_longest(*of_kind.values())
    ]


def in_tables(involvement: Sequence[Any]) -> Iterator[tuple[Any, list[tuple[Any, ...]]]]:
    """Rows of `Involvement` as rows of the tables of their sides (`INVOLVED`)."""
    for sides, table in INVOLVED.items():
        yield table, [row[:-1] for row in involvement if row.sides == sides]


def _named(
    body: Mapping[str, Any], items: tuple[Item, ...], parties: Mapping[tuple[int, int], int]
) -> dict[str, set[int]]:
    of: dict[int, set[int]] = {
        CHARACTER: set(),
        CORPORATION: set(),
        ALLIANCE: set(),
        SHIP_TYPE: set(),
        SHIP_GROUP: set(),
    }
    for kind, entity in parties:
        of[kind].add(entity)
    factions, types = {body["victim"].get("faction_id")}, of[SHIP_TYPE]
    for attacker in body["attackers"]:
        factions.add(attacker.get("faction_id"))
        types.add(attacker.get("weapon_type_id"))
    # Without those that are not there, and without 0.
    named = {table: set(filter(None, ids)) for table, ids in zip(
        ("character", "corporation", "alliance", "faction", "item_type"),
        (of[CHARACTER], of[CORPORATION], of[ALLIANCE], factions, types), strict=True,
    )}  # fmt: skip
    for item in items:
        named["item_type"].add(item.item_type_id)
        named["item_type"].update(inner.item_type_id for inner in item.inside)
    return {**named, "solar_system": {body["solar_system_id"]}}
