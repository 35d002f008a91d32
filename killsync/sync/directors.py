"""Who of our users is in which corporation, and by which Directors' tokens, in turn, a corporation's list is read.

The scopes that Killsync asks for do not name roles. Whether a user is a Director is learned from ESI's answer to the list:
a 200 proves it, a 403 that names the role disproves it for a day. Nothing here asks ESI.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from peewee import Case

from killsync.settings import CORPORATION_SCOPE
from models.db import in_transaction
from models.expressions import locked, now, within
from models.killmails import Attacker, Involvement, Victim
from models.sync import CorporationFeed, Membership
from models.users import ACTIVE, User

#: Corporations of the game itself have ids up to this one, and no killmail list.
LAST_NPC_CORPORATION = 1_999_999
#: A corporation that was asked for and not learned is asked for again after this long.
ASKED = timedelta(minutes=15)
#: A user whom ESI refused a corporation's list is not tried again, and an affiliation not looked up again, for this long.
RECHECK = timedelta(days=1)
#: Members of a corporation whose list nobody reads any more are polled themselves again within this time, seconds.
MEMBERS_SECONDS = 3600


@dataclass(frozen=True)
class Member:
    """A user whose corporation is to be learned."""

    user_id: int
    character_id: int
    scopes: str


def claim_members(limit: int) -> list[Member]:
    """Up to *limit* users whose corporation was learned longest ago, a day at least; left to the caller for a while."""
    is_old = Membership.checked_at <= now(-RECHECK.total_seconds())
    due = (
        Membership.select(Membership.user_id)
        .join(User, on=(User.id == Membership.user_id))
        .where(is_old & (User.status == ACTIVE))
        .order_by(Membership.checked_at)
        .limit(limit)
    )

    def work() -> list[Member]:
        ids = sorted(row.user_id for row in due.namedtuples())
        free = locked(Membership.select(Membership.user_id).where(Membership.user_id.in_(ids) & is_old), skip=True)
        asked = Membership.update(checked_at=now((ASKED - RECHECK).total_seconds())).where(Membership.user_id.in_(free))
        claimed = [row.user_id for row in asked.returning(Membership.user_id).execute()]
        users = User.select(User.id, User.character_id, User.scopes).where(User.id.in_(claimed))
        return [Member(user.id, user.character_id, user.scopes) for user in users]

    return in_transaction(work)


def known_members(character_ids: Iterable[int]) -> list[Member]:
    """Those of the characters whose corporation is noted already."""
    found = (
        User.select(User.id, User.character_id, User.scopes)
        .join(Membership, on=(Membership.user_id == User.id))
        .where(User.character_id.in_(list(character_ids)))
        .order_by(User.id)
    )
    return [Member(user.id, user.character_id, user.scopes) for user in found]


@dataclass(frozen=True)
class Standing:
    """How a user stands to their corporation's list."""

    corporation_id: int
    #: ESI said since the last login that the user may not read it, and has not given it since.
    is_refused: bool
    #: The list was read by the user's token.
    has_read: bool


def standings(user_ids: Iterable[int]) -> dict[int, Standing]:
    """How users stand to their corporations' lists, as far as that is known."""
    is_refused = Membership.refused_at > User.logged_in_at
    found: Any = (
        Membership.select(
            Membership.user_id,
            Membership.corporation_id,
            (Membership.turn_at.is_null(False) & CorporationFeed.last_sync_at.is_null(False)).alias("has_read"),
            Case(None, [(is_refused, 1)], 0).alias("is_refused"),
        )
        .join(User, on=(User.id == Membership.user_id))
        .left_outer_join(CorporationFeed, on=(CorporationFeed.corporation_id == Membership.corporation_id))
        .where(Membership.user_id.in_(list(user_ids)))
        .namedtuples()
    )
    return {
        row.user_id: Standing(row.corporation_id, bool(row.is_refused), bool(row.has_read) and not row.is_refused)
        for row in found
    }


def wants_affiliation(user_id: int, character_id: int, scopes: str) -> bool:
    """Whether to ask ESI for the user's corporation: at most once a day and after a login, and only where it may matter.

    It matters for who may be a Director, for members as far as known, and for who was last seen in a corporation whose
    list is read.
    """
    is_old = (Membership.checked_at <= now(-RECHECK.total_seconds())) | (Membership.checked_at <= User.logged_in_at)
    known: Any = (
        Membership.select(is_old.alias("is_old"))
        .join(User, on=(User.id == Membership.user_id))
        .where(Membership.user_id == user_id)
        .namedtuples()
        .first()
    )
    if known is not None:
        return bool(known.is_old)
    return CORPORATION_SCOPE in scopes.split() or _seen_in_a_corporation_that_is_read(character_id)


def _seen_in_a_corporation_that_is_read(character_id: int) -> bool:
    is_read = CorporationFeed.user_id.is_null(False)
    if not CorporationFeed.select(CorporationFeed.corporation_id).where(is_read).exists():
        return False
    newest = (
        Involvement.select(Involvement.killmail_id)
        .where(Involvement.character_id == character_id)
        .order_by(Involvement.killmail_time.desc())
        .limit(1)
        .scalar()
    )
    if newest is None:
        return False
    as_attacker = Attacker.select(Attacker.corporation_id).where(
        (Attacker.killmail_id == newest) & (Attacker.character_id == character_id)
    )
    as_victim = Victim.select(Victim.corporation_id).where(
        (Victim.killmail_id == newest) & (Victim.character_id == character_id)
    )
    theirs = CorporationFeed.corporation_id.in_(as_attacker) | CorporationFeed.corporation_id.in_(as_victim)
    return bool(CorporationFeed.select(CorporationFeed.corporation_id).where(is_read & theirs).exists())


def join(user_id: int, corporation_id: int, *, may_direct: bool) -> bool:
    """Note a user's corporation. True when its list can be tried now, with this user's token, and could not before.

    Args:
        user_id: whose.
        corporation_id: of ESI's /characters/affiliation.
        may_direct: the user granted the scope of corporation killmails.
    """
    stays = Membership.corporation_id == corporation_id
    noted = Membership.insert(user_id=user_id, corporation_id=corporation_id, checked_at=now()).on_conflict(
        conflict_target=(Membership.user_id,),
        preserve=(Membership.checked_at, Membership.corporation_id),
        # A refusal and a turn count in the corporation that they were about.
        update={
            Membership.refused_at: Case(None, [(stays, Membership.refused_at)]),
            Membership.turn_at: Case(None, [(stays, Membership.turn_at)]),
        },
    )
    left = (CorporationFeed.user_id == user_id) & (CorporationFeed.corporation_id != corporation_id)
    this = CorporationFeed.corporation_id == corporation_id

    def work() -> bool:
        # Locked before anything is written for the user, as where an account is deleted.
        if locked(User.select(User.id).where(User.id == user_id)).first() is None:
            return False
        noted.execute()
        CorporationFeed.update(user_id=None, next_sync_at=now()).where(left).execute()
        able = _candidates(corporation_id)
        if not may_direct or corporation_id <= LAST_NPC_CORPORATION or user_id not in able:
            return False
        CorporationFeed.insert(corporation_id=corporation_id, next_sync_at=now()).on_conflict_ignore().execute()
        unread = this & (CorporationFeed.user_id.is_null() | CorporationFeed.user_id.not_in(able))
        return bool(CorporationFeed.update(user_id=user_id, next_sync_at=now()).where(unread).execute())

    return in_transaction(work)


def _candidates(corporation_id: int) -> list[int]:
    """Users whose token may read the corporation's list, whose turn it has been for longest first.

    Those who were not refused within a day or since their last login; those whose token the SSO doubts only where there is
    nobody else.
    """
    was_not_refused = (
        Membership.refused_at.is_null()
        | (Membership.refused_at <= now(-RECHECK.total_seconds()))
        | (Membership.refused_at <= User.logged_in_at)
    )
    found: Iterable[Any] = (
        Membership.select(User.id, User.scopes, User.refusals)
        .join(User, on=(User.id == Membership.user_id))
        .where((Membership.corporation_id == corporation_id) & (User.status == ACTIVE) & was_not_refused)
        .order_by(Membership.refused_at.asc(nulls="FIRST"), Membership.turn_at.asc(nulls="FIRST"), User.id)
        .namedtuples()
    )
    able = [row for row in found if CORPORATION_SCOPE in row.scopes.split()]
    return [row.id for row in able if not row.refusals] or [row.id for row in able]


def director_of(corporation_id: int, wished: int | None = None) -> int | None:
    """The user by whose token the corporation's list is read now. None for none.

    That is *wished*, a user who asked for it, if their token may read it; else the one whose turn it is, or the next who
    may. When there is none any more, its members are polled themselves again, spread over the next hour, and it is looked at
    again in a day.
    """
    this = CorporationFeed.corporation_id == corporation_id

    def work() -> int | None:
        feed = locked(CorporationFeed.select().where(this)).first()
        if feed is None or corporation_id <= LAST_NPC_CORPORATION:
            return None
        able = _candidates(corporation_id)
        if wished is not None and wished in able:
            return wished
        chosen = feed.user_id if feed.user_id in able else next(iter(able), None)
        if chosen is None:
            _suspend(corporation_id)
        elif chosen != feed.user_id:
            CorporationFeed.update(user_id=chosen).where(this).execute()
        return chosen

    return in_transaction(work)


def end_turn(corporation_id: int, user_id: int, *, was_read: bool) -> int:
    """The user's token had its turn: the next one's is next, who may be the same; whose that is.

    Args:
        was_read: ESI gave the list, which proves that the user is a Director.
    """
    theirs = (Membership.user_id == user_id) & (Membership.corporation_id == corporation_id)
    proof: dict[str, Any] = {"refused_at": None} if was_read else {}
    this = CorporationFeed.corporation_id == corporation_id

    def work() -> int:
        # The list before its members, as in `director_of`.
        locked(CorporationFeed.select().where(this)).first()
        Membership.update(turn_at=now(), **proof).where(theirs).execute()
        chosen = next(iter(_candidates(corporation_id)), user_id)
        CorporationFeed.update(user_id=chosen).where(this).execute()
        return chosen

    return in_transaction(work)


def is_reader(corporation_id: int, user_id: int) -> bool:
    """Whether the user's token may read the corporation's list, as far as is known."""
    return user_id in _candidates(corporation_id)


def read_by(user_id: int) -> int | None:
    """The corporation whose list is read by this user's token, in their turn."""
    is_theirs = CorporationFeed.corporation_id == Membership.corporation_id
    had_a_turn = Membership.turn_at.is_null(False) | (CorporationFeed.user_id == user_id)
    found = (
        Membership.select(Membership.corporation_id)
        .join(CorporationFeed, on=is_theirs)
        .where((Membership.user_id == user_id) & had_a_turn)
    )
    corporation_id: int | None = found.scalar()
    return corporation_id if corporation_id is not None and is_reader(corporation_id, user_id) else None


def _suspend(corporation_id: int) -> None:
    """Nobody can read the list now: look at it again in a day, and poll its members themselves."""
    suspended = CorporationFeed.update(user_id=None, works_until=None, next_sync_at=now(RECHECK.total_seconds()))
    suspended.where(CorporationFeed.corporation_id == corporation_id).execute()
    members = Membership.select(Membership.user_id).where(Membership.corporation_id == corporation_id)
    waits_longer = (User.status == ACTIVE) & (User.next_sync_at > now(MEMBERS_SECONDS))
    User.update(next_sync_at=within(MEMBERS_SECONDS)).where(waits_longer & User.id.in_(members)).execute()


def record_refusal(corporation_id: int, user_id: int, *, for_seconds: float = RECHECK.total_seconds()) -> None:
    """ESI refused this user's token the corporation's list: it is not tried again for so long, a day at most."""
    refused = Membership.update(refused_at=now(for_seconds - RECHECK.total_seconds()))
    theirs = (Membership.user_id == user_id) & (Membership.corporation_id == corporation_id)
    in_transaction(refused.where(theirs).execute)
