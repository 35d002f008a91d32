"""What a page can be about: a character, corporation, alliance, ship type or solar system, and what it did.

Reads only. Counts and activity read nothing but an index, and no more of it than MOST_COUNTED entries, so that the page of
the largest alliance costs what the page of a large corporation costs.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from models.db import in_transaction, is_postgres
from models.fields import from_any, to_text
from models.killmails import ALLIANCE, ATTACKER_SIDE, CHARACTER, CORPORATION, SHIP_TYPE, VICTIM_SIDE
from models.names import NAME_KEYS
from models.sql import rows, run, sql_now

#: Index entries that are counted; a subject with more has "at least" so many.
MOST_COUNTED = 20_000
#: Days of activity that are told.
DAYS = 90
#: A ticker is asked of ESI once in this many seconds.
TICKER_SECONDS = 86_400.0


@dataclass(frozen=True)
class Kind:
    """A kind of subject: its words in addresses, its name table, how `involvement` and `feed.Filter` know it."""

    word: str
    plural: str
    table: str
    field: str
    involved: int | None
    noun: str

    @property
    def has_ticker(self) -> bool:
        return self.table in ("corporation", "alliance")


KINDS = {
    kind.word: kind
    for kind in (
        Kind("character", "characters", "character", "character_id", CHARACTER, "Character"),
        Kind("corporation", "corporations", "corporation", "corporation_id", CORPORATION, "Corporation"),
        Kind("alliance", "alliances", "alliance", "alliance_id", ALLIANCE, "Alliance"),
        Kind("ship", "types", "item_type", "ship_type_id", SHIP_TYPE, "Ship"),
        Kind("system", "systems", "solar_system", "system_id", None, "System"),
    )
}


@dataclass(frozen=True)
class Subject:
    """One thing that a page is about. `name` and `ticker` are None until they are known."""

    kind: Kind
    id: int
    name: str | None
    ticker: str | None

    @property
    def path(self) -> str:
        return f"/{self.kind.plural}/{self.id}"

    @property
    def label(self) -> str:
        return self.name or f"{self.kind.noun} {self.id}"


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


def find(kind: Kind, subject_id: int) -> Subject | None:
    """The subject, if any killmail ever named it."""
    ticker = "ticker" if kind.has_ticker else "NULL"
    found = rows(f"SELECT name, {ticker} FROM {kind.table} WHERE {NAME_KEYS[kind.table]} = %s", (subject_id,))
    return Subject(kind, subject_id, *found[0]) if found else None


def counts(subject: Subject) -> Counts:
    """How many killmails it is on, and on which side."""
    source, values = _newest(subject)
    found = rows(
        f"SELECT count(*), coalesce(sum(kill), 0), coalesce(sum(loss), 0) FROM ({source}) newest",
        (*values, MOST_COUNTED + 1),
    )
    number, kills, losses = (int(value) for value in found[0])
    most = MOST_COUNTED
    return Counts(min(kills, most), min(losses, most), min(number, most), capped=number > most)


def activity(subject: Subject, now: datetime) -> Activity:
    """When it was active in the last DAYS days."""
    since = now.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=DAYS - 1)
    source, values = _newest(subject, since)
    # The number of an hour groups faster than a moment does. Julian days are fractions: a third of a second keeps a
    # whole hour from being taken for the end of the one before.
    hour = (
        "floor(extract(epoch FROM killmail_time) / 3600)::bigint"
        if is_postgres()
        else "CAST((julianday(killmail_time) - 2440587.5) * 24 + 0.0001 AS INTEGER)"
    )
    found = rows(
        f"SELECT {hour} AS hour, count(*), sum(kill), sum(loss) FROM ({source}) newest GROUP BY 1 ORDER BY 1 DESC",
        (*values, MOST_COUNTED),
    )
    hours = [
        Hour(datetime.fromtimestamp(number * 3600, UTC), int(kills), int(losses)) for number, _, kills, losses in found
    ]
    return Activity(hours, sum(int(row[1]) for row in found) >= MOST_COUNTED)


def _newest(subject: Subject, since: datetime | None = None) -> tuple[str, list[Any]]:
    """SQL of its newest killmails as (killmail_time, kill, loss), and its parameters but for the limit."""
    values: list[Any] = []
    if subject.kind.involved is None:
        source = "SELECT killmail_time, 1 AS kill, 0 AS loss FROM killmail WHERE solar_system_id = %s"
    else:
        source = (
            f"SELECT killmail_time, CASE WHEN (sides & {ATTACKER_SIDE}) <> 0 THEN 1 ELSE 0 END AS kill, "
            f"CASE WHEN (sides & {VICTIM_SIDE}) <> 0 THEN 1 ELSE 0 END AS loss "
            "FROM involvement WHERE kind = %s AND entity_id = %s"
        )
        values = [subject.kind.involved]
    values = [*values, subject.id]
    if since is not None:
        source += " AND killmail_time >= %s"
        values.append(to_text(since))
    return f"{source} ORDER BY killmail_time DESC, killmail_id DESC LIMIT %s", values


def claim_ticker(subject: Subject) -> bool:
    """Whether the ticker is to be asked for now. True at most once in TICKER_SECONDS, whoever calls."""
    if not subject.kind.has_ticker or subject.ticker is not None:
        return False
    table, key = subject.kind.table, NAME_KEYS[subject.kind.table]
    return bool(
        in_transaction(
            lambda: run(
                f"UPDATE {table} SET ticker_asked_at = {sql_now()} WHERE {key} = %s AND ticker IS NULL "
                f"AND (ticker_asked_at IS NULL OR ticker_asked_at <= {sql_now(-TICKER_SECONDS)})",
                (subject.id,),
            )
        )
    )


def needs_ticker(kind: Kind, subject_id: int) -> bool:
    """Whether the ticker is still unknown."""
    sql = f"SELECT 1 FROM {kind.table} WHERE {NAME_KEYS[kind.table]} = %s AND ticker IS NULL"
    return kind.has_ticker and bool(rows(sql, (subject_id,)))


def store_ticker(kind: Kind, subject_id: int, ticker: str) -> None:
    """Store what ESI answered."""
    sql = f"UPDATE {kind.table} SET ticker = %s WHERE {NAME_KEYS[kind.table]} = %s"
    in_transaction(lambda: run(sql, (ticker, subject_id)))


def names_of(things: list[tuple[str, int]]) -> dict[tuple[str, int], str]:
    """The known names of (table, id) pairs."""
    found: dict[tuple[str, int], str] = {}
    for table, key in NAME_KEYS.items():
        ids = [number for kind, number in things if kind == table]
        if ids:
            marks = ", ".join(["%s"] * len(ids))
            sql = f"SELECT {key}, name FROM {table} WHERE name IS NOT NULL AND {key} IN ({marks})"
            found.update({(table, number): name for number, name in rows(sql, ids)})
    return found


def last_listed(killmail_id: int) -> datetime | None:
    """When a killmail that is not stored yet was first listed; None when no list ever named it."""
    found = rows("SELECT discovered_at FROM killmail_ref WHERE killmail_id = %s", (killmail_id,))
    return from_any(found[0][0]) if found else None
