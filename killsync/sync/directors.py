"""Corporations whose killmail list is polled: who of our users is in them, and by which Director's token they are read.

The scopes that Killsync asks for do not name roles. Whether a user is a Director is learned from ESI's answer to the list:
a 200 proves it, a 403 disproves it for a day.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from killsync.settings import CORPORATION_SCOPE
from models.db import in_transaction, is_postgres
from models.fields import to_text, utcnow
from models.killmails import CHARACTER
from models.sql import insert_rows, rows, run, sql_moment, sql_now
from models.users import ACTIVE

#: A user whom ESI refused a corporation's list is not tried again, and an affiliation not looked up again, for this long.
RECHECK = timedelta(days=1)
#: A list counts as working this long after its next poll is due, seconds: members rely on it no longer than that.
GRACE_SECONDS = 3600.0


def wants_affiliation(user_id: int, character_id: int, scopes: str) -> bool:
    """Whether to ask ESI for the user's corporation: at most once a day, and only where it may matter.

    It matters for who may be a Director, for members as far as known, and for who was last seen in a corporation whose
    list is read.
    """
    known = rows("SELECT checked_at < %s FROM membership WHERE user_id = %s", (to_text(utcnow() - RECHECK), user_id))
    if known:
        return bool(known[0][0])
    return CORPORATION_SCOPE in scopes.split() or _seen_in_a_fed_corporation(character_id)


def _seen_in_a_fed_corporation(character_id: int) -> bool:
    if not rows("SELECT 1 FROM corporation_feed WHERE user_id IS NOT NULL LIMIT 1"):
        return False
    newest = rows(
        "SELECT killmail_id FROM involvement WHERE kind = %s AND entity_id = %s ORDER BY killmail_time DESC LIMIT 1",
        (CHARACTER, character_id),
    )
    return bool(newest) and bool(
        rows(
            "SELECT 1 FROM corporation_feed WHERE user_id IS NOT NULL AND corporation_id IN ("
            "SELECT corporation_id FROM attacker WHERE killmail_id = %s AND character_id = %s UNION ALL "
            "SELECT corporation_id FROM victim WHERE killmail_id = %s AND character_id = %s)",
            (newest[0][0], character_id) * 2,
        )
    )


def join(user_id: int, corporation_id: int, *, may_direct: bool) -> bool:
    """Note a user's corporation. True when its list can be tried now, with this user's token, and could not before.

    Args:
        user_id: whose.
        corporation_id: of ESI's /characters/{character_id}.
        may_direct: the user granted the scope of corporation killmails.
    """

    def work() -> bool:
        insert_rows(
            "membership",
            ("user_id", "corporation_id", "checked_at"),
            [(user_id, corporation_id, to_text(utcnow()))],
            "ON CONFLICT (user_id) DO UPDATE SET checked_at = excluded.checked_at, refused_at = CASE WHEN "
            "membership.corporation_id = excluded.corporation_id THEN membership.refused_at END, "
            "corporation_id = excluded.corporation_id",
        )
        run(
            f"UPDATE corporation_feed SET user_id = NULL, next_sync_at = {sql_now()} "
            "WHERE user_id = %s AND corporation_id <> %s",
            (user_id, corporation_id),
        )
        if not may_direct or not _candidates(corporation_id, user_id):
            return False
        insert_rows(
            "corporation_feed",
            ("corporation_id", "next_sync_at"),
            [(corporation_id, to_text(utcnow()))],
            "ON CONFLICT DO NOTHING",
        )
        sql = (
            f"UPDATE corporation_feed SET user_id = %s, next_sync_at = {sql_now()} "
            "WHERE corporation_id = %s AND user_id IS NULL"
        )
        return bool(run(sql, (user_id, corporation_id)))

    return in_transaction(work)


def _candidates(corporation_id: int, user_id: int | None = None) -> list[int]:
    """Users who may be Directors of the corporation and were not refused within a day, the last refused one last."""
    only = "AND u.id = %s" if user_id is not None else ""
    found = rows(
        'SELECT u.id, u.scopes FROM membership m JOIN "user" u ON u.id = m.user_id '
        f"WHERE m.corporation_id = %s AND u.status = '{ACTIVE}' {only} "
        "AND (m.refused_at IS NULL OR m.refused_at <= %s) "
        "ORDER BY CASE WHEN m.refused_at IS NULL THEN 0 ELSE 1 END, m.refused_at, u.id",
        (corporation_id, *([user_id] if user_id is not None else []), to_text(utcnow() - RECHECK)),
    )
    return [number for number, scopes in found if CORPORATION_SCOPE in scopes.split()]


def director_of(corporation_id: int) -> int | None:
    """The user by whose token the corporation's list is read: the one of last time, or the next who may. None for none.

    When there is none any more, its members are polled themselves again, spread over the next hour, and it is looked at
    again in a day.
    """

    def work() -> int | None:
        lock = " FOR UPDATE" if is_postgres() else ""
        feed = rows(f"SELECT user_id FROM corporation_feed WHERE corporation_id = %s{lock}", (corporation_id,))
        if not feed:
            return None
        able = _candidates(corporation_id)
        chosen = feed[0][0] if feed[0][0] in able else next(iter(able), None)
        if chosen is None:
            _rest(corporation_id)
        elif chosen != feed[0][0]:
            run("UPDATE corporation_feed SET user_id = %s WHERE corporation_id = %s", (chosen, corporation_id))
        return chosen

    return in_transaction(work)


def _rest(corporation_id: int) -> None:
    run(
        "UPDATE corporation_feed SET user_id = NULL, works_until = NULL, "
        f"next_sync_at = {sql_now(RECHECK.total_seconds())} WHERE corporation_id = %s",
        (corporation_id,),
    )
    soon = (
        "statement_timestamp() + random() * interval '1 hour'"
        if is_postgres()
        else "strftime('%Y-%m-%d %H:%M:%f000+00:00', 'now', '+' || (abs(random()) % 3600) || ' seconds')"
    )
    run(
        f"UPDATE \"user\" SET next_sync_at = {soon} WHERE status = '{ACTIVE}' AND next_sync_at > {sql_now(3600.0)} "
        "AND id IN (SELECT user_id FROM membership WHERE corporation_id = %s)",
        (corporation_id,),
    )


def record_refusal(corporation_id: int, user_id: int) -> None:
    """ESI answered 403 for this user's token: they are no Director of the corporation, today."""
    sql = f"UPDATE membership SET refused_at = {sql_now()} WHERE user_id = %s AND corporation_id = %s"
    in_transaction(lambda: run(sql, (user_id, corporation_id)))


def read_by(user_id: int) -> int | None:
    """The corporation whose list is read by this user's token."""
    found = rows("SELECT corporation_id FROM corporation_feed WHERE user_id = %s", (user_id,))
    return int(found[0][0]) if found else None


def is_covered(user_id: int) -> bool:
    """Whether the user's killmails arrive by their corporation's list."""
    sql = (
        "SELECT 1 FROM membership m JOIN corporation_feed f ON f.corporation_id = m.corporation_id "
        f"WHERE m.user_id = %s AND f.works_until > {sql_now()}"
    )
    return bool(rows(sql, (user_id,)))


def claim_due(limit: int, claim_seconds: float) -> list[int]:
    """Take up to *limit* corporations whose list is due; their next turn moves *claim_seconds* on."""
    if limit <= 0:
        return []
    lock = "FOR UPDATE SKIP LOCKED" if is_postgres() else ""
    sql = (
        f"UPDATE corporation_feed SET next_sync_at = {sql_now(claim_seconds)} WHERE corporation_id IN ("
        f"SELECT corporation_id FROM corporation_feed WHERE next_sync_at <= {sql_now()} "
        f"ORDER BY next_sync_at LIMIT %s {lock}) RETURNING corporation_id"
    )
    return [number for (number,) in in_transaction(lambda: rows(sql, (limit,)))]


def record_sync(corporation_id: int, next_sync_at: datetime) -> None:
    """The corporation's list was walked; plan the next poll."""
    until = next_sync_at + timedelta(seconds=GRACE_SECONDS)
    in_transaction(
        lambda: run(
            f"UPDATE corporation_feed SET last_sync_at = {sql_now()}, next_sync_at = {sql_moment(next_sync_at)}, "
            f"works_until = {sql_moment(until)} WHERE corporation_id = %s",
            (corporation_id,),
        )
    )


def schedule_next(corporation_id: int, next_sync_at: datetime) -> None:
    """Plan the next poll of a list that could not be walked, or is being walked."""
    sql = f"UPDATE corporation_feed SET next_sync_at = {sql_moment(next_sync_at)} WHERE corporation_id = %s"
    in_transaction(lambda: run(sql, (corporation_id,)))


def overview() -> list[dict[str, Any]]:
    """The corporations whose lists are read, and by whom; those that nobody can read now last."""
    columns = ("corporation_id", "corporation", "director", "members", "last_sync_at", "next_sync_at", "works")
    found = rows(
        "SELECT f.corporation_id, c.name, u.character_name, "
        "(SELECT count(*) FROM membership m WHERE m.corporation_id = f.corporation_id), f.last_sync_at, f.next_sync_at, "
        f"f.works_until IS NOT NULL AND f.works_until > {sql_now()} FROM corporation_feed f "
        'LEFT JOIN "user" u ON u.id = f.user_id LEFT JOIN corporation c ON c.corporation_id = f.corporation_id '
        "ORDER BY CASE WHEN f.user_id IS NULL THEN 1 ELSE 0 END, f.corporation_id LIMIT 50"
    )
    return [dict(zip(columns, row, strict=True)) for row in found]


def counts() -> dict[str, int]:
    """Corporations whose list is read, and those whose list nobody's token reads (now)."""
    working, all_of_them = rows(
        f"SELECT coalesce(sum(CASE WHEN works_until > {sql_now()} THEN 1 ELSE 0 END), 0), count(*) FROM corporation_feed"
    )[0]
    return {"read": int(working), "unread": int(all_of_them) - int(working)}
