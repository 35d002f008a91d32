"""Named leases: a right that one process at a time holds for a while, over all hosts, by the database's clock."""

from __future__ import annotations

from peewee import Alias

from models.db import in_transaction
from models.expressions import now
from models.fields import LONG_AGO, from_any
from models.sync import Lease


def acquire(name: str, holder: str, seconds: float) -> bool:
    """Take or renew a lease; False while another holder has it."""

    def work() -> bool:
        Lease.insert(name=name, holder="", until=LONG_AGO).on_conflict_ignore().execute()
        is_free = (Lease.until <= now()) | (Lease.holder == holder)
        taken = Lease.update(holder=holder, until=now(seconds)).where((Lease.name == name) & is_free)
        return bool(taken.execute())

    return in_transaction(work)


def release(name: str, holder: str) -> None:
    """Give a lease back."""
    in_transaction(Lease.delete().where((Lease.name == name) & (Lease.holder == holder)).execute)


def expire(name: str) -> None:
    """End a lease, whoever has it."""
    in_transaction(Lease.delete().where(Lease.name == name).execute)


def seconds_left(name: str) -> float | None:
    """How long a lease runs on by the database's clock, negative once it has run out; None when nobody ever took it."""
    row = Lease.select(Lease.until, Alias(now(), "database_now")).where(Lease.name == name).namedtuples().first()
    database_now = from_any(row.database_now) if row is not None else None
    return (row.until - database_now).total_seconds() if database_now is not None else None
