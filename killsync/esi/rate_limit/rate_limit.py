"""ESI's rate limit, shared by every thread, process and host through the table `esi_bucket`.

A call reserves its tokens before it goes out; what it really cost is settled after, when that differs. Waiting calls of one
process share a transaction. Nothing here sends a request or sleeps.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from killsync.esi.clock import Clock
from killsync.esi.rate_limit.batches import Batches
from killsync.esi.rate_limit.circuit_breaker import CircuitBreaker, Failure
from killsync.esi.rate_limit.store import BucketStore, BucketWork
from killsync.esi.rate_limit.token_bucket import SLICES, TokenBucket

T = TypeVar("T")


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

    @property
    def is_of_address(self) -> bool:
        """Whether all who call from one address share it, and not the user of one token."""
        return self.subject.startswith("ip:")

    def new(self) -> TokenBucket:
        """The bucket with nothing spent."""
        return TokenBucket(self.limit, self.window)


@dataclass(frozen=True)
class Reservation:
    """Tokens that one call may spend.

    Attributes:
        at, local: when it was made, seconds since the epoch, by the database's clock and by this host's.
        failures: of all processes, in a row, as the circuit breaker counted them then; 1 at least while it waits to
            hear of the next call that gets through.
        used: tokens of the bucket that were spent or reserved then, these among them.
        limit: tokens and seconds of the bucket's window, as known then.
    """

    bucket: Bucket
    at: float
    tokens: int
    failures: int
    used: int
    limit: tuple[int, float]
    local: float


@dataclass(frozen=True)
class Unbucketed:
    """A call on a route without a bucket may leave; `failures` are those in a row over all processes."""

    failures: int


@dataclass(frozen=True)
class Wait:
    """No call may leave now; one may in this many seconds."""

    seconds: float


@dataclass(frozen=True)
class Granted:
    """The calls that may leave now, and the seconds that the others wait."""

    reservations: list[Reservation]
    wait: float


@dataclass(frozen=True)
class Room:
    """How many calls could leave now: fresh ones and those of a backlog; and seconds until the next of a backlog could."""

    fresh: int
    backlog: int
    wait: float


class RateLimit:
    """The rate limit as one process sees it.

    Args:
        reserve_percent: share of a bucket that a backlog leaves to fresh calls.
    """

    def __init__(self, reserve_percent: int, clock: Clock | None = None) -> None:
        self._reserve_percent = reserve_percent
        self._clock = clock or Clock()
        self._store = BucketStore(self._clock)
        self._batches: dict[str, Batches[BucketWork]] = {}
        self._last_used: dict[str, int] = {}
        self._lock = threading.Lock()

    def reserve_of(self, bucket: Bucket, *, backlog: bool) -> int:
        """Tokens of *bucket* that a call must leave: for fresh calls and polls, or a last margin against a 429."""
        margin = bucket.limit // 900
        if not backlog:
            return margin
        # At least one look at page 1 of a list. More of its 15 pages would cost a long first walk another quarter of an hour.
        return max(bucket.limit * self._reserve_percent // 100, margin + min(2, bucket.limit // 5))

    def take(self, bucket: Bucket, tokens: int, *, backlog: bool) -> Reservation | Wait:
        """Reserve *tokens* for one call."""
        granted = self.take_some(bucket, tokens, 1, backlog=backlog)
        return granted.reservations[0] if granted.reservations else Wait(granted.wait)

    def take_some(self, bucket: Bucket, tokens: int, calls: int, *, backlog: bool) -> Granted:
        """Reserve *tokens* for each of as many of *calls* as may leave now."""

        def work(known: TokenBucket, breaker: CircuitBreaker, now: float) -> Granted:
            reserved: list[Reservation] = []
            wait = breaker.wait(now)
            reserve = self._reserve_in(known, bucket, backlog)
            while not wait and len(reserved) < calls:
                wait = known.take(now, tokens, backlog=backlog, reserve=reserve)
                if not wait:
                    limit, local = (known.limit, known.window), self._clock.now()
                    failures = breaker.failures or int(breaker.is_unsure)
                    reserved.append(Reservation(bucket, now, tokens, failures, known.used(now), limit, local))
            return Granted(reserved, wait)

        granted = self._change(bucket, work)
        if granted.reservations and bucket.is_of_address:
            self._last_used[bucket.name] = granted.reservations[-1].used
        return granted

    def settle(
        self, taken: Reservation, actual: int, *, limit: tuple[int, float] | None, remaining: int | None
    ) -> None:
        """Enter what a call cost and what ESI's headers say. Writes nothing when both are what was expected."""

        def work(known: TokenBucket, _breaker: CircuitBreaker, now: float) -> int:
            if limit is not None and limit != (known.limit, known.window):
                known.resize(now, *limit)
            known.settle(taken.at, taken.tokens, now, actual)
            if remaining is not None:
                known.adopt(now, remaining)
            return known.used(now)

        if actual == taken.tokens and self._is_as_expected(taken, limit, remaining):
            return
        used = self._change(taken.bucket, work)
        if taken.bucket.is_of_address:
            # What other processes have reserved since is no news to the calls that were sent with this one.
            self._last_used[taken.bucket.name] = used

    def block(self, bucket: Bucket, seconds: float) -> None:
        """ESI said 429: no call of *bucket* before *seconds* have passed, from any process."""
        self._change(bucket, lambda known, _breaker, now: known.block(now + seconds))

    def room(self, bucket: Bucket, tokens: int) -> Room:
        """How many calls of *tokens* could leave now, and when the next one of a backlog could."""
        known, breaker, now = self._store.read(bucket.name, bucket.new())
        fresh, backlog = (self._reserve_in(known, bucket, is_backlog) for is_backlog in (False, True))
        closed = breaker.wait(now)
        return Room(
            fresh=0 if closed else known.calls(now, tokens, backlog=False, reserve=fresh),
            backlog=0 if closed else known.calls(now, tokens, backlog=True, reserve=backlog),
            wait=max(closed, known.wait(now, tokens, backlog=True, reserve=backlog)),
        )

    def take_unbucketed(self) -> Unbucketed | Wait:
        """May a call on a route without a bucket be sent?"""

        def work(breaker: CircuitBreaker, now: float) -> Unbucketed | Wait:
            wait = breaker.take(now)
            return Wait(wait) if wait else Unbucketed(breaker.failures or int(breaker.is_unsure))

        return self._store.change_breaker(work)

    def record_errors(self, left: int, reset_in: float) -> None:
        """Take in the error-limit headers of a route without a bucket."""
        self._store.change_breaker(lambda breaker, now: breaker.record_errors(now, left, reset_in))

    def block_all(self, seconds: float) -> None:
        """ESI said 420: nothing is sent before *seconds* have passed, from any process."""
        self._store.change_breaker(lambda breaker, now: breaker.block(now + seconds))

    def failed(self, resource: str) -> Failure:
        """A call for *resource* failed by no fault of its own; what that means."""
        return self._store.change_breaker(lambda breaker, now: breaker.failed(now, resource))

    def succeeded(self) -> None:
        """A call got through: there are no failures in a row any more."""
        self._store.change_breaker(lambda breaker, now: breaker.succeeded(now))

    def _change(self, bucket: Bucket, work: Callable[[TokenBucket, CircuitBreaker, float], T]) -> T:
        run = partial(self._store.change, bucket.name, bucket.new())
        if not bucket.is_of_address:
            result: T = run([work])[0]
            return result
        with self._lock:
            batches = self._batches.setdefault(bucket.name, Batches(run))
        shared: T = batches.apply(work)
        return shared

    def _reserve_in(self, known: TokenBucket, bucket: Bucket, backlog: bool) -> int:
        return self.reserve_of(Bucket(bucket.group, bucket.subject, known.limit, known.window), backlog=backlog)

    def _is_as_expected(self, taken: Reservation, limit: tuple[int, float] | None, remaining: int | None) -> bool:
        """Whether the reservation may stand as it is: judged from memory, since it is asked after every call."""
        if limit is not None and limit != taken.limit:
            return False
        if self._clock.now() - taken.local > taken.limit[1] / SLICES:
            return False
        known = max(taken.used, self._last_used.get(taken.bucket.name, 0))
        return remaining is None or taken.limit[0] - remaining <= known
