"""Whose turn it is: claiming due users for the tick, planning their next turn, and the evidence that moves it forward.

Only `next_sync_at` decides who is due, so an operator may set it by hand. `claimed_until` says that a message is under way
for the user; what hurries users leaves those alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from models.db import in_transaction, is_postgres
from models.fields import from_any, utcnow
from models.sql import rows, run, sql_moment, sql_now
from models.users import ACTIVE

#: Seconds between two ticks. A tick is one small message; what is due is decided by whoever takes it.
TICK_SECONDS = 5.0
#: Newest killmails of a list that are looked at to guess what it will bring.
MOST_SIGHTS = 100

_DUE = f"status = '{ACTIVE}' AND priority = %s AND next_sync_at <= "


@dataclass(frozen=True)
class OnMail:
    """A user of ours who is on a killmail: when polled last and next; `is_free`: nothing else plans or replaces its poll."""

    user_id: int
    polled_at: datetime | None
    next_sync_at: datetime | None
    is_free: bool


def claim_due_users(limit: int, claim_seconds: float) -> list[tuple[int, int, int]]:
    """Take up to *limit* users that are due, priority first, then the latest; (user id, character id, priority).

    Their next turn moves *claim_seconds* on, so no tick takes a user again while a sync of theirs is under way; a sync
    that ends plans the real next turn. Each priority is one range of the index `user_turn`.
    """
    taken: list[tuple[int, int, int]] = []
    lock = "FOR UPDATE SKIP LOCKED" if is_postgres() else ""
    for priority in _priorities() if limit > 0 else ():
        sql = (
            f'UPDATE "user" SET next_sync_at = {sql_now(claim_seconds)}, claimed_until = {sql_now(claim_seconds)} '
            f'WHERE id IN (SELECT id FROM "user" WHERE {_DUE} {sql_now()} ORDER BY next_sync_at LIMIT %s {lock}) '
            "RETURNING id, character_id, priority"
        )
        values = (priority, limit - len(taken))
        taken += in_transaction(lambda sql=sql, values=values: rows(sql, values))  # type: ignore[misc]
        if len(taken) >= limit:
            break
    return taken


def count_due(late_seconds: float, most: int = 1_000_000_000) -> tuple[int, int]:
    """How many users are due, and how many of them have been for longer than *late_seconds*; counted up to *most* each."""

    def count(offset: float) -> int:
        sql = f'SELECT count(*) FROM (SELECT 1 FROM "user" WHERE {_DUE} {sql_now(offset)} LIMIT %s) found'
        found = 0
        for priority in _priorities():
            found += int(rows(sql, (priority, most - found))[0][0])
        return found

    all_due = count(0.0)
    return all_due, min(all_due, count(-late_seconds))


def _priorities() -> list[int]:
    """The priorities that active users have, highest first: one step in the index for each."""
    highest = f"SELECT max(priority) FROM \"user\" WHERE status = '{ACTIVE}'"
    sql = (
        f"WITH RECURSIVE p (n) AS ({highest} UNION ALL SELECT ({highest} AND priority < p.n) FROM p WHERE p.n IS NOT NULL) "
        "SELECT n FROM p WHERE n IS NOT NULL"
    )
    return [priority for (priority,) in rows(sql)]


def record_sync(user_id: int, next_sync_at: datetime) -> None:
    """A user's list was walked; plan the next poll."""
    in_transaction(
        lambda: run(
            f'UPDATE "user" SET last_killmail_sync_at = {sql_now()}, next_sync_at = {sql_moment(next_sync_at)}, '
            f"claimed_until = NULL, updated_at = {sql_now()} WHERE id = %s",
            (user_id,),
        )
    )


def schedule_next(user_id: int, next_sync_at: datetime) -> None:
    """Plan the next poll of a user whose sync did not get through."""
    sql = f'UPDATE "user" SET next_sync_at = {sql_moment(next_sync_at)}, claimed_until = NULL WHERE id = %s'
    in_transaction(lambda: run(sql, (user_id,)))


def hold(user_id: int, seconds: float) -> None:
    """A message is under way for the user: no tick takes it, and nothing hurries it, for *seconds*."""
    sql = (
        f'UPDATE "user" SET next_sync_at = {sql_now(seconds)}, claimed_until = {sql_now(seconds)} '
        f"WHERE id = %s AND status = '{ACTIVE}'"
    )
    in_transaction(lambda: run(sql, (user_id,)))


def recent_killmails(kind: int, entity_id: int, user_id: int = 0) -> list[tuple[datetime, int]]:
    """The newest killmails of a character or corporation, and how many users' lists other than *user_id*'s name each."""
    found = rows(
        "SELECT i.killmail_time, "
        "(SELECT count(*) FROM user_killmail k WHERE k.killmail_id = i.killmail_id AND k.user_id <> %s) "
        "FROM involvement i WHERE i.kind = %s AND i.entity_id = %s ORDER BY i.killmail_time DESC LIMIT %s",
        (user_id, kind, entity_id, MOST_SIGHTS),
    )
    return [(from_any(moment), int(others)) for moment, others in found]  # type: ignore[misc]


def users_on(character_ids: Sequence[int]) -> list[OnMail]:
    """Our active users among the characters of a killmail. One look-up in the index of character ids."""
    marks = ", ".join(["%s"] * len(character_ids))
    found = rows(
        "SELECT u.id, u.last_killmail_sync_at, u.next_sync_at, "
        f"(u.claimed_until IS NULL OR u.claimed_until <= {sql_now()}) AND f.corporation_id IS NULL "
        'FROM "user" u LEFT JOIN membership m ON m.user_id = u.id '
        f"LEFT JOIN corporation_feed f ON f.corporation_id = m.corporation_id AND f.works_until > {sql_now()} "
        f"WHERE u.character_id IN ({marks}) AND u.status = '{ACTIVE}'",
        tuple(character_ids),
    )
    return [OnMail(number, from_any(polled), from_any(coming), bool(free)) for number, polled, coming, free in found]


def move_forward(dues: Sequence[tuple[int, datetime]]) -> int:
    """Poll users sooner than planned, never later; how many were moved. Users whose row is busy are left as they are."""
    if not dues:
        return 0
    free = f"(claimed_until IS NULL OR claimed_until <= {sql_now()})"
    if not is_postgres():
        sql = f'UPDATE "user" SET next_sync_at = {{due}} WHERE id = %s AND next_sync_at > {{due}} AND {free}'
        return in_transaction(lambda: sum(run(sql.format(due=sql_moment(at)), (number,)) for number, at in dues))
    # Locked in the order of ids and without waiting: two saves of one fight never stand in each other's way.
    marks = ", ".join(["%s"] * len(dues))
    values = ", ".join([f"(%s, {sql_now()} + interval '1 second' * %s)"] * len(dues))
    sql = (
        f'UPDATE "user" u SET next_sync_at = v.due FROM (VALUES {values}) v (id, due) '
        "WHERE u.id = v.id AND u.next_sync_at > v.due AND u.id IN ("
        f'SELECT id FROM "user" WHERE id IN ({marks}) AND {free} ORDER BY id FOR UPDATE SKIP LOCKED)'
    )
    given = [value for number, at in dues for value in (number, (at - utcnow()).total_seconds())]
    return in_transaction(lambda: run(sql, (*given, *(number for number, _ in dues))))


def is_claimed(user_id: int) -> bool:
    """Whether a message that a tick sent for the user is still wanted: nobody has planned a turn since."""
    return bool(rows('SELECT 1 FROM "user" WHERE id = %s AND claimed_until IS NOT NULL', (user_id,)))
