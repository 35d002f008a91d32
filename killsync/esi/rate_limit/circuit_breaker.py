"""What holds for every route of ESI: the error limit of the routes without a bucket, and a circuit breaker for when ESI is down.

Pure: no clock, no database.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, fields

#: Errors left in ESI's minute below which calls are spaced, and below which they stop.
SLOW_BELOW, STOP_BELOW = 30, 10
#: Resources that failed in a row, over all processes, after which everything waits a little: ESI is down, not one killmail.
TRIPPED_AT = 10
#: Resources that failed lately and are remembered by name: those that failed most often, then the newest.
MOST_SUSPECTS = 32
#: A resource in trouble alone is left alone for 5 s a few times, then twice as long each time, up to this, seconds.
LONGEST_PAUSE = 6 * 3600.0
FIRST_PAUSE, SHORT_PAUSES = 5.0, 3
#: One that has not failed for so much longer than its pause was answered meanwhile, seconds.
FORGIVEN_AFTER = 900.0
#: Where others fail too and nothing is answered, ESI may be down: after so many failures in a row each further one counts a
#: tenth, so that the wait for a killmail stays below a tenth of what the outage has lasted.
COUNTED_IN_COMPANY, SHARE_IN_COMPANY = 6, 0.1


@dataclass(frozen=True)
class Failure:
    """What a failure means.

    Attributes:
        pause: seconds that the same call waits, and everything else too unless this resource alone is in trouble.
        alone: it failed before, and others were answered since.
        is_only: nothing else is known to fail, though nothing else may have been asked.
        own_pause: seconds that this resource is left alone where nobody waits for it in person, by all its failures in a row,
            whatever else was asked; 0 while ESI as a whole counts as down.
    """

    pause: float
    alone: bool = False
    is_only: bool = False
    own_pause: float = 0.0


def pause_of(failures: float) -> float:
    """Seconds that a resource is left alone after so many failures of its own in a row."""
    return min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(max(0, failures - SHORT_PAUSES), 20))


@dataclass
class CircuitBreaker:
    """What holds for every route: the error limit of the routes without a bucket, and whether ESI is down.

    Attributes:
        blocked_until: epoch seconds before which nothing at all is sent.
        errors_left, errors_reset: ESI's error limit as last answered, and when it starts anew (epoch seconds).
        next_at: epoch seconds before which no call on a route without a bucket is sent.
        failures: resources that failed in a row (5xx, time-outs), over all processes: one that fails again says nothing
            new, and those during a pause count once.
        tripped_until: epoch seconds before which nothing is sent because of them.
        suspects: of resources that failed, by the hash of their path: epoch seconds of the last failure, and how many in a
            row were their own, since others were answered in between.
        tries: of the same resources: how many failures in a row count against each, whatever was asked in between.
        succeeded_at: epoch seconds of the last call that got through after a failure.
        is_unsure: a failure happened and no call is known to have got through since.
    """

    blocked_until: float = 0.0
    errors_left: int = 100
    errors_reset: float = 0.0
    next_at: float = 0.0
    failures: int = 0
    tripped_until: float = 0.0
    suspects: dict[str, tuple[float, int]] = field(default_factory=dict)
    tries: dict[str, float] = field(default_factory=dict)
    succeeded_at: float = 0.0
    is_unsure: bool = False

    def wait(self, now: float) -> float:
        """Seconds until any call may be sent."""
        return max(0.0, self.blocked_until - now, self.tripped_until - now)

    def take(self, now: float) -> float:
        """Whether a call on a route without a bucket may be sent now: 0.0, or the seconds to wait."""
        if wait := self.wait(now):
            return wait
        if now >= self.errors_reset or self.errors_left >= SLOW_BELOW:
            return 0.0
        if self.errors_left < STOP_BELOW:
            return self.errors_reset - now
        if now < self.next_at:
            return self.next_at - now
        self.next_at = now + 1.0
        return 0.0

    def record_errors(self, now: float, left: int, reset_in: float) -> None:
        """Take in ESI's error-limit headers. Answers overtake each other: within a minute the lowest count holds."""
        reset = now + reset_in
        same_minute = abs(reset - self.errors_reset) < 5.0
        self.errors_left = min(left, self.errors_left) if same_minute else left
        self.errors_reset = reset

    def failed(self, now: float, resource: str) -> Failure:
        """Take in a failure of *resource*.

        A resource that fails again although others were answered since is in trouble alone: ESI can answer 500 for one
        killmail for ever, and that says nothing of the others.
        """
        name = hashlib.sha256(resource.encode()).hexdigest()[:12]
        failed_at, own = self.suspects.get(name, (0.0, 0))
        if self._is_forgiven(name, now):
            failed_at, own = 0.0, 0
            self.tries.pop(name, None)
        is_alone = 0.0 < failed_at < self.succeeded_at and now >= self.tripped_until
        own += is_alone
        is_late = now < self.tripped_until
        if not is_alone and not is_late and (not failed_at or not 0 < self.failures < TRIPPED_AT):
            self.failures += 1
        is_down = is_late or self.failures >= TRIPPED_AT
        is_only = is_alone or self.failures == 1
        self.suspects[name] = now, own
        if is_alone or not is_down:
            tries = self.tries.get(name, 0.0)
            tries += 1.0 if is_only or tries < COUNTED_IN_COMPANY else SHARE_IN_COMPANY
            self.tries[name] = round(tries, 1)
        own_pause = pause_of(max(own, self.tries.get(name, 0.0)))
        self._forget(now)
        self.is_unsure = True
        if is_alone:
            return Failure(pause_of(own), alone=True, is_only=True, own_pause=own_pause)
        if is_late:
            # It left before the pause began, so it says no more than those that brought the pause.
            return Failure(self.tripped_until - now)
        if not is_down:
            return Failure(0.0, is_only=is_only, own_pause=own_pause)
        pause = min(60.0, 5.0 * 2.0 ** min(self.failures - TRIPPED_AT, 4))
        self.tripped_until = now + pause
        return Failure(pause)

    def _is_forgiven(self, name: str, now: float) -> bool:
        failed_at, own = self.suspects.get(name, (0.0, 0))
        return now - failed_at > pause_of(max(own, self.tries.get(name, 0.0))) * 2 + FORGIVEN_AFTER

    def _forget(self, now: float) -> None:
        """Keep as many suspects as may be remembered."""
        if len(self.suspects) > MOST_SUSPECTS:

            def weight(name: str) -> tuple[float, ...]:
                return (not self._is_forgiven(name, now), self.tries.get(name, 0.0), *self.suspects[name][::-1])

            del self.suspects[min(self.suspects, key=weight)]
        self.tries = {name: tries for name, tries in self.tries.items() if name in self.suspects}

    def succeeded(self, now: float) -> None:
        """A call got through: there are no failures in a row any more, and nothing to wait for because of them."""
        self.failures, self.tripped_until, self.is_unsure, self.succeeded_at = 0, 0.0, False, now

    def block(self, until: float) -> None:
        """Nothing is sent before *until*."""
        self.blocked_until = max(self.blocked_until, until)

    def dump(self) -> str:
        """The breaker as JSON."""
        return json.dumps(self.__dict__, separators=(",", ":"))

    @classmethod
    def load(cls, text: str) -> CircuitBreaker:
        """The breaker that `dump` wrote, in this version or another: fields that are unknown here are passed over."""
        known = {each.name for each in fields(cls)}
        breaker = cls(**{name: value for name, value in json.loads(text).items() if name in known})
        breaker.suspects = {name: (at, own) for name, (at, own) in breaker.suspects.items()}
        return breaker
