"""Saving killmails of files, as `killsync.killmails.store` saves those of ESI: with their rows of the ledger, and silently."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Any

from killsync.bulk.checks import skip_foreign_keys
from killsync.events.store import append
from killsync.killmails.mapping import KillmailRows
from killsync.killmails.store import Given, add_parts, enter_names, known_ids, save_given, unknown_names
from models.exactly_once import in_transaction_once
from models.expressions import one_of
from models.killmails import FETCHED, PENDING, Killmail, KillmailRef, KillmailRow
from models.sql import add_rows, insert_rows


class Imported(Enum):
    """What became of a killmail: it is new, it was stored before, or the ledger has another hash of it."""

    NEW = "new"
    KNOWN = "known"
    OTHER_HASH = "other hash"


def hashes_of_stored(killmail_ids: Iterable[int]) -> dict[int, str]:
    """The hashes of those that are stored, by their ids."""
    return _hashes(killmail_ids, KillmailRef.state == FETCHED)


def _hashes(killmail_ids: Iterable[int], *conditions: Any) -> dict[int, str]:
    ids = list(killmail_ids)
    refs: Any = KillmailRef.select(KillmailRef.killmail_id, KillmailRef.killmail_hash)
    return dict(refs.where(one_of(KillmailRef.killmail_id, ids), *conditions).tuples()) if ids else {}


def import_killmails(given: Sequence[Given], *, announce: bool) -> list[Imported | Exception]:
    """Store killmails that nobody need have listed; what became of each, in their order. No id may stand twice among them.

    One that the ledger has with another hash is not stored: what a list said counts more, and ESI is asked with that.
    *announce*: give them numbers in the log, so that all who follow it hear of them.

    Raises:
        peewee.OperationalError: the database is away; nothing, or not everything, was stored.
    """

    def save(batch: list[KillmailRows]) -> list[Imported]:
        return _import_all(batch, announce=announce)

    return save_given(given, save)


def _import_all(batch: list[KillmailRows], *, announce: bool) -> list[Imported]:
    if not batch:
        return []
    # Names have their rows before the transaction, which is long: who stores the same pilots does not wait for its end.
    unknown = unknown_names(batch)
    in_transaction_once(lambda: enter_names(unknown))
    for table, ids in unknown.items():
        known_ids().add(table, ids)
    new = in_transaction_once(lambda: _import(batch, announce=announce))
    known = _hashes(each.killmail_id for each in batch if each.killmail_id not in new)
    return [_outcome(each, new, known) for each in batch]


def _outcome(each: KillmailRows, new: set[int], known: dict[int, str]) -> Imported:
    if each.killmail_id in new:
        return Imported.NEW
    is_same = known.get(each.killmail_id) == each.killmail.killmail_hash
    return Imported.KNOWN if is_same else Imported.OTHER_HASH


def _import(batch: list[KillmailRows], *, announce: bool) -> set[int]:
    """The ids of those that are new."""
    skip_foreign_keys()
    entered = _enter_fetched(batch)
    if not entered:
        return set()
    # An operator's own script may have stored some without the ledger.
    there: Any = Killmail.select(Killmail.killmail_id).where(one_of(Killmail.killmail_id, sorted(entered)))
    new = entered.difference(killmail_id for (killmail_id,) in there.tuples())
    rows = [each for each in batch if each.killmail_id in new]
    if rows:
        add_rows("killmail", KillmailRow._fields, [each.killmail for each in rows])
        add_parts(rows)
        if announce:
            append([each.killmail_id for each in rows])
    return new


def _enter_fetched(batch: list[KillmailRows]) -> set[int]:
    """Enter killmails into the ledger as fetched, in order of id; those that were not."""
    refs = sorted((each.killmail_id, each.killmail.killmail_hash, FETCHED, 1) for each in batch)
    # Text, as all inserts of many rows.
    entered = insert_rows(
        "killmail_ref", ("killmail_id", "killmail_hash", "state", "attempts"), refs,
        "ON CONFLICT (killmail_id) DO UPDATE SET state = excluded.state, last_error = NULL, sent_at = NULL "
        f"WHERE killmail_ref.state = '{PENDING}' AND killmail_ref.killmail_hash = excluded.killmail_hash "
        "RETURNING killmail_id",
    )  # fmt: skip
    return {killmail_id for (killmail_id,) in entered.fetchall()}
