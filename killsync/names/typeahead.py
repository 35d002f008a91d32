"""What a name may be that somebody begins to type: of the static data, or of what a killmail ever named. Reads only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from killsync.names.wanted import model_of
from models.expressions import folded, has_text
from models.names import ItemType
from models.static_data import ItemGroup

#: Categories of what is flown, lost or shoots; and of what shoots.
SHIPS = (6, 65, 22, 23, 46, 18, 87, 11)
WEAPONS = (7, 8, 18, 87, 6, 65, 66, 11)
#: The longest text that is searched for; no name in EVE is longer.
MOST_TEXT = 100
#: A part of a name shorter than this is not searched for.
_LEAST_PART = 3


@dataclass(frozen=True)
class Found:
    """Something that has a name."""

    table: str
    id: int
    name: str


def find(tables: Iterable[str], text: str, limit: int, categories: Iterable[int] = ()) -> list[Found]:
    """Up to *limit* things of each table whose name begins with *text*, then those that have it inside, or whose id it is.

    Of types and their groups only those of *categories* are found, where any are given.
    """
    text = " ".join(text.split())[:MOST_TEXT]
    found: list[Found] = []
    for table in tables if text else ():
        query, key, name = _named(table, tuple(categories))
        of_table: list[Found] = []
        if text.isascii() and text.isdigit() and int(text) < 2**63:
            of_table += _run(table, query.where(key == int(text)))
        of_table += _run(table, query.where(has_text(name, text, at_start=True)).order_by(folded(name)).limit(limit))
        if len(of_table) < limit and len(text) >= _LEAST_PART:
            of_table += _run(
                table, query.where(has_text(name, text, at_start=False)).order_by(folded(name)).limit(limit)
            )
        found += list(dict.fromkeys(of_table))[:limit]
    return found


def _named(table: str, categories: tuple[int, ...]) -> tuple[Any, Any, Any]:
    model = model_of(table)
    key = model._meta.primary_key
    query: Any = model.select(key.alias("id"), model.name).where(model.name.is_null(False))
    if categories and model is ItemGroup:
        query = query.where(ItemGroup.category_id.in_(categories))
    if categories and model is ItemType:
        query = query.where(
            ItemType.group_id.in_(ItemGroup.select(ItemGroup.group_id).where(ItemGroup.category_id.in_(categories)))
        )
    return query, key, model.name


def _run(table: str, query: Any) -> list[Found]:
    return [Found(table, row["id"], row["name"]) for row in query.dicts()]
