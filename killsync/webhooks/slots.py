"""The deliveries under way in one process: few, shared between accounts, with a lane of their own for slow receivers.

So slow receivers never take the threads that fetch killmails, and one account's receivers never keep another's waiting.
"""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass

#: Deliveries under way in one process: in all, of one account, and to receivers that were slow the last time.
SLOTS = 3
ACCOUNT_SLOTS = 2
SLOW_SLOTS = 1


@dataclass(frozen=True)
class Lane:
    """What a delivery takes a slot for."""

    account_id: int | None = None
    is_slow: bool = False


class Slots:
    """The slots of one process. Taking one never waits."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken = self._slow = 0
        self._of_account: Counter[int | None] = Counter()

    def acquire(self, lane: Lane = Lane(), *, blocking: bool = False) -> bool:
        """Take a slot, when there is one for this lane and account; *blocking* is never done."""
        assert not blocking
        with self._lock:
            is_account_full = lane.account_id is not None and self._of_account[lane.account_id] >= ACCOUNT_SLOTS
            is_lane_full = lane.is_slow and self._slow >= SLOW_SLOTS
            if self._taken >= SLOTS or is_account_full or is_lane_full:
                return False
            self._taken += 1
            self._slow += lane.is_slow
            self._of_account[lane.account_id] += 1
            return True

    def release(self, lane: Lane = Lane()) -> None:
        """Give a slot back."""
        with self._lock:
            if self._taken <= 0:
                raise ValueError("no slot is taken")
            self._taken -= 1
            self._slow -= lane.is_slow
            self._of_account[lane.account_id] -= 1
            if self._of_account[lane.account_id] <= 0:
                del self._of_account[lane.account_id]
