"""Named leases: a right that one process at a time holds for a while, over all hosts, by the database's clock."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from peewee import Alias

from models.db import in_statement, in_transaction
from models.expressions import now
from models.fields import LONG_AGO, from_any
from models.prepared import Prepared
from models.sync import Lease


def acquire(name: str, holder: str, seconds: float) -> bool:
    """Take or renew a lease; False while another holder has it."""

    def work() -> bool:
        _MAKE.run(name)
        return bool(_TAKE.run(name, holder, seconds))

    return in_transaction(work)


def _taking(name: Any, holder: Any, seconds: Any) -> Any:
    is_free = (Lease.until <= now()) | (Lease.holder == holder)
    return Lease.update(holder=holder, until=now(seconds)).where((Lease.name == name) & is_free)


_MAKE = Prepared(
    lambda name: Lease.insert(name=name, holder="", until=LONG_AGO).on_conflict_ignore(), lists=0, values=1
)
_TAKE = Prepared(_taking, lists=0, values=3)


def release(name: str, holder: str) -> None:
    """Give a lease back."""
    in_statement(lambda: _RELEASE.run(name, holder))


_RELEASE = Prepared(
    lambda name, holder: Lease.delete().where((Lease.name == name) & (Lease.holder == holder)), lists=0, values=2
)


def expire(name: str) -> None:
    """End a lease, whoever has it."""
    in_transaction(Lease.delete().where(Lease.name == name).execute)


def seconds_left(name: str) -> float | None:
    """How long a lease runs on by the database's clock, negative once it has run out; None when nobody ever took it."""
    row = Lease.select(Lease.until, Alias(now(), "database_now")).where(Lease.name == name).namedtuples().first()
    database_now = from_any(row.database_now) if row is not None else None
    return (row.until - database_now).total_seconds() if database_now is not None else None


def is_held(name: str) -> bool:
    """Whether somebody has a lease now."""
    return (seconds_left(name) or 0.0) > 0.0


@dataclass(frozen=True)
class SharedWork:
    """Work on what is stored that one worker at a time does, in batches, while others do theirs.

    Attributes:
        name: of its lease.
        lease_seconds: a worker that died is taken to be dead after this long.
        pause_seconds: a worker that found nothing to do has all leave it at that for so long.
    """

    name: str
    lease_seconds: float
    pause_seconds: float

    def is_free(self) -> bool:
        """Whether no worker is at it, or just looked."""
        return not is_held(self.name) and not is_held(self._pause)

    def acquire(self, holder: str) -> bool:
        """Take or renew the right to do it; False while another has it."""
        return acquire(self.name, holder, self.lease_seconds)

    def release(self, holder: str) -> None:
        """Leave it to others."""
        release(self.name, holder)

    def do_some(self, batch: Callable[[], int], seconds: float) -> int:
        """Do batches for about *seconds*; what they did, together. *batch* does one, and gives 0 when nothing is left."""
        holder, deadline, done = uuid.uuid4().hex, time.monotonic() + seconds, 0
        while time.monotonic() < deadline and self.acquire(holder):
            some = batch()
            done += some
            if not some:
                acquire(self._pause, holder, self.pause_seconds)
                break
        self.release(holder)
        return done

    @property
    def _pause(self) -> str:
        return f"{self.name}-pause"
