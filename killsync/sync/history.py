"""What is stored of when people were seen on killmails: reads only, for whoever learns from it or plans by it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from peewee import JOIN, fn

from models.expressions import epoch_of, hour_number
from models.killmails import Attacker, Involvement, UserKillmail, Victim, party_of
from models.users import ACTIVE, User

#: Newest killmails by which a rhythm is known; what is further back hardly counts.
MOST_RECENT = 60


@dataclass(frozen=True)
class Sighting:
    """A user was on a killmail.

    Attributes:
        user_id: who.
        moment: when, seconds since the epoch.
        is_own: whether their own list names it.
    """

    user_id: int
    moment: float
    is_own: bool


def user_ids() -> list[int]:
    """All active users."""
    active: Iterable[Any] = User.select(User.id).where(User.status == ACTIVE).order_by(User.id).tuples()
    return [user_id for (user_id,) in active]


def newest(kind: int, entity_id: int) -> list[datetime]:
    """When the newest killmails of a character or corporation happened, the oldest of them first."""
    found: Iterable[Any] = (
        Involvement.select(Involvement.killmail_time)
        .where(party_of(Involvement, kind) == entity_id)
        .order_by(Involvement.killmail_time.desc())
        .limit(MOST_RECENT)
        .namedtuples()
    )
    return [row.killmail_time for row in found][::-1]


def corporations(of_users: Sequence[int]) -> Iterator[tuple[int, int]]:
    """(user, corporation): for whom each flew on the newest killmail of their own list; players' corporations or not."""
    last = (
        UserKillmail.select(UserKillmail.user_id, fn.MAX(UserKillmail.killmail_id).alias("killmail_id"))
        .where(UserKillmail.user_id.in_(list(of_users)))
        .group_by(UserKillmail.user_id)
        .alias("last")
    )
    lost = (Victim.killmail_id == last.c.killmail_id) & (Victim.character_id == User.character_id)
    won = (Attacker.killmail_id == last.c.killmail_id) & (Attacker.character_id == User.character_id)
    corporation = fn.COALESCE(Victim.corporation_id, fn.MAX(Attacker.corporation_id))
    found: Iterable[Any] = (
        User.select(User.id, corporation.alias("corporation_id"))
        .join(last, on=(last.c.user_id == User.id))
        .join(Victim, JOIN.LEFT_OUTER, on=lost)
        .join(Attacker, JOIN.LEFT_OUTER, on=won)
        .group_by(User.id, Victim.corporation_id)
        .namedtuples()
    )
    return ((row.id, row.corporation_id) for row in found if row.corporation_id is not None)


def days_by_hour(
    corporation_ids: Sequence[int], since: float, until: float
) -> Iterator[tuple[int, list[float], list[float]]]:
    """For each corporation the days since *since* on which it was seen in each hour of the day, and those before *until*."""
    hour = hour_number(Involvement.killmail_time)
    seen: Iterable[Any] = (
        Involvement.select(Involvement.corporation_id, hour.alias("hour"))
        .where(Involvement.corporation_id.in_(list(corporation_ids)) & (Involvement.killmail_time > _moment(since)))
        .distinct()
        .tuples()
    )
    days: dict[int, list[float]] = defaultdict(lambda: [0.0] * 24)
    before: dict[int, list[float]] = defaultdict(lambda: [0.0] * 24)
    for corporation, number in seen:
        days[corporation][number % 24] += 1
        if number < until / 3600:
            before[corporation][number % 24] += 1
    return ((corporation, days[corporation], before[corporation]) for corporation in days)


def sightings(of_users: Sequence[int], since: float) -> Iterator[Sighting]:
    """When users were on killmails since *since*: user by user, the oldest first."""
    seen = (Involvement.character_id == User.character_id) & (Involvement.killmail_time > _moment(since))
    named = (UserKillmail.user_id == User.id) & (UserKillmail.killmail_id == Involvement.killmail_id)
    found: Iterable[Any] = (
        User.select(User.id, epoch_of(Involvement.killmail_time).alias("moment"), UserKillmail.user_id.alias("named"))
        .join(Involvement, on=seen)
        .join(UserKillmail, JOIN.LEFT_OUTER, on=named)
        .where(User.id.in_(list(of_users)))
        .order_by(User.id, Involvement.killmail_time)
        .tuples()
    )
    return (Sighting(user_id, float(moment), named is not None) for user_id, moment, named in found)


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
