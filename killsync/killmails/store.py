"""Saving a killmail: whole or not at all, once, with the event that tells of it in the same transaction."""

from __future__ import annotations

import itertools
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from killsync.killmails.mapping import (
    ATTACKER_COLUMNS,
    INVOLVEMENT_COLUMNS,
    ITEM_COLUMNS,
    KILLMAIL_COLUMNS,
    VICTIM_COLUMNS,
    KillmailRows,
    map_killmail,
)
from killsync.process import at_begin
from models.db import in_transaction, is_postgres
from models.errors import is_away
from models.events import KILLMAIL_SAVED
from models.fields import to_text, utcnow
from models.killmails import FETCHED
from models.names import NAME_KEYS
from models.sql import add_rows, insert_rows, rows, run, sql_now


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
at_begin(known_ids.clear)


class Saved:
    """What a save did: whether the killmail is new here, and whether names are to be asked for."""

    __slots__ = ("is_new", "names_wanted")

    def __init__(self, is_new: bool, names_wanted: bool) -> None:
        self.is_new = is_new
        self.names_wanted = names_wanted


#: A killmail as ESI gave it, and the hash that was asked for.
Given = tuple[Mapping[str, Any], str]


def save_killmail(body: Mapping[str, Any], killmail_hash: str) -> Saved:
    """Store a killmail that the ledger knows. Storing it again changes nothing and announces nothing.

    Raises:
        peewee.OperationalError: the database is away; nothing was stored.
    """
    return _save_all([map_killmail(body, killmail_hash, utcnow())])[0]


def save_killmails(given: Sequence[Given]) -> list[Saved | Exception]:
    """Store several killmails that the ledger knows, in one transaction; what became of each, in their order.

    When one of them cannot be stored, each is stored in a transaction of its own, so that it harms no other.

    Raises:
        peewee.OperationalError: the database is away; nothing, or not everything, was stored.
    """
    now = utcnow()
    outcomes: list[Saved | Exception | None] = []
    mapped = []
    for body, killmail_hash in given:
        try:
            mapped.append(map_killmail(body, killmail_hash, now))
            outcomes.append(None)
        except Exception as error:
            outcomes.append(error)
    try:
        done: Iterator[Saved | Exception] = iter(_save_all(mapped))
    except Exception as error:
        if is_away(error):
            raise
        done = iter([_save_alone(each) for each in mapped])
    return [next(done) if outcome is None else outcome for outcome in outcomes]


def _save_alone(mapped: KillmailRows) -> Saved | Exception:
    try:
        return _save_all([mapped])[0]
    except Exception as error:
        if is_away(error):
            raise
        return error


def _save_all(batch: list[KillmailRows]) -> list[Saved]:
    if not batch:
        return []
    unknown = {
        table: known_ids.missing(table, set().union(*(each.named[table] for each in batch))) for table in NAME_KEYS
    }
    saved, names_wanted = in_transaction(lambda: _save(batch, unknown))
    for table, ids in unknown.items():
        known_ids.add(table, ids)
    return [Saved(each.killmail_id in saved, each.killmail_id in saved and names_wanted) for each in batch]


def _save(batch: list[KillmailRows], unknown: dict[str, list[int]]) -> tuple[set[int], bool]:
    """The ids of those that are new, and whether names are missing."""
    claimed = _claim([each.killmail_id for each in batch])
    fresh = {each.killmail_id: each for each in batch if each.killmail_id in claimed}
    if not fresh:
        return set(), False
    entered = insert_rows(
        "killmail", KILLMAIL_COLUMNS, [each.killmail for each in fresh.values()],
        "ON CONFLICT DO NOTHING RETURNING killmail_id",
    ).fetchall()  # fmt: skip
    saved = {number for (number,) in entered}
    new = [fresh[number] for number in fresh if number in saved]
    if not new:
        return set(), False
    add_rows("victim", VICTIM_COLUMNS, [each.victim for each in new])
    add_rows("attacker", ATTACKER_COLUMNS, [row for each in new for row in each.attackers])
    _add_items(new)
    add_rows("involvement", INVOLVEMENT_COLUMNS, sorted(row for each in new for row in each.involvement))
    wanted = False
    for table, ids in unknown.items():
        if ids:
            added = insert_rows(table, (NAME_KEYS[table],), [(entity,) for entity in ids], "ON CONFLICT DO NOTHING")
            wanted = wanted or added.rowcount > 0
    emit_each(KILLMAIL_SAVED, [(each.killmail_id, None) for each in new])
    return saved, wanted


def _claim(ids: list[int]) -> set[int]:
    """Mark ledger rows fetched; those that were not yet.

    They are locked first, in order of id: of two workers with the same killmail the second waits here and then finds it
    `fetched`, and two workers never wait for each other.
    """
    marks = ", ".join(["%s"] * len(ids))
    lock = "FOR UPDATE" if is_postgres() else ""
    sql = f"SELECT killmail_id FROM killmail_ref WHERE killmail_id IN ({marks}) AND state <> %s ORDER BY killmail_id {lock}"
    claimed = [number for (number,) in rows(sql, (*ids, FETCHED))]
    if claimed:
        marks = ", ".join(["%s"] * len(claimed))
        run(
            "UPDATE killmail_ref SET state = %s, last_error = NULL, sent_at = NULL, attempts = attempts + 1 "
            f"WHERE killmail_id IN ({marks})",
            (FETCHED, *claimed),
        )
    return set(claimed)


def _add_items(batch: list[KillmailRows]) -> None:
    """Items in ESI's order; what lies in a container follows it and names its row as parent."""
    numbers = _item_ids(sum(1 + len(item.inside) for each in batch for item in each.items))
    added: list[tuple[Any, ...]] = []
    for each in batch:
        for item in each.items:
            parent_id = next(numbers)
            added.append((parent_id, each.killmail_id, None, *item.columns))
            added.extend((next(numbers), each.killmail_id, parent_id, *inner.columns) for inner in item.inside)
    add_rows("killmail_item", ("id", *ITEM_COLUMNS), added)


def _item_ids(count: int) -> Iterator[int]:
    """As many new ids of items, ascending."""
    if not count:
        return iter(())
    if is_postgres():
        sequence = "pg_get_serial_sequence('killmail_item', 'id')"
        return iter([number for (number,) in rows(f"SELECT nextval({sequence}) FROM generate_series(1, %s)", (count,))])
    # This transaction holds SQLite's one write lock, so nobody else takes them.
    found = rows("SELECT seq FROM sqlite_sequence WHERE name = 'killmail_item'")
    return itertools.count(found[0][0] + 1 if found else 1)


def emit(kind: str, subject_id: int, user_id: int | None = None) -> None:
    """Write an event into the running transaction; PostgreSQL tells its listeners when that commits."""
    emit_each(kind, [(subject_id, user_id)])


def emit_each(kind: str, subjects: Sequence[tuple[int, int | None]]) -> None:
    """Write an event for each (subject, user) into the running transaction, as `emit` does for one."""
    if is_postgres():
        rows(
            "WITH told AS (INSERT INTO event (kind, subject_id, user_id, created_at) "
            "SELECT %s, subject, listener, clock_timestamp() "
            "FROM unnest(%s::bigint[], %s::bigint[]) AS each (subject, listener) RETURNING id, subject_id, user_id) "
            "SELECT pg_notify('killsync', concat_ws(':', id, %s::text, subject_id, user_id)) FROM told",
            (kind, [subject for subject, _ in subjects], [user for _, user in subjects], kind),
        )
    else:
        columns = ("kind", "subject_id", "user_id", "created_at")
        add_rows("event", columns, [(kind, subject, user, to_text(utcnow())) for subject, user in subjects])


def prune_events(keep_seconds: float) -> int:
    """Delete events that every listener has long seen; the number deleted."""
    return run(f"DELETE FROM event WHERE created_at < {sql_now(-keep_seconds)}")
