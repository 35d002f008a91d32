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
            return self._take(lane)

    def exchange(self, lane: Lane, new: Lane) -> bool:
        """Take a slot for *new* in place of the one held for *lane*; false, and nothing is changed, when there is none."""
        with self._lock:
            self._give_back(lane)
            if self._take(new):
                return True
            self._take(lane)
            return False

    def full_accounts(self, but: Lane) -> list[int]:
        """The accounts that would have all of their slots if the one of *but* were given back."""
        with self._lock:
            taken = Counter(self._of_account)
            taken[but.account_id] -= 1
            return [account for account, slots in taken.items() if account is not None and slots >= ACCOUNT_SLOTS]

    def release(self, lane: Lane = Lane()) -> None:
        """Give a slot back."""
        with self._lock:
            self._give_back(lane)

    def _take(self, lane: Lane) -> bool:
        is_account_full = lane.account_id is not None and self._of_account[lane.account_id] >= ACCOUNT_SLOTS
        is_lane_full = lane.is_slow and self._slow >= SLOW_SLOTS
        if self._taken >= SLOTS or is_account_full or is_lane_full:
            return False
        self._taken += 1
        self._slow += lane.is_slow
        self._of_account[lane.account_id] += 1
        return True

    def _give_back(self, lane: Lane) -> None:
        if self._taken <= 0:
            raise ValueError("no slot is taken")
        self._taken -= 1
        self._slow -= lane.is_slow
        self._of_account[lane.account_id] -= 1
        if self._of_account[lane.account_id] <= 0:
            del self._of_account[lane.account_id]
