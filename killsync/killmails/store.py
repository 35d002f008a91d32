"""Saving a killmail: whole or not at all, once, with its number in the log in the same transaction.

Multi-row inserts are SQL text here: of a message of 40 killmails, Peewee builds them in 1.1 ms each and text in 0.1 ms. Items
and attackers go by COPY where there are more than a few, which Peewee does not know.
"""

from __future__ import annotations

import itertools
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from peewee import Table

from killsync.events.store import append
from killsync.killmails.mapping import Item, KillmailRows, days_of, in_tables, map_killmail, types_of
from killsync.prices import book
from killsync.prices.book import Book
from killsync.process import OnePerProcess
from killsync.static_data import catalog
from models.db import database, is_postgres
from models.errors import is_away
from models.exactly_once import in_transaction_once
from models.expressions import either
from models.fields import utcnow
from models.killmails import (
    FETCHED,
    AttackerRow,
    KillmailBodyRow,
    KillmailItemRow,
    KillmailRow,
    PartiesRow,
    VictimRow,
)
from models.names import NAME_KEYS
from models.sql import add_rows, insert_rows, rows

T = TypeVar("T")


class KnownIds:
    """Ids that certainly have their row in a name table, so that popular types and systems cost no statement."""

    def __init__(self, size: int = 100_000) -> None:
        self._size = size
        self._seen: OrderedDict[tuple[str, int], None] = OrderedDict()
        self._lock = threading.Lock()

    def missing(self, table: str, ids: Iterable[int]) -> list[int]:
        """Those of *ids* that may have no row yet, ascending."""
        with self._lock:
            return sorted(entity for entity in ids if (table, entity) not in self._seen)

    def add(self, table: str, ids: Iterable[int]) -> None:
        """Remember that *ids* have their rows; the oldest are forgotten when there are too many."""
        with self._lock:
            for entity in ids:
                self._seen[table, entity] = None
            while len(self._seen) > self._size:
                self._seen.popitem(last=False)


known_ids = OnePerProcess(KnownIds)


@dataclass(frozen=True, slots=True)
class Saved:
    """What a save did: whether the killmail is new here, and whether names are to be asked for."""

    is_new: bool
    names_wanted: bool


#: A killmail as ESI gave it, and the hash that was asked for.
Given = tuple[Mapping[str, Any], str]


def save_killmail(body: Mapping[str, Any], killmail_hash: str) -> Saved:
    """Store a killmail that the ledger knows. Storing it again changes nothing and announces nothing.

    Raises:
        peewee.OperationalError: the database is away; nothing was stored.
    """
    known, prices = catalog.current().get(), _prices([body])
    return _save_all([map_killmail(body, killmail_hash, utcnow(), known, prices)])[0]


def save_killmails(given: Sequence[Given]) -> list[Saved | Exception]:
    """Store several killmails that the ledger knows, in one transaction; what became of each, in their order.

    When one of them cannot be stored, they are parted until it is alone, so that it harms no other.

    Raises:
        peewee.OperationalError: the database is away; nothing, or not everything, was stored.
    """
    return save_given(given, _save_all)


def save_given(given: Sequence[Given], save: Callable[[list[KillmailRows]], list[T]]) -> list[T | Exception]:
    """What *save* made of each: all of them together, but for those that cannot be stored."""
    now, known, prices = utcnow(), catalog.current().get(), _prices([body for body, _hash in given])
    outcomes: list[Exception | None] = []
    mapped = []
    for body, killmail_hash in given:
        try:
            mapped.append(map_killmail(body, killmail_hash, now, known, prices))
            outcomes.append(None)
        except Exception as error:
            outcomes.append(error)
    done = _saved(mapped, save)
    return [next(done) if outcome is None else outcome for outcome in outcomes]


def _saved(mapped: list[KillmailRows], save: Callable[[list[KillmailRows]], list[T]]) -> Iterator[T | Exception]:
    """What *save* made of each: all together, and where that fails in halves, so that one costs two thousand others little."""
    try:
        done = save(mapped)
    except Exception as error:
        if is_away(error):
            raise
        if len(mapped) <= 1:
            yield error
            return
    else:
        yield from done
        return
    middle = len(mapped) // 2
    yield from _saved(mapped[:middle], save)
    yield from _saved(mapped[middle:], save)


def _prices(bodies: list[Mapping[str, Any]]) -> Book:
    """The prices that count for these killmails: in memory, but for days in between."""
    return book.current().get().holding(days_of(bodies), lambda: types_of(bodies))


def _save_all(batch: list[KillmailRows]) -> list[Saved]:
    if not batch:
        return []
    known = known_ids()
    unknown = unknown_names(batch)
    saved, names_wanted = in_transaction_once(lambda: _save(batch, unknown))
    for table, ids in unknown.items():
        known.add(table, ids)
    return [Saved(each.killmail_id in saved, each.killmail_id in saved and names_wanted) for each in batch]


def unknown_names(batch: list[KillmailRows]) -> dict[str, list[int]]:
    """What of a batch may have no row in its name table yet."""
    known = known_ids()
    return {table: known.missing(table, set().union(*(each.named[table] for each in batch))) for table in NAME_KEYS}


def _save(batch: list[KillmailRows], unknown: dict[str, list[int]]) -> tuple[set[int], bool]:
    """The ids of those that are new, and whether names are missing."""
    claimed = _claim([each.killmail_id for each in batch])
    fresh = {each.killmail_id: each for each in batch if each.killmail_id in claimed}
    if not fresh:
        return set(), False
    entered = insert_rows(
        "killmail", KillmailRow._fields, [each.killmail for each in fresh.values()],
        "ON CONFLICT DO NOTHING RETURNING killmail_id",
    )  # fmt: skip
    saved = {killmail_id for (killmail_id,) in entered.fetchall()}
    new = [each for killmail_id, each in fresh.items() if killmail_id in saved]
    if not new:
        return set(), False
    add_parts(new)
    names_wanted = enter_names(unknown)
    append([each.killmail_id for each in new])
    return saved, names_wanted


def add_parts(new: list[KillmailRows]) -> None:
    """All rows of killmails but those of the table `killmail`, which are there."""
    # Items that hold nothing need no id before they are there: the database gives it, in their order.
    plain = [each for each in new if not any(item.inside for item in each.items)]
    items = [_item_row(each.killmail_id, item, None) for each in plain for item in each.items]
    involvement = [row for each in new for row in each.involvement]
    for table, columns, values in (
        ("victim", VictimRow._fields, [each.victim for each in new]),
        ("attacker", AttackerRow._fields, [row for each in new for row in each.attackers]),
        ("killmail_item", KillmailItemRow._fields, items),
        *((table._meta.table_name, PartiesRow._fields, parties) for table, parties in in_tables(involvement)),
    ):
        add_rows(table, columns, values, without_texts=True)
    add_rows("killmail_body", KillmailBodyRow._fields, [(each.killmail_id, each.body) for each in new if each.body])
    nested = [each for each in new if any(item.inside for item in each.items)]
    add_rows("killmail_item", ("id", *KillmailItemRow._fields), _numbered_items(nested), without_texts=True)


def _claim(ids: list[int]) -> set[int]:
    """Mark ledger rows fetched; those that were not yet.

    They are locked first, in order of id: of two workers with the same killmail the second waits here and then finds it
    `fetched`, and two workers never wait for each other.
    """
    # Text, as the inserts: Peewee takes 1 ms longer to build it.
    marks, lock = ", ".join(["%s"] * len(ids)), either(postgres="FOR UPDATE", sqlite="")
    claimed = rows(
        "UPDATE killmail_ref SET state = %s, last_error = NULL, sent_at = NULL, attempts = attempts + 1 WHERE killmail_id IN "
        f"(SELECT killmail_id FROM killmail_ref WHERE killmail_id IN ({marks}) AND state <> %s ORDER BY killmail_id {lock}) "
        "RETURNING killmail_id",
        (FETCHED, *ids, FETCHED),
    )
    return {killmail_id for (killmail_id,) in claimed}


def enter_names(unknown: dict[str, list[int]]) -> bool:
    """A row for each thing that was never mentioned before; whether there was any. Tables in the one order of all."""
    added = 0
    for table, key in NAME_KEYS.items():
        if ids := unknown[table]:
            added += insert_rows(table, (key,), [(entity,) for entity in ids], "ON CONFLICT DO NOTHING").rowcount
    return added > 0


def _item_row(killmail_id: int, item: Item, parent_id: int | None) -> Any:
    return KillmailItemRow(
        killmail_id,
        parent_id,
        item.item_type_id,
        item.flag,
        item.quantity_dropped,
        item.quantity_destroyed,
        item.singleton,
    )


def _numbered_items(batch: list[KillmailRows]) -> list[tuple[Any, ...]]:
    """Items in ESI's order with their ids; what lies in a container follows it and names its row as parent."""
    numbers = _item_ids(sum(1 + len(item.inside) for each in batch for item in each.items))
    made: list[tuple[Any, ...]] = []

    def add(killmail_id: int, item: Item, parent_id: int | None) -> int:
        number = next(numbers)
        made.append((number, *_item_row(killmail_id, item, parent_id)))
        return number

    for each in batch:
        for item in each.items:
            parent_id = add(each.killmail_id, item, None)
            for inner in item.inside:
                add(each.killmail_id, inner, parent_id)
    return made


def _item_ids(count: int) -> Iterator[int]:
    """As many new ids of items, ascending."""
    if not count:
        return iter(())
    if is_postgres():
        # Text: a sequence is PostgreSQL's own.
        sequence = "pg_get_serial_sequence('killmail_item', 'id')"
        return iter([number for (number,) in rows(f"SELECT nextval({sequence}) FROM generate_series(1, %s)", (count,))])
    # This transaction holds SQLite's one write lock, so nobody else takes them.
    sequences: Any = Table("sqlite_sequence", ("name", "seq")).bind(database)
    last = sequences.select(sequences.seq).where(sequences.name == "killmail_item").scalar()
    return itertools.count((last or 0) + 1)


def enter_new(table: str, columns: tuple[str, ...], values: list[tuple[Any, ...]]) -> set[int]:
    """Insert the rows that are not there yet; their killmail ids."""
    # Text: a page has up to 1,000 ids, which Peewee takes 20 ms to write down and text 1 ms.
    entered = insert_rows(table, columns, values, "ON CONFLICT DO NOTHING RETURNING killmail_id")
    return {killmail_id for (killmail_id,) in entered.fetchall()}
