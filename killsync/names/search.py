"""Finding characters, corporations, alliances, ships and systems by name: first by its beginning, then by any part of it.

Reads only. On PostgreSQL both are index lookups (the second by pg_trgm, where that is installed), on SQLite the first is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from killsync.names.entities import KINDS, Kind, Subject
from models.db import is_postgres
from models.killmails import SHIP_TYPE
from models.names import NAME_KEYS
from models.sql import rows

#: A part of a name shorter than this is not searched for: nearly every name has it, and no index helps.
LEAST_PART = 3
#: The longest text that is searched for; no name in EVE is longer.
MOST_TEXT = 100


def find(text: str, each: int, kinds: Sequence[Kind] = tuple(KINDS.values())) -> list[Subject]:
    """Up to *each* subjects of every kind whose name begins with *text* or has it inside, or whose id it is.

    Of the types only those are found that were flown or lost: the others have no page worth reading.
    """
    text = " ".join(text.split())[:MOST_TEXT]
    if not text:
        return []
    found: list[Subject] = []
    for kind in kinds:
        of_kind = _by_id(kind, text) + _by_name(kind, f"{_literal(text)}%", each)
        if len(of_kind) < each and len(text) >= LEAST_PART:
            of_kind += _by_name(kind, f"%{_literal(text)}%", each)
        found.extend(list(dict.fromkeys(of_kind))[:each])
    return found


def _literal(text: str) -> str:
    """*text* as a LIKE pattern that stands for itself alone."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _by_name(kind: Kind, pattern: str, limit: int) -> list[Subject]:
    # The expression of the index that migration 005 makes on either database.
    folded = '(lower(name) COLLATE "C")' if is_postgres() else "name"
    order = folded if is_postgres() else "name COLLATE NOCASE"
    pattern = pattern.lower() if is_postgres() else pattern
    return _subjects(kind, f"{folded} LIKE %s ESCAPE '\\' {_flown(kind)} ORDER BY {order} LIMIT %s", (pattern, limit))


def _by_id(kind: Kind, text: str) -> list[Subject]:
    if not (text.isascii() and text.isdigit() and int(text) < 2**63):
        return []
    return _subjects(kind, f"{NAME_KEYS[kind.table]} = %s {_flown(kind)}", (int(text),))


def _flown(kind: Kind) -> str:
    if kind.involved != SHIP_TYPE:
        return ""
    return f"AND EXISTS (SELECT 1 FROM involvement i WHERE i.kind = {SHIP_TYPE} AND i.entity_id = type_id)"


def _subjects(kind: Kind, condition: str, values: tuple[Any, ...]) -> list[Subject]:
    ticker = "ticker" if kind.has_ticker else "NULL"
    sql = f"SELECT {NAME_KEYS[kind.table]}, name, {ticker} FROM {kind.table} WHERE {condition}"
    return [Subject(kind, *row) for row in rows(sql, values)]
