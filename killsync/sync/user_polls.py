"""Queries of whose turn it is: claiming due users for the tick, scheduling their next poll, moving a poll forward.

Only `next_sync_at` decides who is due, so an operator may set it by hand. `claimed_until` says that a message is under way
for the user; whoever moves polls forward leaves those alone. When a poll should be is decided in `schedule`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from peewee import JOIN, Case, Expression, Node, Select, fn

from killsync.sync.hazard import GAP_OF_ONE, Rhythm
from models.db import in_transaction
from models.exactly_once import in_transaction_once
from models.expressions import at, locked, now
from models.fields import from_any, utcnow
from models.prepared import Ids, Prepared
from models.sync import CorporationFeed, Membership
from models.users import ACTIVE, User


@dataclass(frozen=True)
class ClaimedUser:
    """A user whom a tick has claimed: its message is to be sent."""

    user_id: int
    priority: int


@dataclass(frozen=True)
class DueUsers:
    """How many users are due, and how many of them have been for long."""

    due: int
    late: int


@dataclass(frozen=True)
class UserOnKillmail:
    """A user of ours who is on a killmail.

    Attributes:
        user_id: whose.
        character_id: who they are on it.
        polled_at: when their list was last read.
        next_sync_at: when it is read next.
        rhythm: how they use to fight, as of the last poll.
        is_free: no message is under way for them, and no corporation's list brings their killmails.
    """

    user_id: int
    character_id: int
    polled_at: datetime | None
    next_sync_at: datetime | None
    rhythm: Rhythm
    is_free: bool


def _is_unclaimed(user: Any = User) -> Expression:
    unclaimed: Expression = user.claimed_until.is_null() | (user.claimed_until <= now())
    return unclaimed


def _is_not_doubted() -> Expression:
    """No waiting for the SSO to be asked again about the user's token: until then a poll would bring nothing."""
    known: Expression = User.doubted_until.is_null() | (User.doubted_until <= now())
    return known


def _due(priority: int, offset_seconds: float = 0.0) -> Select:
    """Active users of *priority* whose turn has come: one range of the index `user_turn`."""
    someone = User.alias()
    is_due = (someone.status == ACTIVE) & (someone.priority == priority) & (someone.next_sync_at <= now(offset_seconds))
    users: Select = someone.select(someone.id).where(is_due)
    return users.order_by(someone.next_sync_at)


def _priorities() -> list[int]:
    """The priorities that active users have, highest first: one step in the index for each."""
    someone = User.alias()
    highest = User.select(fn.MAX(User.priority)).where(User.status == ACTIVE)
    found = highest.cte("priorities", recursive=True, columns=("priority",))
    lower = someone.select(fn.MAX(someone.priority)).where(
        (someone.status == ACTIVE) & (someone.priority < found.c.priority)
    )
    found = found.union_all(Select((found,), [lower]).where(found.c.priority.is_null(False)))
    rows = found.select_from(found.c.priority).where(found.c.priority.is_null(False))
    return [row.priority for row in rows.namedtuples()]


def _all_of(taken: Any) -> Callable[[], list[User]]:
    return lambda: list(taken.execute())


def claim_due_users(limit: int, claim_seconds: float) -> list[ClaimedUser]:
    """Take up to *limit* users that are due, those of a higher priority first, then those who have waited longest.

    Their next turn moves *claim_seconds* on, so no tick takes a user again while a sync of theirs is under way; a sync
    that ends schedules the real next turn.
    """
    claimed: list[ClaimedUser] = []
    for priority in _priorities() if limit > 0 else ():
        due = locked(_due(priority).limit(limit - len(claimed)), skip=True)
        taken = User.update(next_sync_at=now(claim_seconds), claimed_until=now(claim_seconds)).where(User.id.in_(due))
        users: list[User] = in_transaction_once(_all_of(taken.returning(User.id, User.priority)))
        claimed += [ClaimedUser(user.id, user.priority) for user in users]
        if len(claimed) >= limit:
            break
    return claimed


def count_due(late_seconds: float, most: int = 1_000_000_000) -> DueUsers:
    """How many users are due, and how many of them have been for longer than *late_seconds*; counted up to *most* each."""

    def count(offset_seconds: float) -> int:
        found = 0
        for priority in _priorities():
            found += int(_due(priority, offset_seconds).limit(most - found).count())
        return found

    due = count(0.0)
    return DueUsers(due, min(due, count(-late_seconds)))


def record_sync(user_id: int, next_sync_at: datetime, rhythm: Rhythm | None = None) -> None:
    """A user's list was read; schedule the next poll, and note how they use to fight."""
    gap, recent = (None, None) if rhythm is None else (rhythm.gap, rhythm.recent)
    seconds = (next_sync_at - utcnow()).total_seconds()
    in_transaction(lambda: _RECORD_SYNC.run(user_id, seconds, gap, recent))


def _recording(user_id: Node, seconds: Node, gap: Node, recent: Node) -> Any:
    read = User.update(
        last_killmail_sync_at=now(),
        next_sync_at=now(seconds),
        claimed_until=None,
        updated_at=now(),
        typical_gap=fn.COALESCE(gap, User.typical_gap),
        recent_killmails=fn.COALESCE(recent, User.recent_killmails),
    )
    return read.where((User.id == user_id) & (User.status == ACTIVE))


_RECORD_SYNC = Prepared(_recording, lists=0, values=4)


def schedule_next(user_id: int, next_sync_at: datetime) -> None:
    """Schedule the next poll of a user whose sync did not get through."""
    scheduled = User.update(next_sync_at=at(next_sync_at), claimed_until=None)
    in_transaction(scheduled.where((User.id == user_id) & (User.status == ACTIVE)).execute)


def unclaim(user_ids: Sequence[int]) -> None:
    """Users whom a tick has claimed, and could not send messages for: they are due."""
    claimed = User.id.in_(list(user_ids)) & (User.status == ACTIVE) & User.claimed_until.is_null(False)
    someone = locked(User.select(User.id).where(claimed).order_by(User.id))
    in_transaction(User.update(next_sync_at=now(), claimed_until=None).where(User.id.in_(someone)).execute)


def hold(user_id: int, seconds: float) -> None:
    """A message is under way for the user: no tick takes it, and nothing moves its poll forward, for *seconds*."""
    held = User.update(next_sync_at=now(seconds), claimed_until=now(seconds))
    in_transaction(held.where((User.id == user_id) & (User.status == ACTIVE)).execute)


def is_claimed(user_id: int) -> bool:
    """Whether a message that a tick sent for the user is still wanted: nobody has scheduled a turn since."""
    return bool(User.select(User.id).where((User.id == user_id) & User.claimed_until.is_null(False)).exists())


def users_on(character_ids: Sequence[int]) -> list[UserOnKillmail]:
    """Our active users among the characters of killmails. One look-up in the index of character ids."""
    return [
        UserOnKillmail(
            row["id"],
            row["character_id"],
            from_any(row["last_killmail_sync_at"]),
            from_any(row["next_sync_at"]),
            Rhythm(row["typical_gap"] or GAP_OF_ONE, row["recent_killmails"] or 1.0),
            bool(row["is_free"]),
        )
        for row in _USERS_ON.fetch(character_ids)
    ]


def _users_on(ids: Ids) -> Any:
    is_read = (CorporationFeed.corporation_id == Membership.corporation_id) & (CorporationFeed.works_until > now())
    columns = (
        User.id,
        User.character_id,
        User.last_killmail_sync_at,
        User.next_sync_at,
        User.typical_gap,
        User.recent_killmails,
        (_is_unclaimed() & _is_not_doubted() & CorporationFeed.corporation_id.is_null()).alias("is_free"),
    )
    found = User.select(*columns).join(Membership, JOIN.LEFT_OUTER, on=(Membership.user_id == User.id))
    return found.join(CorporationFeed, JOIN.LEFT_OUTER, on=is_read).where(
        ids.have(User.character_id) & (User.status == ACTIVE)
    )


_USERS_ON = Prepared(_users_on)


def move_forward(polls: Sequence[tuple[int, datetime]]) -> int:
    """Poll users sooner than scheduled, never later; how many were moved. Users whose row is busy are left as they are.

    Args:
        polls: (user id, moment of the poll).
    """
    if not polls:
        return 0
    someone = User.alias()
    sooner = Case(None, [(User.id == user_id, at(moment)) for user_id, moment in polls])
    chosen = someone.id.in_([user_id for user_id, _ in polls]) & _is_unclaimed(someone)
    # Locked in the order of ids and without waiting: two saves of one fight never stand in each other's way.
    free = locked(someone.select(someone.id).where(chosen).order_by(someone.id), skip=True)
    moved = User.update(next_sync_at=sooner).where(User.id.in_(free) & (User.next_sync_at > sooner))
    return int(in_transaction(moved.execute))
