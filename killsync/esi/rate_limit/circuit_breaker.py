"""What holds for every route of ESI: the error limit of the routes without a bucket, and a circuit breaker for when ESI is down.

Pure: no clock, no database.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields

#: Errors left in ESI's minute below which calls are spaced, and below which they stop.
SLOW_BELOW, STOP_BELOW = 30, 10
#: Failures in a row, over all processes, after which everything waits a little: ESI is down, not one killmail.
TRIPPED_AT = 10


@dataclass
class CircuitBreaker:
    """What holds for every route: the error limit of the routes without a bucket, and whether ESI is down.

    Attributes:
        blocked_until: epoch seconds before which nothing at all is sent.
        errors_left, errors_reset: ESI's error limit as last answered, and when it starts anew (epoch seconds).
        next_at: epoch seconds before which no call on a route without a bucket is sent.
        failures: failures in a row (5xx, time-outs), over all processes; those during a pause count once.
        tripped_until: epoch seconds before which nothing is sent because of them.
    """

    blocked_until: float = 0.0
    errors_left: int = 100
    errors_reset: float = 0.0
    next_at: float = 0.0
    failures: int = 0
    tripped_until: float = 0.0

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

    def failed(self, now: float) -> float:
        """Count a failure; the seconds that everything now waits, 0.0 for none."""
        if now < self.tripped_until:
            # It left before the pause began, so it says no more than those that brought the pause.
            return self.tripped_until - now
        self.failures += 1
        over = self.failures - TRIPPED_AT
        if over < 0:
            return 0.0
        pause = min(60.0, 5.0 * 2.0 ** min(over, 4))
        self.tripped_until = now + pause
        return pause

    def succeeded(self) -> None:
        """A call got through: there are no failures in a row any more, and nothing to wait for because of them."""
        self.failures, self.tripped_until = 0, 0.0

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
        return cls(**{name: value for name, value in json.loads(text).items() if name in known})
