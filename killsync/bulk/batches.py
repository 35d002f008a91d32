"""One batch of documents into the database: which are stored already, what the others say, and what became of each."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from killsync.bulk import documents, store
from killsync.bulk.documents import BrokenDocument, Document
from killsync.bulk.store import Imported
from killsync.esi.schemas import ServedKillmail
from models import connection

#: A document and the name of where it was found.
Named = tuple[str, bytes]


@dataclass
class Outcome:
    """What became of documents.

    Attributes:
        new: stored now.
        known: stored before, with the same hash.
        other_hash: the ledger has another hash of these; names.
        no_hash: nobody said a hash of these; names.
        broken: (name, reason) of those that are no killmails, or cannot be stored.
    """

    new: int = 0
    known: int = 0
    other_hash: list[str] = field(default_factory=list)
    no_hash: list[str] = field(default_factory=list)
    broken: list[tuple[str, str]] = field(default_factory=list)


def import_batch(batch: Sequence[Named], *, announce: bool) -> Outcome:
    """Store what of the batch is not stored yet.

    Raises:
        peewee.OperationalError: the database is away; of the batch nothing, or not everything, was stored.
    """
    with _no_cycle_collection():
        return _outcome_of(batch, announce=announce)


@contextmanager
def _no_cycle_collection() -> Iterator[None]:
    """Rows of a batch are a hundred thousand small objects without a cycle: to look for one is a tenth of the work."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _outcome_of(batch: Sequence[Named], *, announce: bool) -> Outcome:
    outcome = Outcome()
    read: list[tuple[str, Document]] = []
    for name, text in batch:
        try:
            read.append((name, documents.read(text, name)))
        except BrokenDocument as error:
            outcome.broken.append((name, str(error)))
    with connection():
        _import(read, outcome, announce=announce)
    return outcome


def _import(read: list[tuple[str, Document]], outcome: Outcome, *, announce: bool) -> None:
    known = store.hashes_of_stored(document.killmail_id for _, document in read)
    wanted: dict[int, tuple[str, ServedKillmail, str]] = {}
    for name, document in read:
        number, digest = document.killmail_id, document.killmail_hash
        if number in known:
            _count_known(outcome, name, is_same=digest is None or digest == known[number])
        elif digest is None:
            outcome.no_hash.append(name)
        elif number in wanted:
            _count_known(outcome, name, is_same=digest == wanted[number][2])
        else:
            try:
                wanted[number] = name, documents.checked(document), digest
            except BrokenDocument as error:
                outcome.broken.append((name, str(error)))
    done = store.import_killmails([(body, digest) for _, body, digest in wanted.values()], announce=announce)
    for (name, _, _), what in zip(wanted.values(), done, strict=True):
        if isinstance(what, Exception):
            outcome.broken.append((name, f"cannot be stored: {_first_line(what)}"))
        elif what is Imported.NEW:
            outcome.new += 1
        else:
            _count_known(outcome, name, is_same=what is Imported.KNOWN)


def _count_known(outcome: Outcome, name: str, *, is_same: bool) -> None:
    if is_same:
        outcome.known += 1
    else:
        outcome.other_hash.append(name)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
