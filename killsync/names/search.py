"""Finding what a page can be about by name or ticker: first by its beginning, then by any part of the name.

Reads only. On PostgreSQL both are index lookups (the second by pg_trgm, where that is installed), on SQLite the first is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from peewee import Value, fn

from killsync.names.entities import ENTITY_KINDS, EntityKind, KnownEntity, known_entities, select
from models.expressions import folded, has_text
from models.killmails import SHIP_GROUP, SHIP_TYPE, Involvement, party_of

#: A part of a name shorter than this is not searched for: nearly every name has it, and no index helps.
LEAST_PART = 3
#: The longest text that is searched for; no name in EVE is longer.
MOST_TEXT = 100


def find(text: str, each: int, kinds: Sequence[EntityKind] = tuple(ENTITY_KINDS.values())) -> list[KnownEntity]:
    """Up to *each* entities of every kind whose name or ticker begins with *text*, whose name has it inside, or whose id it is.

    A ticker that is the whole text comes first. Of types and their groups only those are found that were flown or lost: the
    others have no killmails.
    """
    text = " ".join(text.split())[:MOST_TEXT]
    if not text:
        return []
    found: list[KnownEntity] = []
    for kind in kinds:
        called_so, begins_so = _by_ticker(kind, text, each)
        of_kind = _by_id(kind, text) + called_so + _by_name(kind, text, each, at_start=True) + begins_so
        if len(of_kind) < each and len(text) >= LEAST_PART:
            of_kind += _by_name(kind, text, each, at_start=False)
        found.extend(list(dict.fromkeys(of_kind))[:each])
    return found


def _by_name(kind: EntityKind, text: str, limit: int, *, at_start: bool) -> list[KnownEntity]:
    name = kind.table.name
    query = _with_page(kind).where(has_text(name, text, at_start=at_start)).order_by(folded(name)).limit(limit)
    return known_entities(kind, query)


def _by_ticker(kind: EntityKind, text: str, limit: int) -> tuple[list[KnownEntity], list[KnownEntity]]:
    """Those whose ticker is *text*, and those whose begins with it. It may stand in brackets, as the game shows it."""
    wanted = text.removeprefix("[").removesuffix("]").strip()
    if not kind.has_ticker or not wanted:
        return [], []
    ticker = kind.table.ticker
    query = select(kind).where(has_text(ticker, wanted, at_start=True)).order_by(folded(ticker)).limit(limit)
    found = known_entities(kind, query)
    called_so = [entity for entity in found if (entity.ticker or "").lower() == wanted.lower()]
    return called_so, [entity for entity in found if entity not in called_so]


def _by_id(kind: EntityKind, text: str) -> list[KnownEntity]:
    if not (text.isascii() and text.isdigit() and int(text) < 2**63):
        return []
    return known_entities(kind, _with_page(kind).where(kind.key == int(text)))


def _with_page(kind: EntityKind) -> Any:
    """The entities of a kind that have a page worth reading."""
    query = select(kind)
    if kind.involvement not in (SHIP_TYPE, SHIP_GROUP):
        return query
    flown = Involvement.select(Value(1)).where(party_of(Involvement, kind.involvement) == kind.key)
    return query.where(fn.EXISTS(flown))
