"""Named leases: a right that one process at a time holds for a while, over all hosts, by the database's clock."""

from __future__ import annotations

from models.db import in_transaction
from models.expressions import now
from models.fields import LONG_AGO
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
