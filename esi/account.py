"""The arithmetic of one ESI token bucket: a floating window in which each token comes back one window after it was spent.

Pure: no clock, no database. Spends are kept by slice of the window and count until the end of their slice is a whole
window old, so the account never believes in a token that ESI does not have yet.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field

#: Slices a window is kept in. More slices waste less of the budget (at most one slice of it) and cost more bytes.
SLICES = 90
#: How far a paced backlog may catch up after a pause, seconds: work comes in batches, not evenly.
PACE_SLACK = 30.0
#: Buckets smaller than this are not paced: a person waits for the walk behind them.
PACED_FROM = 100


@dataclass
class Account:
    """What is known of a bucket.

    Attributes:
        limit: tokens in one window.
        window: its length, seconds.
        spent: tokens spent, by slice number (epoch seconds // slice length).
        blocked_until: epoch seconds before which ESI wants no call of this bucket (after a 429).
        pace_at: epoch seconds at which a paced backlog may go on.
    """

    limit: int
    window: float
    spent: dict[int, int] = field(default_factory=dict)
    blocked_until: float = 0.0
    pace_at: float = 0.0

    @property
    def slice_length(self) -> float:
        return self.window / SLICES

    def slice_of(self, now: float) -> int:
        return math.floor(now / self.slice_length)

    def used(self, now: float) -> int:
        """Tokens spent and not back yet at *now*."""
        self._forget(now)
        return sum(self.spent.values())

    def take(self, now: float, cost: int, *, backlog: bool, reserve: int) -> float:
        """Spend *cost* tokens now if the bucket has them; 0.0 then, else the seconds to wait, with nothing spent.

        Args:
            backlog: history leaves `reserve` tokens to what is fresh, and once half the bucket is used goes on at the
                pace at which tokens come back, so that they come back evenly too.
            reserve: tokens that this call must leave.
        """
        wait = self.wait(now, cost, backlog=backlog, reserve=reserve)
        if wait > 0:
            return wait
        if self._is_paced(now, backlog):
            self.pace_at = max(self.pace_at, now - PACE_SLACK) + cost * self.window / self.limit
        number = self.slice_of(now)
        self.spent[number] = self.spent.get(number, 0) + cost
        return 0.0

    def wait(self, now: float, cost: int, *, backlog: bool, reserve: int) -> float:
        """Seconds until *cost* tokens could be spent if nobody else spent any; 0.0 for now."""
        if now < self.blocked_until:
            return self.blocked_until - now
        used = self.used(now)
        excess = used + cost - max(cost, self.limit - reserve)
        if excess > 0:
            for number in sorted(self.spent):
                excess -= self.spent[number]
                if excess <= 0:
                    return max(0.001, self._back_at(number) - now)
        if self._is_paced(now, backlog) and now < self.pace_at:
            return self.pace_at - now
        return 0.0

    def calls(self, now: float, cost: int, *, backlog: bool, reserve: int) -> int:
        """How many calls of *cost* tokens could leave now."""
        if now < self.blocked_until:
            return 0
        room = max(0, self.limit - reserve - self.used(now)) // cost
        if not self._is_paced(now, backlog):
            return room
        if now < self.pace_at:
            return 0
        apart = cost * self.window / self.limit
        return min(room, 1 + int((now - max(self.pace_at, now - PACE_SLACK)) / apart))

    def settle(self, reserved_at: float, reserved: int, now: float, actual: int) -> None:
        """Replace a reservation by what the call really cost, spent when ESI counted it: now."""
        number = self.slice_of(reserved_at)
        if number in self.spent:
            self.spent[number] = max(0, self.spent[number] - reserved)
            if not self.spent[number]:
                del self.spent[number]
        if actual > 0:
            here = self.slice_of(now)
            self.spent[here] = self.spent.get(here, 0) + actual

    def adopt(self, now: float, remaining: int) -> int:
        """ESI says that *remaining* tokens are left; if that is fewer than we think, believe it. Tokens added."""
        unknown = (self.limit - remaining) - self.used(now)
        if unknown <= 0:
            return 0
        here = self.slice_of(now)
        self.spent[here] = self.spent.get(here, 0) + unknown
        return unknown

    def resize(self, now: float, limit: int, window: float) -> None:
        """ESI names another limit or window; what was spent is spent all the same."""
        if window != self.window:
            used = self.used(now)
            self.window = window
            self.spent = {self.slice_of(now): used} if used else {}
        self.limit = limit

    def block(self, until: float) -> None:
        """No call before *until*; an earlier, longer block stays."""
        self.blocked_until = max(self.blocked_until, until)

    def dump(self) -> str:
        """The account as JSON."""
        return json.dumps(
            {
                "limit": self.limit,
                "window": self.window,
                "spent": sorted(self.spent.items()),
                "blocked_until": self.blocked_until,
                "pace_at": self.pace_at,
            },
            separators=(",", ":"),
        )

    @classmethod
    def load(cls, text: str) -> Account:
        """The account that `dump` wrote."""
        data = json.loads(text)
        return cls(
            data["limit"], data["window"], dict(map(tuple, data["spent"])), data["blocked_until"], data["pace_at"]
        )

    def _is_paced(self, now: float, backlog: bool) -> bool:
        return backlog and self.limit >= PACED_FROM and self.used(now) * 2 >= self.limit

    def _back_at(self, number: int) -> float:
        return (number + 1) * self.slice_length + self.window

    def _forget(self, now: float) -> None:
        for number in [number for number in self.spent if self._back_at(number) <= now]:
            del self.spent[number]


#: Errors left in ESI's minute below which calls are spaced, and below which they stop.
SLOW_BELOW, STOP_BELOW = 30, 10
#: Failures in a row, over all processes, after which everything waits a little: ESI is down, not one killmail.
TRIPPED_AT = 10


@dataclass
class Gate:
    """What holds for every route: the error limit of the routes without a bucket, and whether ESI is down.

    Attributes:
        blocked_until: epoch seconds before which nothing at all is sent.
        errors_left, errors_reset: ESI's error limit as last heard, and when it starts anew (epoch seconds).
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

    def heard(self, now: float, left: int, reset_in: float) -> None:
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
        """The gate as JSON."""
        return json.dumps(self.__dict__, separators=(",", ":"))

    @classmethod
    def load(cls, text: str) -> Gate:
        """The gate that `dump` wrote."""
        return cls(**json.loads(text))
