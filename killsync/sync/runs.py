"""Sync runs, the leases that keep a user from being synced twice at once, and the walk over a killmail list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from killsync.events.store import emit, emit_each
from models.db import in_transaction, is_postgres
from models.events import SYNC_PROGRESS
from models.fields import from_any, to_text, utcnow
from models.sql import insert_rows, rows, run, sql_moment, sql_now
from models.sync import CHARACTER_LIST, FAILED, QUEUED, SUCCEEDED, SyncRun


@dataclass
class ListState:
    """A killmail list under lease: what it lists, where its walk stands."""

    list_id: int
    user_id: int
    kind: str
    subject_id: int
    next_page: int | None
    walked_at: datetime | None


@dataclass(frozen=True)
class PageState:
    """What ESI last said of one page."""

    etag: str | None
    last_modified: str | None
    expires_at: datetime | None
    pages: int | None


def open_run(user_id: int, kind: str = CHARACTER_LIST) -> int:
    """The id of the user's unfinished run of *kind*, made if there is none."""

    def work() -> int:
        if is_postgres():
            rows('SELECT id FROM "user" WHERE id = %s FOR UPDATE', (user_id,))
        found = rows(
            "SELECT id FROM sync_run WHERE user_id = %s AND kind = %s AND finished_at IS NULL ORDER BY id DESC LIMIT 1",
            (user_id, kind),
        )
        if found:
            return int(found[0][0])
        made = int(SyncRun.insert(user_id=user_id, kind=kind, status=QUEUED).execute())
        emit(SYNC_PROGRESS, made, user_id)
        return made

    return in_transaction(work)


def lease_list(
    user_id: int, kind: str, subject_id: int, holder: str, message_id: str, seconds: float
) -> ListState | float:
    """Take the list for *seconds*; the seconds to wait when another worker holds it.

    *holder* begins with *message_id*. A message that comes again was taken from a worker that died or lost the broker:
    whoever has it now takes the lease over at once.
    """

    def work() -> ListState | float:
        insert_rows(
            "mail_list",
            ("user_id", "kind", "subject_id", "next_page"),
            [(user_id, kind, subject_id, 1)],
            "ON CONFLICT DO NOTHING",
        )
        taken = rows(
            f"UPDATE mail_list SET leased_by = %s, leased_until = {sql_now(seconds)}, user_id = %s "
            f"WHERE kind = %s AND subject_id = %s AND (leased_until IS NULL OR leased_until <= {sql_now()} OR leased_by LIKE %s) "
            "RETURNING id, next_page, walked_at",
            (holder, user_id, kind, subject_id, f"{message_id}:%"),
        )
        if taken:
            number, next_page, walked_at = taken[0]
            return ListState(number, user_id, kind, subject_id, next_page, from_any(walked_at))
        until = from_any(
            rows("SELECT leased_until FROM mail_list WHERE kind = %s AND subject_id = %s", (kind, subject_id))[0][0]
        )
        return max(1.0, (until - utcnow()).total_seconds()) if until else 1.0

    return in_transaction(work)


def renew_lease(state: ListState, holder: str, seconds: float) -> bool:
    """Keep the list for *seconds* more; False when another worker has taken it over."""
    sql = f"UPDATE mail_list SET leased_until = {sql_now(seconds)} WHERE id = %s AND leased_by = %s"
    return bool(in_transaction(lambda: run(sql, (state.list_id, holder))))


def release_list(state: ListState, holder: str) -> None:
    """Give the list back."""
    sql = "UPDATE mail_list SET leased_by = NULL, leased_until = NULL WHERE id = %s AND leased_by = %s"
    in_transaction(lambda: run(sql, (state.list_id, holder)))


def move_cursor(state: ListState, next_page: int | None, *, walked: bool = False) -> None:
    """Remember where the walk goes on; None when it is at its end. *walked*: every page has been seen once."""
    state.next_page = next_page
    if walked:
        state.walked_at = utcnow()
    moment = to_text(state.walked_at) if state.walked_at else None
    in_transaction(
        lambda: run(
            "UPDATE mail_list SET next_page = %s, walked_at = %s WHERE id = %s", (next_page, moment, state.list_id)
        )
    )


def page_state(list_id: int, page: int) -> PageState:
    """What ESI last said of the page; all None when it was never asked for."""
    found = rows(
        f"SELECT etag, last_modified, expires_at, pages, {sql_now()} FROM list_page WHERE list_id = %s AND page = %s",
        (list_id, page),
    )
    if not found:
        return PageState(None, None, None, None)
    etag, last_modified, expires_at, pages, now = found[0]
    expires, database_now = from_any(expires_at), from_any(now)
    if expires is not None and database_now is not None:
        # Stored by the database's clock; the host that reads it may have another one than the host that wrote it.
        expires += utcnow() - database_now
    return PageState(etag, last_modified, expires, pages)


def store_page(list_id: int, page: int, state: PageState) -> None:
    """Remember what ESI said of the page. Call it after the page's ids are in the ledger, never before."""
    expires = sql_moment(state.expires_at) if state.expires_at else "NULL"
    in_transaction(
        lambda: run(
            f"INSERT INTO list_page (list_id, page, etag, last_modified, expires_at, pages) VALUES (%s, %s, %s, %s, {expires}, "
            "%s) ON CONFLICT (list_id, page) DO UPDATE SET etag = excluded.etag, last_modified = excluded.last_modified, "
            "expires_at = excluded.expires_at, pages = excluded.pages",
            (list_id, page, state.etag, state.last_modified, state.pages),
        )
    )


def add_to_run(run_id: int, **amounts: int) -> None:
    """Add to a run's counters: pages, found, skipped, esi_requests, esi_tokens."""
    amounts = {name: amount for name, amount in amounts.items() if amount}
    if not amounts:
        return
    changes = ", ".join(f"{name} = {name} + %s" for name in amounts)
    in_transaction(lambda: run(f"UPDATE sync_run SET {changes} WHERE id = %s", (*amounts.values(), run_id)))


def add_costs(costs: Mapping[int, tuple[int, int]]) -> None:
    """Add (requests, tokens) spent at ESI to the counters of several runs, by run id."""
    values = ", ".join(["(%s, %s, %s)"] * len(costs))
    sql = (
        f"WITH spent (run_id, requests, tokens) AS (VALUES {values}) UPDATE sync_run SET "
        "esi_requests = esi_requests + requests, esi_tokens = esi_tokens + tokens FROM spent WHERE id = run_id"
    )
    ids = sorted(costs)

    def work() -> None:
        _lock(ids)
        run(sql, [value for run_id in ids for value in (run_id, *costs[run_id])])

    in_transaction(work)


def _lock(run_ids: list[int]) -> None:
    """Lock runs in order of id, so that two workers never wait for each other."""
    if is_postgres() and len(run_ids) > 1:
        rows(f"SELECT id FROM sync_run WHERE id IN ({_marks(run_ids)}) ORDER BY id FOR UPDATE", run_ids)


def _marks(values: Sequence[Any]) -> str:
    return ", ".join(["%s"] * len(values))


def set_status(run_id: int, user_id: int, status: str, error: str | None = None) -> None:
    """Mark an unfinished run running or waiting, with the reason, and tell its watchers."""

    def work() -> None:
        changed = run(
            "UPDATE sync_run SET status = %s, error = %s WHERE id = %s AND finished_at IS NULL "
            "AND (status <> %s OR coalesce(error, '') <> coalesce(%s, ''))",
            (status, error, run_id, status, error),
        )
        if changed:
            emit(SYNC_PROGRESS, run_id, user_id)

    in_transaction(work)


def mark_pages_read(run_id: int) -> None:
    """The run has seen all the pages it wanted; it ends when the killmails it found are answered."""
    in_transaction(lambda: run("UPDATE sync_run SET walked = 1 WHERE id = %s", (run_id,)))


_REFRESH = (
    "UPDATE sync_run SET "
    "saved = (SELECT count(*) FROM killmail_ref WHERE run_id = sync_run.id AND state = 'fetched'), "
    "errors = (SELECT count(*) FROM killmail_ref WHERE run_id = sync_run.id AND (state = 'invalid' OR "
    "(state = 'pending' AND last_error IS NOT NULL)))"
)
_SETTLED = (
    "walked = 1 AND NOT EXISTS (SELECT 1 FROM killmail_ref WHERE run_id = sync_run.id AND state = 'pending' "
    "AND last_error IS NULL)"
)


def recount(run_ids: Sequence[int]) -> list[int]:
    """Recount the saved and failed killmails of runs; end those of which nothing is open. The ids of those it ended."""
    ids = sorted(run_ids)
    chosen = f"id IN ({_marks(ids)}) AND finished_at IS NULL"

    def work() -> list[int]:
        _lock(ids)
        ended = rows(
            f"{_REFRESH}, status = %s, finished_at = {sql_now()}, error = NULL "
            f"WHERE {chosen} AND {_SETTLED} RETURNING id, user_id",
            (SUCCEEDED, *ids),
        )
        changed = rows(f"{_REFRESH} WHERE {chosen} RETURNING id, user_id", ids) if len(ended) < len(ids) else []
        if ended or changed:
            emit_each(SYNC_PROGRESS, [*ended, *changed])
        return [run_id for run_id, _ in ended]

    return in_transaction(work)


def is_open(run_id: int) -> bool:
    """Whether the run has not ended."""
    return bool(rows("SELECT 1 FROM sync_run WHERE id = %s AND finished_at IS NULL", (run_id,)))


def settled(run_ids: Sequence[int]) -> list[int]:
    """Those unfinished runs of *run_ids* that have nothing open any more. Cheap: asked after every message."""
    if not run_ids:
        return []
    sql = f"SELECT id FROM sync_run WHERE id IN ({_marks(run_ids)}) AND finished_at IS NULL AND {_SETTLED}"
    return [number for (number,) in rows(sql, run_ids)]


def fail(run_id: int, user_id: int, reason: str) -> None:
    """End a run that cannot go on."""

    def work() -> None:
        ended = run(
            f"{_REFRESH}, status = %s, error = %s, finished_at = {sql_now()} WHERE id = %s AND finished_at IS NULL",
            (FAILED, reason[:500], run_id),
        )
        if ended:
            emit(SYNC_PROGRESS, run_id, user_id)

    in_transaction(work)


def unsettled_runs(limit: int = 200) -> list[int]:
    """Unfinished runs that may only lack their end, for the sweep."""
    sql = f"SELECT id FROM sync_run WHERE finished_at IS NULL AND {_SETTLED} ORDER BY id LIMIT %s"
    return [number for (number,) in rows(sql, (limit,))]


def prune(keep_seconds: float, window: int = 5000) -> int:
    """Delete runs that ended longer ago than that, at most *window* of the oldest at a time; the number deleted."""
    sql = (
        "DELETE FROM sync_run WHERE id IN (SELECT id FROM (SELECT id, finished_at FROM sync_run ORDER BY id LIMIT %s) oldest "
        f"WHERE finished_at < {sql_now(-keep_seconds)})"
    )
    return in_transaction(lambda: run(sql, (window,)))


def run_row(run_id: int) -> dict[str, Any] | None:
    """A sync run as a dict of its columns."""
    found: dict[str, Any] | None = SyncRun.select().where(SyncRun.id == run_id).dicts().first()
    return found
