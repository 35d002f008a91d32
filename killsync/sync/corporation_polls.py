"""Queries of the corporations whose killmail list is polled: claiming those that are due, scheduling their next poll.

By whose token a list is read is the business of `directors`.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from peewee import JOIN, Case, fn

from killsync.sync.directors import LAST_NPC_CORPORATION
from models.db import in_transaction
from models.exactly_once import in_transaction_once
from models.expressions import at, locked, now
from models.names import Corporation
from models.sync import CorporationFeed, Membership
from models.users import User

#: A list counts as working this long after its next poll is due, seconds: members rely on it no longer than that.
GRACE_SECONDS = 3600.0


def claim_due(limit: int, claim_seconds: float) -> list[int]:
    """Take up to *limit* corporations whose list is due; their next turn moves *claim_seconds* on."""
    if limit <= 0:
        return []
    feed = CorporationFeed.alias()
    is_due = (feed.next_sync_at <= now()) & (feed.corporation_id > LAST_NPC_CORPORATION)
    due = feed.select(feed.corporation_id).where(is_due).order_by(feed.next_sync_at).limit(limit)
    taken = CorporationFeed.update(next_sync_at=now(claim_seconds)).where(
        CorporationFeed.corporation_id.in_(locked(due, skip=True))
    )
    taken = taken.returning(CorporationFeed.corporation_id)
    return [row.corporation_id for row in in_transaction_once(lambda: [*taken.execute()])]


def record_sync(corporation_id: int, next_sync_at: datetime) -> None:
    """The corporation's list was read; schedule the next poll."""
    until = next_sync_at + timedelta(seconds=GRACE_SECONDS)
    read = CorporationFeed.update(last_sync_at=now(), next_sync_at=at(next_sync_at), works_until=at(until))
    in_transaction(read.where(CorporationFeed.corporation_id == corporation_id).execute)


def schedule_next(corporation_id: int, next_sync_at: datetime) -> None:
    """Schedule the next poll of a list that could not be read, or is being read."""
    scheduled = CorporationFeed.update(next_sync_at=at(next_sync_at))
    in_transaction(scheduled.where(CorporationFeed.corporation_id == corporation_id).execute)


def is_covered(user_id: int) -> bool:
    """Whether the user's killmails arrive by their corporation's list."""
    is_read = (CorporationFeed.corporation_id == Membership.corporation_id) & (CorporationFeed.works_until > now())
    found = Membership.select(Membership.user_id).join(CorporationFeed, on=is_read).where(Membership.user_id == user_id)
    return bool(found.exists())


def overview() -> list[dict[str, Any]]:
    """The corporations whose lists are read, and by whom; those that nobody can read now last."""
    members = Membership.select(fn.COUNT(Membership.user_id)).where(
        Membership.corporation_id == CorporationFeed.corporation_id
    )
    works = CorporationFeed.works_until.is_null(False) & (CorporationFeed.works_until > now())
    found: Iterable[Any] = (
        CorporationFeed.select(
            CorporationFeed.corporation_id,
            Corporation.name.alias("corporation"),
            User.character_name.alias("director"),
            members.alias("members"),
            CorporationFeed.last_sync_at,
            CorporationFeed.next_sync_at,
            works.alias("works"),
        )
        .join(User, JOIN.LEFT_OUTER, on=(User.id == CorporationFeed.user_id))
        .switch(CorporationFeed)
        .join(Corporation, JOIN.LEFT_OUTER, on=(Corporation.corporation_id == CorporationFeed.corporation_id))
        .order_by(Case(None, [(CorporationFeed.user_id.is_null(), 1)], 0), CorporationFeed.corporation_id)
        .limit(50)
        .dicts()
    )
    return list(found)


def counts() -> dict[str, int]:
    """Corporations whose list is read, and those whose list nobody's token reads (now)."""
    working = fn.COUNT(Case(None, [(CorporationFeed.works_until > now(), 1)]))
    known = fn.COUNT(CorporationFeed.corporation_id)
    found: Any = CorporationFeed.select(working.alias("working"), known.alias("known")).namedtuples().get()
    return {"read": found.working, "unread": found.known - found.working}
