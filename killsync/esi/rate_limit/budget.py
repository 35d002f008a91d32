"""ESI's budget, shared by every thread, process and host through the table `esi_bucket`.

A call reserves its tokens before it goes out; what it really cost is settled after, when that differs. Waiting calls of one
process share a transaction. The clock is the database's: hosts whose clocks differ keep one account.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from killsync.esi import clock
from killsync.esi.rate_limit.circuit_breaker import CircuitBreaker
from killsync.esi.rate_limit.token_bucket import SLICES, TokenBucket
from models.db import connection, in_transaction, is_postgres
from models.fields import to_text, utcnow
from models.sql import insert_rows, rows, run, sql_now

T = TypeVar("T")

GATE = "gate"


@dataclass(frozen=True)
class Bucket:
    """A token bucket of ESI: its group and whose it is; *limit* and *window* hold until ESI's headers say otherwise."""

    group: str
    subject: str
    limit: int
    window: float

    @property
    def name(self) -> str:
        return f"{self.group}|{self.subject}"


@dataclass(frozen=True)
class Taken:
    """A granted reservation."""

    bucket: Bucket
    at: float
    tokens: int
    failures: int
    used: int
    limit: tuple[int, float]
    local: float = field(default_factory=clock.now)


@dataclass(frozen=True)
class Room:
    """How many calls could leave now: fresh ones and those of a backlog; and seconds until the next of a backlog could."""

    fresh: int
    backlog: int
    wait: float


@dataclass
class _Waiting:
    work: Callable[[TokenBucket, CircuitBreaker, float], Any]
    done: threading.Event = field(default_factory=threading.Event)
    leads: bool = False
    result: Any = None
    error: BaseException | None = None


class _Shared:
    """Runs what the threads of this process want of one row in as few transactions as they arrive in.

    The first to come is the leader: it takes all that wait by then into its transaction and hands on to the next.
    """

    def __init__(self, bucket: Bucket) -> None:
        self.bucket = bucket
        self._lock = threading.Lock()
        self._waiting: list[_Waiting] = []
        self._is_led = False

    def apply(self, work: Callable[[TokenBucket, CircuitBreaker, float], T]) -> T:
        mine = _Waiting(work)
        with self._lock:
            self._waiting.append(mine)
            mine.leads = not self._is_led
            self._is_led = True
        if not mine.leads:
            while not mine.done.wait(timeout=0.5):
                pass
        if mine.leads:
            self._lead()
        if mine.error is not None:
            raise mine.error
        result: T = mine.result
        return result

    def _lead(self) -> None:
        with self._lock:
            batch, self._waiting = self._waiting, []
        try:
            results = _apply(self.bucket, [each.work for each in batch])
            for each, result in zip(batch, results, strict=True):
                each.result = result
        except BaseException as error:
            for each in batch:
                each.error = error
        finally:
            with self._lock:
                heir = self._waiting[0] if self._waiting else None
                self._is_led = heir is not None
                if heir is not None:
                    heir.leads = True
            for each in batch:
                each.done.set()
            if heir is not None:
                heir.done.set()


class Budget:
    """The budget as one process sees it.

    Args:
        reserve_percent: share of a bucket that a backlog leaves to fresh calls.
    """

    def __init__(self, reserve_percent: int) -> None:
        self._reserve_percent = reserve_percent
        self._shared: dict[str, _Shared] = {}
        self._last_used: dict[str, int] = {}
        self._lock = threading.Lock()

    def reserve_of(self, bucket: Bucket, *, backlog: bool) -> int:
        """Tokens of *bucket* that a call must leave: for fresh calls and polls, or a last margin against a 429."""
        if not backlog:
            return bucket.limit // 900
        return max(bucket.limit * self._reserve_percent // 100, min(6, bucket.limit // 5))

    def take(self, bucket: Bucket, tokens: int, *, backlog: bool) -> Taken | float:
        """Reserve *tokens*; the reservation, or the seconds to wait."""
        granted, wait = self.take_some(bucket, tokens, 1, backlog=backlog)
        return granted[0] if granted else wait

    def take_some(self, bucket: Bucket, tokens: int, calls: int, *, backlog: bool) -> tuple[list[Taken], float]:
        """Reserve *tokens* for each of as many of *calls* as may leave now; the reservations, and what the rest waits."""

        def work(account: TokenBucket, gate: CircuitBreaker, now: float) -> tuple[list[Taken], float]:
            granted: list[Taken] = []
            wait = gate.wait(now)
            reserve = self._reserve_in(account, bucket, backlog)
            while not wait and len(granted) < calls:
                wait = account.take(now, tokens, backlog=backlog, reserve=reserve)
                if not wait:
                    limit = account.limit, account.window
                    granted.append(Taken(bucket, now, tokens, gate.failures, account.used(now), limit))
            return granted, wait

        granted, wait = self._apply(bucket, work)
        if granted and bucket.subject.startswith("ip:"):
            self._last_used[bucket.name] = granted[-1].used
        return granted, wait

    def settle(self, taken: Taken, actual: int, *, limit: tuple[int, float] | None, remaining: int | None) -> None:
        """Enter what a call cost and what ESI's headers say. Writes nothing when both are what was expected."""

        def work(account: TokenBucket, _gate: CircuitBreaker, now: float) -> None:
            if limit is not None and limit != (account.limit, account.window):
                account.resize(now, *limit)
            account.settle(taken.at, taken.tokens, now, actual)
            if remaining is not None:
                account.adopt(now, remaining)

        if actual == taken.tokens and self._is_as_expected(taken, limit, remaining):
            return
        self._apply(taken.bucket, work)

    def block(self, bucket: Bucket, seconds: float) -> None:
        """ESI said 429: no call of *bucket* before *seconds* have passed, from any process."""
        self._apply(bucket, lambda account, _gate, now: account.block(now + seconds))

    def room(self, bucket: Bucket, tokens: int) -> Room:
        """How many calls of *tokens* could leave now, and when the next one of a backlog could."""
        account, gate, now = _read(bucket)
        fresh, backlog = (self._reserve_in(account, bucket, is_backlog) for is_backlog in (False, True))
        closed = gate.wait(now)
        return Room(
            fresh=0 if closed else account.calls(now, tokens, backlog=False, reserve=fresh),
            backlog=0 if closed else account.calls(now, tokens, backlog=True, reserve=backlog),
            wait=max(closed, account.wait(now, tokens, backlog=True, reserve=backlog)),
        )

    def take_unbucketed(self) -> float | int:
        """May a call on a route without a bucket be sent? Seconds to wait as float, or the failures in a row as int."""
        return _at_gate(lambda gate, now: gate.take(now) or gate.failures)

    def heard_errors(self, left: int, reset_in: float) -> None:
        """Take in the error-limit headers of a route without a bucket."""
        _at_gate(lambda gate, now: gate.heard(now, left, reset_in))

    def block_all(self, seconds: float) -> None:
        """ESI said 420: nothing is sent before *seconds* have passed, from any process."""
        _at_gate(lambda gate, now: gate.block(now + seconds))

    def failed(self) -> float:
        """A call failed by no fault of its own; the seconds that everything now waits."""
        return _at_gate(lambda gate, now: gate.failed(now))

    def succeeded(self) -> None:
        """A call got through: there are no failures in a row any more."""
        _at_gate(lambda gate, now: gate.succeeded())

    def _apply(self, bucket: Bucket, work: Callable[[TokenBucket, CircuitBreaker, float], T]) -> T:
        if not bucket.subject.startswith("ip:"):
            result: T = _apply(bucket, [work])[0]
            return result
        with self._lock:
            shared = self._shared.setdefault(bucket.name, _Shared(bucket))
        return shared.apply(work)

    def _reserve_in(self, account: TokenBucket, bucket: Bucket, backlog: bool) -> int:
        return self.reserve_of(Bucket(bucket.group, bucket.subject, account.limit, account.window), backlog=backlog)

    def _is_as_expected(self, taken: Taken, limit: tuple[int, float] | None, remaining: int | None) -> bool:
        """Whether the reservation may stand as it is: judged from memory, since it is asked after every call."""
        if limit is not None and limit != taken.limit:
            return False
        if clock.now() - taken.local > taken.limit[1] / SLICES:
            return False
        known = max(taken.used, self._last_used.get(taken.bucket.name, 0))
        return remaining is None or taken.limit[0] - remaining <= known


def _is_real_time() -> bool:
    return clock.source is time.time


_EPOCH = "extract(epoch FROM clock_timestamp())::float8"


def _select(lock: bool) -> str:
    if is_postgres():
        quick = "set_config('synchronous_commit', 'off', true)" if lock else "''"
        tail = "FOR UPDATE OF b" if lock else ""
        return (
            f"SELECT b.account, (SELECT account FROM esi_bucket WHERE name = '{GATE}'), {_EPOCH}, {quick} "
            f"FROM esi_bucket b WHERE b.name = %s {tail}"
        )
    return (
        f"SELECT account, (SELECT account FROM esi_bucket WHERE name = '{GATE}'), 0, '' FROM esi_bucket WHERE name = %s"
    )


def _found(bucket: Bucket, lock: bool) -> tuple[TokenBucket, CircuitBreaker, float]:
    found = rows(_select(lock), (bucket.name,))
    if not found:
        _make(bucket.name, TokenBucket(bucket.limit, bucket.window).dump())
        found = rows(_select(lock), (bucket.name,))
    text, gate, database_now, _ = found[0]
    now = float(database_now) if is_postgres() and _is_real_time() else clock.now()
    return TokenBucket.load(text), CircuitBreaker.load(gate) if gate else CircuitBreaker(), now


def _make(name: str, text: str) -> None:
    insert_rows(
        "esi_bucket", ("name", "account", "updated_at"), [(name, text, to_text(utcnow()))], "ON CONFLICT DO NOTHING"
    )


def _read(bucket: Bucket) -> tuple[TokenBucket, CircuitBreaker, float]:
    with connection():
        found = rows(_select(lock=False), (bucket.name,))
        if not found:
            return TokenBucket(bucket.limit, bucket.window), CircuitBreaker(), clock.now()
        text, gate, database_now, _ = found[0]
        now = float(database_now) if is_postgres() and _is_real_time() else clock.now()
        return TokenBucket.load(text), CircuitBreaker.load(gate) if gate else CircuitBreaker(), now


def _apply(bucket: Bucket, works: list[Callable[[TokenBucket, CircuitBreaker, float], Any]]) -> list[Any]:
    def work() -> list[Any]:
        account, gate, now = _found(bucket, lock=True)
        before = account.dump()
        results = [each(account, gate, now) for each in works]
        after = account.dump()
        if after != before:
            _store(bucket.name, after)
        return results

    with connection():
        return in_transaction(work)


def _at_gate(work: Callable[[CircuitBreaker, float], T]) -> T:
    def locked() -> T:
        tail = "FOR UPDATE" if is_postgres() else ""
        now_sql = _EPOCH if is_postgres() else "0"
        sql = f"SELECT account, {now_sql} FROM esi_bucket WHERE name = %s {tail}"
        found = rows(sql, (GATE,))
        if not found:
            _make(GATE, CircuitBreaker().dump())
            found = rows(sql, (GATE,))
        gate = CircuitBreaker.load(found[0][0])
        before = gate.dump()
        result = work(gate, float(found[0][1]) if is_postgres() and _is_real_time() else clock.now())
        if gate.dump() != before:
            _store(GATE, gate.dump())
        return result

    with connection():
        return in_transaction(locked)


def _store(name: str, text: str) -> None:
    run(f"UPDATE esi_bucket SET account = %s, updated_at = {sql_now()} WHERE name = %s", (text, name))
