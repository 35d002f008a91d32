"""ESI's two ways of limiting: token buckets with a floating window, and the error limit of routes without one."""

from __future__ import annotations

import math
from collections import defaultdict, deque
from dataclasses import dataclass, field

COSTS = {2: 2, 3: 1, 4: 5, 5: 0}
WINDOW = 900.0
LIMITS = {"char-killmail": 30, "corp-killmail": 30, "killmail": 3600, "status": 600}
ERRORS_A_MINUTE = 100


@dataclass
class Bucket:
    """One floating window: each spend counts for a whole window."""

    limit: int
    spends: deque[tuple[float, int]] = field(default_factory=deque)
    total: int = 0
    in_window: int = 0

    def used(self, now: float) -> int:
        while self.spends and self.spends[0][0] + WINDOW <= now:
            self.in_window -= self.spends.popleft()[1]
        return self.in_window

    def is_empty(self, now: float) -> bool:
        return self.used(now) >= self.limit

    def retry_after(self, now: float) -> int:
        """Whole seconds until something comes back."""
        return max(1, math.ceil(self.spends[0][0] + WINDOW - now)) if self.spends else 1

    def spend(self, now: float, tokens: int) -> None:
        if tokens:
            self.spends.append((now, tokens))
            self.in_window += tokens
            self.total += tokens


@dataclass
class ErrorWindow:
    """A minute in which 100 errors may happen."""

    ends: float = 0.0
    errors: int = 0

    def at(self, now: float) -> ErrorWindow:
        if now >= self.ends:
            self.ends, self.errors = now + 60.0, 0
        return self

    @property
    def left(self) -> int:
        return max(0, ERRORS_A_MINUTE - self.errors)


@dataclass
class Limits:
    """All buckets and error windows, by whose they are."""

    is_enforced: bool
    buckets: dict[tuple[str, str], Bucket] = field(default_factory=dict)
    errors: dict[str, ErrorWindow] = field(default_factory=lambda: defaultdict(ErrorWindow))

    def bucket(self, group: str, subject: str) -> Bucket:
        key = (group, subject)
        if key not in self.buckets:
            # Switched off, the limits are so high that nobody meets them, and the headers say so.
            self.buckets[key] = Bucket(LIMITS[group] * (1 if self.is_enforced else 10_000))
        return self.buckets[key]


def cost(status: int) -> int:
    """Tokens that a response costs."""
    return 0 if status == 429 else COSTS.get(status // 100, 0)
