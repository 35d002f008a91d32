"""The arithmetic of one ESI token bucket: a floating window in which each token comes back one window after it was spent.

Pure: no clock, no database. Spends are kept by slice of the window and count until the end of their slice is a whole
window old, so the bucket never believes in a token that ESI does not have yet.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field

#: Slices a window is kept in. More slices waste less of the tokens (at most one slice of it) and cost more bytes.
SLICES = 90
#: How far a paced backlog may catch up after a pause, seconds: work comes in batches, not evenly.
PACE_SLACK = 30.0
#: Buckets smaller than this are not paced: a person waits for the sync behind them.
PACED_FROM = 100


@dataclass
class TokenBucket:
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
        """The bucket as JSON."""
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
    def load(cls, text: str) -> TokenBucket:
        """The bucket that `dump` wrote, in this version or another: what it does not name is as in a new bucket."""
        data = json.loads(text)
        return cls(
            data["limit"],
            data["window"],
            dict(map(tuple, data.get("spent", ()))),
            data.get("blocked_until", 0.0),
            data.get("pace_at", 0.0),
        )

    def _is_paced(self, now: float, backlog: bool) -> bool:
        return backlog and self.limit >= PACED_FROM and self.used(now) * 2 >= self.limit

    def _back_at(self, number: int) -> float:
        return (number + 1) * self.slice_length + self.window

    def _forget(self, now: float) -> None:
        for number in [number for number in self.spent if self._back_at(number) <= now]:
            del self.spent[number]
