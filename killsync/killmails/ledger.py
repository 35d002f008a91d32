"""The ledger: every killmail id a list ever named, in what state it is, and which are due to be fetched next.

The queue only carries what was claimed here, so a lost message is sent again and a doubled one finds nothing to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from models.db import in_transaction, is_postgres
from models.fields import LONG_AGO, to_text, utcnow
from models.killmails import FETCHED, INVALID, PENDING
from models.sql import insert_rows, rows, run, sql_now

#: Fetch priorities, most urgent first: a killmail that just happened goes before history, a priority user's before another's.
FRESH_PRIORITY, FRESH, BACKLOG_PRIORITY, BACKLOG = 0, 1, 2, 3

#: How long a sent message may stay unanswered before its killmail is sent again, seconds.
CLAIM_SECONDS = 180.0
#: How long whoever claimed a killmail may take to send it, seconds: one who died before is noticed so much sooner.
SENDING_SECONDS = 25.0
#: A hash is believed wrong only when ESI refused it twice, this many seconds apart; under load it refuses right ones.
REFUSAL_SECONDS = 2 * 3600.0


def fetch_priority_of(*, backlog: bool, priority: int) -> int:
    """The lane of a killmail first named by a poll (fresh) or by a first walk (backlog), for a user of *priority*."""
    return (BACKLOG_PRIORITY if backlog else FRESH_PRIORITY) + (0 if priority > 0 else 1)


@dataclass(frozen=True)
class Recorded:
    """What a page of a list brought: ids new to this list, and ids new to Killsync altogether."""

    new_to_list: int
    new_to_ledger: int


def record_page(
    owner_id: int, run_id: int | None, refs: Sequence[tuple[int, str]], lane: int, *, of_corporation: bool = False
) -> Recorded:
    """Enter the (id, hash) pairs of one page. Repeats, within the page or with earlier ones, do no harm.

    Args:
        owner_id: the user whose list it is, or with *of_corporation* the corporation. A Director's own list and the
            corporation's are two: what one named is still news to the other.
        run_id: the sync run that asked.
        refs: the pairs.
        lane: of those that are new.
        of_corporation: whose list it is.
    """
    unique = sorted(dict(refs).items())
    if not unique:
        return Recorded(0, 0)
    return in_transaction(lambda: _record(owner_id, run_id, unique, lane, of_corporation))


def _record(
    owner_id: int, run_id: int | None, unique: list[tuple[int, str]], lane: int, of_corporation: bool
) -> Recorded:
    now = to_text(utcnow())
    entered = insert_rows(
        "killmail_ref",
        ("killmail_id", "killmail_hash", "state", "attempts", "discovered_at", "lane", "due_at", "run_id"),
        [(number, digest, PENDING, 0, now, lane, LONG_AGO, run_id) for number, digest in unique],
        "ON CONFLICT DO NOTHING RETURNING killmail_id",
    ).fetchall()
    named = insert_rows(
        "corporation_killmail" if of_corporation else "user_killmail",
        ("corporation_id" if of_corporation else "user_id", "killmail_id"),
        [(owner_id, number) for number, _ in unique],
        "ON CONFLICT DO NOTHING RETURNING killmail_id",
    ).fetchall()
    if len(entered) < len(unique):
        _reconsider(dict(unique), {number for (number,) in entered}, {number for (number,) in named}, lane)
    return Recorded(new_to_list=len(named), new_to_ledger=len(entered))


def _reconsider(listed: dict[int, str], entered: set[int], new_to_list: set[int], lane: int) -> None:
    """A known id may have become urgent, or a list may now give another hash than the one ESI refused.

    Urgent is what just came to a list; history that the same list names again at each poll stays history.
    """
    known = [number for number in listed if number not in entered]
    marks = ", ".join(["%s"] * len(known))
    found = rows(
        f"SELECT killmail_id, killmail_hash, state, lane FROM killmail_ref "
        f"WHERE state <> %s AND killmail_id IN ({marks}) ORDER BY killmail_id",
        (FETCHED, *known),
    )
    for number, digest, _state, old_priority in found:
        if digest != listed[number]:
            run(
                "UPDATE killmail_ref SET killmail_hash = %s, state = %s, refused_at = NULL, last_error = NULL, "
                f"due_at = {sql_now()} WHERE killmail_id = %s AND state <> %s",
                (listed[number], PENDING, number, FETCHED),
            )
        if lane < old_priority and number in new_to_list:
            run("UPDATE killmail_ref SET lane = %s WHERE killmail_id = %s", (lane, number))


def add_submitted(killmail_id: int, killmail_hash: str, *, proven: bool = False) -> None:
    """Enter one id that a person submitted.

    Args:
        killmail_id: its id.
        killmail_hash: the hash that the person gave. What a list said counts more, unless ESI took this one.
        proven: ESI answered for this hash, and the caller saves what it said.
    """
    now = to_text(utcnow())
    # A caller that has the killmail in hand saves it in a moment; no worker shall fetch it meanwhile.
    due = to_text(utcnow() + timedelta(seconds=60)) if proven else now
    known = "DO NOTHING"
    if proven:
        known = (
            "(killmail_id) DO UPDATE SET killmail_hash = excluded.killmail_hash WHERE killmail_ref.state <> 'fetched'"
        )
    in_transaction(
        lambda: insert_rows(
            "killmail_ref",
            ("killmail_id", "killmail_hash", "state", "attempts", "discovered_at", "lane", "due_at"),
            [(killmail_id, killmail_hash, PENDING, 0, now, FRESH_PRIORITY, due)],
            f"ON CONFLICT {known}",
        )
    )


def is_fetched(killmail_id: int) -> bool:
    """Whether the killmail is stored."""
    return bool(rows("SELECT 1 FROM killmail_ref WHERE killmail_id = %s AND state = %s", (killmail_id, FETCHED)))


def claim(limit: int, *, backlog: bool) -> list[int]:
    """Take up to *limit* due killmails, most urgent first; they are the caller's for SENDING_SECONDS, to send."""
    if limit <= 0:
        return []
    lanes = (BACKLOG_PRIORITY, BACKLOG) if backlog else (FRESH_PRIORITY, FRESH)
    lock = "FOR UPDATE SKIP LOCKED" if is_postgres() else ""
    sql = (
        f"UPDATE killmail_ref SET due_at = {sql_now(SENDING_SECONDS)}, sent_at = {sql_now()} WHERE killmail_id IN ("
        f"SELECT killmail_id FROM killmail_ref WHERE state = 'pending' AND lane BETWEEN %s AND %s AND due_at <= {sql_now()} "
        f"ORDER BY lane, killmail_id DESC LIMIT %s {lock}) RETURNING lane, killmail_id"
    )
    taken = in_transaction(lambda: rows(sql, (*lanes, limit)))
    return [number for _, number in sorted(taken, key=lambda row: (row[0], -row[1]))]


def mark_sent(killmail_ids: Sequence[int]) -> None:
    """Claimed killmails are with the workers now, for CLAIM_SECONDS; what was answered meanwhile is left alone."""
    if not killmail_ids:
        return
    lock = "FOR UPDATE" if is_postgres() else ""
    marks = ", ".join(["%s"] * len(killmail_ids))
    sql = (
        f"UPDATE killmail_ref SET due_at = {sql_now(CLAIM_SECONDS)} WHERE killmail_id IN (SELECT killmail_id FROM "
        f"killmail_ref WHERE killmail_id IN ({marks}) AND state = 'pending' AND sent_at IS NOT NULL ORDER BY killmail_id {lock})"
    )
    in_transaction(lambda: run(sql, killmail_ids))


def count_sent() -> int:
    """How many killmails are with the workers now: sent, not yet answered, not overdue."""
    sql = f"SELECT count(*) FROM killmail_ref WHERE state = 'pending' AND sent_at IS NOT NULL AND due_at > {sql_now()}"
    return int(rows(sql)[0][0])


def has_due() -> bool:
    """Whether any killmail waits to be sent."""
    return bool(rows(f"SELECT 1 FROM killmail_ref WHERE state = 'pending' AND due_at <= {sql_now()} LIMIT 1"))


@dataclass(frozen=True)
class Pending:
    """A killmail still to be fetched."""

    killmail_id: int
    killmail_hash: str
    fetch_priority: int
    run_id: int | None


def pending(killmail_ids: Sequence[int]) -> list[Pending]:
    """Those of *killmail_ids* that are still to be fetched, in their order."""
    marks = ", ".join(["%s"] * len(killmail_ids))
    found = {
        row[0]: Pending(*row)
        for row in rows(
            "SELECT killmail_id, killmail_hash, lane, run_id FROM killmail_ref "
            f"WHERE killmail_id IN ({marks}) AND state = %s",
            (*killmail_ids, PENDING),
        )
    }
    return [found[number] for number in dict.fromkeys(killmail_ids) if number in found]


def release(killmail_ids: Sequence[int], seconds: float) -> None:
    """ESI could not be asked now, through no fault of these killmails: due again in *seconds*, no attempt counted."""
    _set_due(killmail_ids, seconds, "")


def record_failure(killmail_id: int, reason: str, seconds: float) -> None:
    """The answer for this killmail was unusable: note why, count the attempt, due again in *seconds*."""
    _set_due([killmail_id], seconds, "attempts = attempts + 1, last_error = %s, ", reason[:500])


def _set_due(killmail_ids: Sequence[int], seconds: float, also: str, *values: Any) -> None:
    marks = ", ".join(["%s"] * len(killmail_ids))
    lock = "FOR UPDATE" if is_postgres() else ""
    # Rows are locked in order of id, as everywhere, so that two workers never wait for each other.
    sql = (
        f"UPDATE killmail_ref SET {also} sent_at = NULL, due_at = {sql_now(seconds)} WHERE killmail_id IN ("
        f"SELECT killmail_id FROM killmail_ref WHERE killmail_id IN ({marks}) AND state = 'pending' "
        f"ORDER BY killmail_id {lock})"
    )
    in_transaction(lambda: run(sql, (*values, *killmail_ids)))


def record_refusal(killmail_id: int, reason: str) -> bool:
    """ESI refused the hash (422). True when that was the second time, far enough apart: the id is now `invalid`."""

    def work() -> bool:
        final = run(
            "UPDATE killmail_ref SET state = %s, attempts = attempts + 1, last_error = %s, sent_at = NULL "
            f"WHERE killmail_id = %s AND state = 'pending' AND refused_at <= {sql_now(-REFUSAL_SECONDS * 0.95)}",
            (INVALID, reason[:500], killmail_id),
        )
        if not final:
            run(
                f"UPDATE killmail_ref SET refused_at = coalesce(refused_at, {sql_now()}), attempts = attempts + 1, "
                f"last_error = %s, sent_at = NULL, due_at = {sql_now(REFUSAL_SECONDS)} "
                "WHERE killmail_id = %s AND state = 'pending'",
                (reason[:500], killmail_id),
            )
        return bool(final)

    return in_transaction(work)


def counts() -> dict[str, int]:
    """Number of ledger rows by state."""
    return {state: int(number) for state, number in rows("SELECT state, count(*) FROM killmail_ref GROUP BY state")}


def oldest_pending() -> tuple[int, Any, int, str | None] | None:
    """(killmail id, discovered at, attempts, last error) of the killmail that has waited longest."""
    found = rows(
        "SELECT killmail_id, discovered_at, attempts, last_error FROM killmail_ref WHERE state = 'pending' "
        "ORDER BY discovered_at LIMIT 1"
    )
    return found[0] if found else None


def attempts_of(killmail_id: int) -> int:
    """How many unusable answers ESI has given for a killmail so far."""
    found = rows("SELECT attempts FROM killmail_ref WHERE killmail_id = %s", (killmail_id,))
    return int(found[0][0]) if found else 0
