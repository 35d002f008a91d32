"""A list as long as this worker has its lease: what a sync changes, it changes in a transaction that has made sure of that.

A worker that was taken over, stopped for minutes or cut off from the broker, finds out here and leaves everything as it is.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NoReturn, TypeVar

from dramatiq.errors import Retry

from killsync.broker.running import RunningMessage
from killsync.sync import lists
from killsync.sync.lists import Copy, LeaseAttempt, LeasedList
from models.exactly_once import in_transaction_once

T = TypeVar("T")

#: A list is held this long without a sign of life, seconds: longer than one call to ESI or the SSO can take.
LEASE_SECONDS = 150.0
#: A lease that was renewed this long ago is renewed before the next call of the same page, seconds.
RENEW_SECONDS = 20.0
#: The option of a message: the marks by which the list may know it, be it that it waits or that its worker had the list last.
#: They are several where the database went away in between, and nobody knows whether it has kept the last one.
_MARKS = "list_waits"


def lease_list(user_id: int, kind: str, subject_id: int, message: RunningMessage) -> LeaseAttempt:
    """Take the list for the sync that *message* asked for, to be read by the token of *user_id*.

    The message carries the holder's mark from then on: when it is sent back because the database went away, with the list not
    given back, or with nothing kept of its being taken, it goes on with it.
    """
    known = _marks(message)
    holder = lists.new_mark(message.id)
    message.options[_MARKS] = [*known, holder]
    asked = Copy(message.id, known, message.redelivered, holder)
    attempt = lists.lease(user_id, kind, subject_id, asked, LEASE_SECONDS)
    if attempt.leased is None:
        message.options[_MARKS] = [*known]
    return attempt


def _marks(message: RunningMessage) -> tuple[str, ...]:
    marks = message.options.get(_MARKS) or ()
    return (marks,) if isinstance(marks, str) else tuple(marks)


def retry_delay(held_seconds: float, tries: int) -> float:
    """When a message comes back whose list another worker holds: soon at first, since most syncs take a second or two.

    Args:
        held_seconds: how long the other worker's lease runs on.
        tries: how often the message has come back already.
    """
    return min(held_seconds, 2.0 ** min(tries, 3))


def retry_when_free(attempt: LeaseAttempt, message: RunningMessage) -> NoReturn:
    """Send the message back, since another worker holds its list.

    Raises:
        Retry: always.
    """
    raise Retry(delay=int(1000 * retry_delay(attempt.held_seconds, message.tries)))


class TakenOver(Exception):
    """Another worker reads this list now, and goes on where this one stands; or the account was deleted."""


class HeldList:
    """A list that was leased for *message*, until another worker takes it over."""

    def __init__(self, leased: LeasedList, message: RunningMessage) -> None:
        #: The list as it stands now.
        self.leased = leased
        self._message = message
        self._renewed_at = time.monotonic()
        message.options[_MARKS] = [leased.holder]

    def change(self, work: Callable[[], T]) -> T:
        """Run *work* in one transaction in which this worker has the list, and the user is there, from first to last.

        Raises:
            TakenOver: another worker has the list, or the account was deleted; nothing was changed.
        """

        def held() -> T:
            # First, since it locks the list: whoever has lost it leaves everything as it is.
            if not lists.renew(self.leased, LEASE_SECONDS):
                raise TakenOver
            return work()

        result = in_transaction_once(held)
        self._renewed_at = time.monotonic()
        return result

    def wait(self, work: Callable[[], None]) -> None:
        """As `change`, and the list is from then on for the copy of its message that the caller sends back to wait.

        Raises:
            TakenOver: another worker has it, by the same message, which must not exist twice.
        """
        mark = lists.new_mark(self._message.id)
        self._message.options[_MARKS] = [self.leased.holder, mark]

        def then_wait() -> None:
            work()
            lists.wait(self.leased, mark)

        self.change(then_wait)
        self._message.options[_MARKS] = [mark]

    def keep(self) -> None:
        """Renew the lease between the calls of a page that takes several, if it was not a moment ago.

        Raises:
            TakenOver: it is too late for that.
        """
        if time.monotonic() - self._renewed_at > RENEW_SECONDS:
            self.change(lambda: None)
