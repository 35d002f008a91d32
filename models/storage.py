"""Saving a killmail: whole or not at all, once, with the event that tells of it in the same transaction."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any

from models.base import in_transaction, insert_rows, is_postgres, rows, run, sql_now, utcnow
from models.killmails import FETCHED
from models.mapping import (
    ATTACKER_COLUMNS,
    INVOLVEMENT_COLUMNS,
    ITEM_COLUMNS,
    KILLMAIL_COLUMNS,
    VICTIM_COLUMNS,
    Item,
    KillmailRows,
    map_killmail,
)
from models.syncs import KILLMAIL_SAVED

#: Table and key of each kind of name, in the one order in which every transaction touches them.
NAME_KEYS = {
    "character": "character_id",
    "corporation": "corporation_id",
    "alliance": "alliance_id",
    "faction": "faction_id",
    "item_type": "type_id",
    "solar_system": "system_id",
}


class _KnownIds:
    """Ids that certainly have their row in a name table, so that popular types and systems cost no statement."""

    def __init__(self, size: int = 100_000) -> None:
        self._size = size
        self._seen: OrderedDict[tuple[str, int], None] = OrderedDict()
        self._lock = threading.Lock()

    def missing(self, table: str, ids: Iterable[int]) -> list[int]:
        with self._lock:
            return sorted(entity for entity in ids if (table, entity) not in self._seen)

    def add(self, table: str, ids: Iterable[int]) -> None:
        with self._lock:
            for entity in ids:
                self._seen[table, entity] = None
            while len(self._seen) > self._size:
                self._seen.popitem(last=False)

    def clear(self) -> None:
        with self._lock:
            self._seen.clear()


known_ids = _KnownIds()


class Saved:
    """What a save did: whether the killmail is new here, and whether names are to be asked for."""

    __slots__ = ("is_new", "names_wanted")

    def __init__(self, is_new: bool, names_wanted: bool) -> None:
        self.is_new = is_new
        self.names_wanted = names_wanted


def save_killmail(body: Mapping[str, Any], killmail_hash: str) -> Saved:
    """Store a killmail that the ledger knows. Storing it again changes nothing and announces nothing.

    Raises:
        peewee.OperationalError: the database is away; nothing was stored.
    """
    mapped = map_killmail(body, killmail_hash, utcnow())
    unknown = {table: known_ids.missing(table, mapped.named[table]) for table in NAME_KEYS}
    saved = in_transaction(lambda: _save(mapped, unknown))
    for table, ids in unknown.items():
        known_ids.add(table, ids)
    return saved


def _save(mapped: KillmailRows, unknown: dict[str, list[int]]) -> Saved:
    # The ledger row is locked first: of two workers with the same message the second waits here and then sees `fetched`.
    claimed = run(
        "UPDATE killmail_ref SET state = %s, last_error = NULL, sent_at = NULL, attempts = attempts + 1 "
        "WHERE killmail_id = %s AND state <> %s",
        (FETCHED, mapped.killmail_id, FETCHED),
    )
    if not claimed:
        return Saved(is_new=False, names_wanted=False)
    cursor = insert_rows("killmail", KILLMAIL_COLUMNS, [mapped.killmail], "ON CONFLICT DO NOTHING")
    if not cursor.rowcount:
        return Saved(is_new=False, names_wanted=False)
    insert_rows("victim", VICTIM_COLUMNS, [mapped.victim])
    if mapped.attackers:
        insert_rows("attacker", ATTACKER_COLUMNS, mapped.attackers)
    _insert_items(mapped.killmail_id, mapped.items)
    insert_rows("involvement", INVOLVEMENT_COLUMNS, mapped.involvement)
    wanted = False
    for table, ids in unknown.items():
        if ids:
            added = insert_rows(table, (NAME_KEYS[table],), [(entity,) for entity in ids], "ON CONFLICT DO NOTHING")
            wanted = wanted or added.rowcount > 0
    emit(KILLMAIL_SAVED, mapped.killmail_id)
    return Saved(is_new=True, names_wanted=wanted)


def _insert_items(killmail_id: int, items: tuple[Item, ...]) -> None:
    """Items in ESI's order; what lies in a container follows it and names its row as parent."""
    waiting: list[tuple[Any, ...]] = []

    def flush() -> None:
        if waiting:
            insert_rows("killmail_item", ITEM_COLUMNS, waiting)
            waiting.clear()

    for item in items:
        row = (killmail_id, None, *item.columns)
        if not item.inside:
            waiting.append(row)
            continue
        flush()
        parent_id = insert_rows("killmail_item", ITEM_COLUMNS, [row], "RETURNING id").fetchone()[0]
        waiting.extend((killmail_id, parent_id, *inner.columns) for inner in item.inside)
    flush()


def emit(kind: str, subject_id: int, user_id: int | None = None) -> None:
    """Write an event into the running transaction; PostgreSQL tells its listeners when that commits."""
    if is_postgres():
        rows(
            "WITH told AS (INSERT INTO event (kind, subject_id, user_id, created_at) "
            "VALUES (%s, %s, %s, clock_timestamp()) RETURNING id) "
            "SELECT pg_notify('killsync', concat_ws(':', id, %s::text, %s::text, %s::text)) FROM told",
            (kind, subject_id, user_id, kind, str(subject_id), None if user_id is None else str(user_id)),
        )
    else:
        run(
            f"INSERT INTO event (kind, subject_id, user_id, created_at) VALUES (%s, %s, %s, {sql_now()})",
            (kind, subject_id, user_id),
        )


def prune_events(keep_seconds: float) -> int:
    """Delete events that every listener has long seen; the number deleted."""
    return run(f"DELETE FROM event WHERE created_at < {sql_now(-keep_seconds)}")
