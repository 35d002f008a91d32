"""What a character, corporation, alliance or ship did, or what happened in a place: counts, and when it was active. Reads only.

All read no more than MOST_COUNTED entries of an index, and counts and activity nothing else, so that the page of the largest
alliance costs what the page of a large corporation costs.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from peewee import Case, Value, fn

from killsync.names.entities import KnownEntity
from models.expressions import hour_number
from models.killmails import ATTACKER_SIDE, VICTIM_SIDE, Involvement, Killmail, party_of

#: Index entries that are counted; an entity with more has "at least" so many.
MOST_COUNTED = 20_000
#: Days of activity that are shown.
DAYS = 90


@dataclass(frozen=True)
class Counts:
    """Kills, losses and killmails in all; `capped`: there are more than were counted."""

    kills: int
    losses: int
    killmails: int
    capped: bool


@dataclass(frozen=True)
class Hour:
    """What happened in one hour of EVE time."""

    start: datetime
    kills: int
    losses: int


@dataclass(frozen=True)
class Activity:
    """The hours of the last DAYS days in which anything happened, newest first; `capped` as in Counts."""

    hours: list[Hour]
    capped: bool


def counts(entity: KnownEntity) -> Counts:
    """How many killmails it is on, and on which side."""
    newest = newest_killmails(entity, MOST_COUNTED + 1)
    total = newest.select_from(
        fn.COUNT(Value(1)).alias("killmails"),
        fn.COALESCE(fn.SUM(newest.c.kill), 0).alias("kills"),
        fn.COALESCE(fn.SUM(newest.c.loss), 0).alias("losses"),
    ).dicts()
    found = {name: int(number) for name, number in total.get().items()}
    capped = found["killmails"] > MOST_COUNTED
    return Counts(**{name: min(number, MOST_COUNTED) for name, number in found.items()}, capped=capped)


@dataclass(frozen=True)
class Worth:
    """What its newest MOST_COUNTED killmails were worth, ISK: those of others that it took part in, and its own losses."""

    destroyed: float
    lost: float

    @property
    def efficiency(self) -> float | None:
        """The part that was others', from 0 to 100; None where there is nothing."""
        total = self.destroyed + self.lost
        return 100 * self.destroyed / total if total else None


def worth(entity: KnownEntity) -> Worth:
    """What its killmails were worth. Who stands on both sides of a killmail counts it as lost, as its list does."""
    newest = newest_killmails(entity, MOST_COUNTED)
    is_loss = newest.c.loss == 1
    table: Any = Killmail
    found = (
        table.select(
            fn.SUM(Case(None, [(is_loss, 0)], Killmail.total_value)).alias("destroyed"),
            fn.SUM(Case(None, [(is_loss, Killmail.total_value)], 0)).alias("lost"),
        )
        .join(newest, on=newest.c.killmail_id == Killmail.killmail_id)
        .dicts()
        .get()
    )
    return Worth(float(found["destroyed"] or 0), float(found["lost"] or 0))


def is_on_any(entity: KnownEntity) -> bool:
    """Whether any killmail has it."""
    return newest_killmails(entity, 1).first() is not None


def activity(entity: KnownEntity, now: datetime) -> Activity:
    """When it was active in the last DAYS days."""
    since = now.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=DAYS - 1)
    newest = newest_killmails(entity, MOST_COUNTED, since)
    hour = hour_number(newest.c.killmail_time).alias("hour")
    by_hour = (
        newest.select_from(
            hour,
            fn.COUNT(Value(1)).alias("killmails"),
            fn.SUM(newest.c.kill).alias("kills"),
            fn.SUM(newest.c.loss).alias("losses"),
        )
        .group_by(hour)
        .order_by(hour.desc())
    )
    found = list(by_hour.dicts())
    hours = [
        Hour(datetime.fromtimestamp(row["hour"] * 3600, UTC), int(row["kills"]), int(row["losses"])) for row in found
    ]
    return Activity(hours, sum(row["killmails"] for row in found) >= MOST_COUNTED)


def newest_killmails(entity: KnownEntity, limit: int, since: datetime | None = None) -> Any:
    """The query of its newest killmails as (killmail_time, killmail_id, kill, loss), each of the latter two 0 or 1."""
    kind = entity.kind
    if kind.involvement is None:
        table: Any = Killmail
        query = table.select(table.killmail_time, table.killmail_id, Value(1).alias("kill"), Value(0).alias("loss"))
        query = query.where(getattr(table, str(kind.column)) == entity.id)
    else:
        table = Involvement
        query = table.select(
            table.killmail_time,
            table.killmail_id,
            _is_on(ATTACKER_SIDE).alias("kill"),
            _is_on(VICTIM_SIDE).alias("loss"),
        )
        query = query.where(party_of(table, kind.involvement) == entity.id)
    if since is not None:
        query = query.where(table.killmail_time >= since)
    return query.order_by(table.killmail_time.desc(), table.killmail_id.desc()).limit(limit)


def _is_on(side: int) -> Any:
    return Case(None, [(Involvement.sides.bin_and(side) != 0, 1)], 0)
