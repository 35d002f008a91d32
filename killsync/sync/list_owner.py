"""What the sync of a list needs to know of the list's owner, a character or a corporation. Values only; nothing is done here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from killsync.esi import errors
from killsync.killmails import ledger


@dataclass(frozen=True)
class ListRead:
    """What a sync that read all its pages brought.

    Attributes:
        news: ids new to the list, history not counted.
        page_one_expires: ESI's `Expires` of page 1.
    """

    news: int
    page_one_expires: datetime | None


@dataclass(frozen=True)
class ListOwner:
    """What differs between a character's own list and a corporation's.

    Attributes:
        record: enter a page's (id, hash) pairs for this owner, with the fetch priority of those that are new.
        schedule_next: schedule the next poll after a sync that read its pages.
        hold: nobody else sends a message for the list for so many seconds.
        poll_in: schedule the next poll in so many seconds, after a sync that failed.
        cured_by_refresh: errors that a fresh token may cure, since a token may be revoked before its time.
        on_forbidden: what a 403 means, where it may be an answer rather than a fault: notes it, schedules what follows,
            gives the reason the run fails.
    """

    record: Callable[[list[tuple[int, str]], int], ledger.Recorded]
    schedule_next: Callable[[ListRead], None]
    hold: Callable[[float], None]
    poll_in: Callable[[float], None]
    cured_by_refresh: tuple[type[errors.EsiError], ...] = (errors.TokenRejected,)
    on_forbidden: Callable[[errors.Forbidden], str] | None = None
