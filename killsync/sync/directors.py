"""Who of our users is in which corporation, and by which Director's token a corporation's list is read.

The scopes that Killsync asks for do not name roles. Whether a user is a Director is learned from ESI's answer to the list:
a 200 proves it, a 403 disproves it for a day. Nothing here asks ESI.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from peewee import Case

from killsync.settings import CORPORATION_SCOPE
from models.db import in_transaction
from models.expressions import locked, now, within
from models.killmails import CHARACTER, Attacker, Involvement, Victim
from models.sync import CorporationFeed, Membership
from models.users import ACTIVE, User

#: A user whom ESI refused a corporation's list is not tried again, and an affiliation not looked up again, for this long.
RECHECK = timedelta(days=1)
#: Members of a corporation whose list nobody reads any more are polled themselves again within this time, seconds.
MEMBERS_SECONDS = 3600


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
        .where((Involvement.kind == CHARACTER) & (Involvement.entity_id == character_id))
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
        corporation_id: of ESI's /characters/{character_id}.
        may_direct: the user granted the scope of corporation killmails.
    """
    stays = Membership.corporation_id == corporation_id
    noted = Membership.insert(user_id=user_id, corporation_id=corporation_id, checked_at=now()).on_conflict(
        conflict_target=(Membership.user_id,),
        preserve=(Membership.checked_at, Membership.corporation_id),
        # A refusal counts in the corporation that it was about.
        update={Membership.refused_at: Case(None, [(stays, Membership.refused_at)])},
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
        if not may_direct or user_id not in able:
            return False
        CorporationFeed.insert(corporation_id=corporation_id, next_sync_at=now()).on_conflict_ignore().execute()
        unread = this & (CorporationFeed.user_id.is_null() | CorporationFeed.user_id.not_in(able))
        return bool(CorporationFeed.update(user_id=user_id, next_sync_at=now()).where(unread).execute())

    return in_transaction(work)


def _candidates(corporation_id: int) -> list[int]:
    """Users who may be Directors of the corporation and were not refused within a day or since their last login, the last
    refused one last."""
    was_not_refused = (
        Membership.refused_at.is_null()
        | (Membership.refused_at <= now(-RECHECK.total_seconds()))
        | (Membership.refused_at <= User.logged_in_at)
    )
    found: Iterable[Any] = (
        Membership.select(User.id, User.scopes)
        .join(User, on=(User.id == Membership.user_id))
        .where((Membership.corporation_id == corporation_id) & (User.status == ACTIVE) & was_not_refused)
        .order_by(Membership.refused_at.asc(nulls="FIRST"), User.id)
        .namedtuples()
    )
    return [row.id for row in found if CORPORATION_SCOPE in row.scopes.split()]


def director_of(corporation_id: int) -> int | None:
    """The user by whose token the corporation's list is read: the one of last time, or the next who may. None for none.

    When there is none any more, its members are polled themselves again, spread over the next hour, and it is looked at
    again in a day.
    """
    this = CorporationFeed.corporation_id == corporation_id

    def work() -> int | None:
        feed = locked(CorporationFeed.select().where(this)).first()
        if feed is None:
            return None
        able = _candidates(corporation_id)
        chosen = feed.user_id if feed.user_id in able else next(iter(able), None)
        if chosen is None:
            _suspend(corporation_id)
        elif chosen != feed.user_id:
            CorporationFeed.update(user_id=chosen).where(this).execute()
        return chosen

    return in_transaction(work)


def _suspend(corporation_id: int) -> None:
    """Nobody can read the list now: look at it again in a day, and poll its members themselves."""
    suspended = CorporationFeed.update(user_id=None, works_until=None, next_sync_at=now(RECHECK.total_seconds()))
    suspended.where(CorporationFeed.corporation_id == corporation_id).execute()
    members = Membership.select(Membership.user_id).where(Membership.corporation_id == corporation_id)
    waits_longer = (User.status == ACTIVE) & (User.next_sync_at > now(MEMBERS_SECONDS))
    User.update(next_sync_at=within(MEMBERS_SECONDS)).where(waits_longer & User.id.in_(members)).execute()


def record_refusal(corporation_id: int, user_id: int) -> None:
    """ESI answered 403 for this user's token: they are no Director of the corporation, today."""
    refused = Membership.update(refused_at=now())
    theirs = (Membership.user_id == user_id) & (Membership.corporation_id == corporation_id)
    in_transaction(refused.where(theirs).execute)
