"""The rows of `esi_bucket`: each holds a token bucket, one holds the circuit breaker. Read, changed and written under a lock.

The clock is the database's, so that hosts whose clocks differ keep one count. Nothing here decides whether a call may leave.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

from killsync.esi.clock import Clock
from killsync.esi.rate_limit.circuit_breaker import CircuitBreaker
from killsync.esi.rate_limit.token_bucket import TokenBucket
from models.db import connection
from models.esi import EsiBucket
from models.exactly_once import in_transaction_once
from models.expressions import either, locked, now
from models.fields import from_any
from models.prepared import Prepared
from models.sql import rows, run, sql_now

T = TypeVar("T")
#: What is done to a bucket under its lock: the bucket (changed in place), the breaker as it is, seconds since the epoch.
BucketWork = Callable[[TokenBucket, CircuitBreaker, float], Any]

#: The name of the circuit breaker's row.
BREAKER = "gate"


class BucketStore:
    """The rows, on the clock of *clock* where a test has changed it and on the database's otherwise."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def change(self, name: str, new: TokenBucket, works: list[BucketWork]) -> list[Any]:
        """Do *works* to the bucket *name* in one transaction, and write it if they changed it; their results.

        Args:
            new: what the bucket is if it has no row yet.
        """

        def work() -> tuple[int, list[Any]]:
            transaction, bucket, breaker, moment = self._locked(name, new)
            before = bucket.dump()
            results = [each(bucket, breaker, moment) for each in works]
            after = bucket.dump()
            if after != before:
                _write(name, after)
            return transaction, results

        with connection():
            return in_transaction_once(work, number_of=lambda found: found[0])[1]

    def change_breaker(self, work: Callable[[CircuitBreaker, float], T]) -> T:
        """Do *work* to the circuit breaker in one transaction, and write it if that changed it; its result."""

        def under_lock() -> T:
            query = EsiBucket.select(EsiBucket.account, now().alias("moment")).where(EsiBucket.name == BREAKER)
            found = locked(query).namedtuples().first()
            if found is None:
                _make(BREAKER, CircuitBreaker().dump())
                found = locked(query.clone()).namedtuples().first()
            breaker = CircuitBreaker.load(found.account)
            before = breaker.dump()
            result = work(breaker, self._moment(_seconds(found.moment)))
            if (after := breaker.dump()) != before:
                _write(BREAKER, after)
            return result

        with connection():
            return in_transaction_once(under_lock)

    def read(self, name: str, new: TokenBucket) -> tuple[TokenBucket, CircuitBreaker, float]:
        """The bucket *name* (or *new*), the breaker, and seconds since the epoch, without a lock."""
        with connection():
            texts, moment = {}, self._clock.now()
            for each, text, database_now in _READ.rows(name):
                texts[each], moment = text, self._moment(_seconds(database_now))
        bucket = TokenBucket.load(texts[name]) if name in texts else new
        breaker = CircuitBreaker.load(texts[BREAKER]) if BREAKER in texts else CircuitBreaker()
        return bucket, breaker, moment

    def _locked(self, name: str, new: TokenBucket) -> tuple[int, TokenBucket, CircuitBreaker, float]:
        found = rows(_lock_text(), (name,))
        if not found:
            _make(name, new.dump())
            found = rows(_lock_text(), (name,))
        ((bucket, breaker, moment, transaction, _settings),) = found
        return (
            int(transaction),
            TokenBucket.load(bucket),
            CircuitBreaker.load(breaker) if breaker else CircuitBreaker(),
            self._moment(moment),
        )

    def _moment(self, database_now: float) -> float:
        return float(database_now) if self._clock.is_real else self._clock.now()


# SQL text, because every call to ESI waits for this row: a transaction of these two statements took 0.3 ms in this way and
# 1.2 ms when Peewee built them, 0.7 ms of it this process's own work.
_LOCK = (
    "SELECT account, (SELECT account FROM esi_bucket WHERE name = '{breaker}'), {epoch}, {transaction}, {settings} "
    "FROM esi_bucket WHERE name = %s {lock}"
)
_POSTGRES_LOCK = _LOCK.format(
    breaker=BREAKER,
    epoch="extract(epoch FROM clock_timestamp())::float8",
    transaction="txid_current()",
    # They hold for this transaction, and so through a pooler too: a crash may lose the last reservations, and a host that
    # died while it held the row holds it for ten seconds.
    settings="set_config('synchronous_commit', 'off', true) || "
    "set_config('idle_in_transaction_session_timeout', '10s', true)",
    lock="FOR UPDATE",
)
_SQLITE_LOCK = _LOCK.format(
    breaker=BREAKER, epoch="(julianday('now') - 2440587.5) * 86400.0", transaction="0", settings="''", lock=""
)


def _reading(name: Any) -> Any:
    columns = EsiBucket.name, EsiBucket.account, now().alias("moment")
    return EsiBucket.select(*columns).where((EsiBucket.name == name) | (EsiBucket.name == BREAKER))


_READ = Prepared(_reading, lists=0, values=1)


def _seconds(moment: datetime | str) -> float:
    """The database's moment as seconds since the epoch."""
    found = from_any(moment)
    assert found is not None
    return found.timestamp()


def _lock_text() -> str:
    return either(postgres=_POSTGRES_LOCK, sqlite=_SQLITE_LOCK)


def _write(name: str, text: str) -> None:
    run(f"UPDATE esi_bucket SET account = %s, updated_at = {sql_now()} WHERE name = %s", (text, name))


def _make(name: str, text: str) -> None:
    EsiBucket.insert(name=name, account=text, updated_at=now()).on_conflict_ignore().execute()
