"""Sync runs: opened with a sync, counted while their killmails arrive, ended when nothing of them is open.

Whoever watches a run is woken by each change. How runs are shown is in `run_queries`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from peewee import Expression, Node, Select, fn

from killsync.events.store import runs_changed
from killsync.sync.lists import lock_user
from models.db import in_transaction
from models.exactly_once import in_transaction_once
from models.expressions import locked, now
from models.killmails import FETCHED, INVALID, PENDING, KillmailRef
from models.prepared import Ids, Prepared
from models.sync import CHARACTER_LIST, CORPORATION_LIST, FAILED, QUEUED, SUCCEEDED, CorporationFeed, SyncRun
from models.users import ACTIVE, User

#: Why runs end that nobody goes on with.
NOT_ASKED = "the character needs to log in again"
LOST_LIST = "this character's token does not read the corporation's list any more"
#: The killmails that the run of the surrounding statement was the first to name.
_OF_RUN = KillmailRef.run_id == SyncRun.id
_IS_OPEN = (KillmailRef.state == PENDING) & KillmailRef.last_error.is_null()
_HAS_FAILED = (KillmailRef.state == INVALID) | ((KillmailRef.state == PENDING) & KillmailRef.last_error.is_null(False))
_UNFINISHED = SyncRun.finished_at.is_null()
#: All its pages were read and each of its killmails was answered.
_SETTLED = (SyncRun.walked == 1) & ~fn.EXISTS(KillmailRef.select(KillmailRef.killmail_id).where(_OF_RUN & _IS_OPEN))


def _number_of(condition: Expression) -> Select:
    number: Select = KillmailRef.select(fn.COUNT(KillmailRef.killmail_id)).where(_OF_RUN & condition)
    return number


def _counted() -> dict[str, Select]:
    return {"saved": _number_of(KillmailRef.state == FETCHED), "errors": _number_of(_HAS_FAILED)}


class UserGone(LookupError):
    """The account was deleted: nothing more is written for this user."""


def open_run(user_id: int, kind: str = CHARACTER_LIST) -> int:
    """The id of the user's unfinished run of *kind*, made if there is none.

    Raises:
        UserGone: there is no such user.
    """

    def work() -> int:
        # Of two who open a run of one user the second waits here, and finds the run of the first.
        if not lock_user(user_id):
            raise UserGone(f"there is no user {user_id}")
        for (unfinished,) in _NEWEST_UNFINISHED.rows(user_id, kind):
            return int(unfinished)
        made = int(SyncRun.insert(user_id=user_id, kind=kind, status=QUEUED).execute())
        runs_changed([(made, user_id)])
        return made

    return in_transaction(work)


def _newest_unfinished(user_id: Node, kind: Node) -> Any:
    unfinished = SyncRun.select(SyncRun.id).where((SyncRun.user_id == user_id) & (SyncRun.kind == kind) & _UNFINISHED)
    return unfinished.order_by(SyncRun.id.desc()).limit(1)


_NEWEST_UNFINISHED = Prepared(_newest_unfinished, lists=0, values=2)


def is_open(run_id: int) -> bool:
    """Whether the run has not ended."""
    return bool(SyncRun.select(SyncRun.id).where((SyncRun.id == run_id) & _UNFINISHED).exists())


def add_to_run(run_id: int, **amounts: int) -> None:
    """Add to a run's counters: pages, found, skipped, esi_requests, esi_tokens."""
    if any(amounts.values()):
        in_transaction_once(lambda: _ADD.run(run_id, *(amounts.get(name, 0) for name in _COUNTERS)))


_COUNTERS = "pages", "found", "skipped", "esi_requests", "esi_tokens"


def _adding(run_id: Node, *amounts: Node) -> Any:
    added = {name: getattr(SyncRun, name) + amount for name, amount in zip(_COUNTERS, amounts, strict=True)}
    return SyncRun.update(**added).where(SyncRun.id == run_id)


_ADD = Prepared(_adding, lists=0, values=1 + len(_COUNTERS))


def _lock(run_ids: Sequence[int]) -> None:
    """Lock runs in order of id, so that two workers never wait for each other."""
    if len(run_ids) > 1:
        _LOCK.rows(run_ids)


_LOCK = Prepared(lambda ids: locked(SyncRun.select(SyncRun.id).where(ids.have(SyncRun.id)).order_by(SyncRun.id)))


def set_status(run_id: int, user_id: int, status: str, error: str | None = None) -> None:
    """Mark an unfinished run running or waiting, with the reason, and notify who watches it if that is new."""

    def work() -> None:
        if _SET_STATUS.run(run_id, status, error):
            runs_changed([(run_id, user_id)])

    in_transaction(work)


def _setting(run_id: Node, status: Node, error: Node) -> Any:
    is_new = (SyncRun.status != status) | (fn.COALESCE(SyncRun.error, "") != fn.COALESCE(error, ""))
    return SyncRun.update(status=status, error=error).where((SyncRun.id == run_id) & _UNFINISHED & is_new)


_SET_STATUS = Prepared(_setting, lists=0, values=3)


def mark_pages_read(run_id: int) -> None:
    """The run has seen all the pages it wanted; it ends when the killmails it found are answered."""
    in_transaction(lambda: _MARK_READ.run(run_id))


_MARK_READ = Prepared(lambda run_id: SyncRun.update(walked=1).where(SyncRun.id == run_id), lists=0, values=1)


def recount(run_ids: Sequence[int]) -> list[int]:
    """Recount the saved and failed killmails of runs; end those of which nothing is open. The ids of those it ended."""

    def work() -> list[int]:
        _lock(run_ids)
        ended = _END.rows(run_ids)
        changed = _COUNT.rows(run_ids) if len(ended) < len(set(run_ids)) else []
        if ended or changed:
            runs_changed([*ended, *changed])
        return [run_id for run_id, _ in ended]

    return in_transaction_once(work)


def _counting(ids: Ids) -> Any:
    counting = SyncRun.update(**_counted()).where(ids.have(SyncRun.id) & _UNFINISHED)
    return counting.returning(SyncRun.id, SyncRun.user_id)


def _ending(ids: Ids) -> Any:
    ending = SyncRun.update(status=SUCCEEDED, finished_at=now(), error=None, **_counted())
    settled = ids.have(SyncRun.id) & _UNFINISHED & _SETTLED
    return ending.where(settled).returning(SyncRun.id, SyncRun.user_id)


_COUNT, _END = Prepared(_counting), Prepared(_ending)


def fail(run_id: int, user_id: int, reason: str) -> None:
    """End a run that cannot go on."""
    failed = SyncRun.update(status=FAILED, error=reason[:500], finished_at=now(), **_counted())

    def work() -> None:
        if failed.where((SyncRun.id == run_id) & _UNFINISHED).execute():
            runs_changed([(run_id, user_id)])

    in_transaction(work)


def fail_open(user_id: int, kind: str, reason: str) -> None:
    """End the runs of *kind* whose pages nobody reads any more for this user."""
    unread = SyncRun.select(SyncRun.id).where(
        (SyncRun.user_id == user_id) & (SyncRun.kind == kind) & _UNFINISHED & (SyncRun.walked == 0)
    )
    for run in list(unread.namedtuples()):
        fail(run.id, user_id, reason)


def fail_abandoned(limit: int = 200) -> None:
    """End runs whose pages nobody will read: of users who are not asked any more, and of who reads no corporation's list.

    The runs of everybody else are gone on with by the next sync of the same list.
    """
    is_asked = fn.EXISTS(User.select(User.id).where((User.id == SyncRun.user_id) & (User.status == ACTIVE)))
    reads = fn.EXISTS(
        CorporationFeed.select(CorporationFeed.corporation_id).where(CorporationFeed.user_id == SyncRun.user_id)
    )
    of_corporation = SyncRun.kind == CORPORATION_LIST
    abandoned = SyncRun.select(SyncRun.id, SyncRun.user_id, is_asked.alias("is_asked")).where(
        _UNFINISHED & (SyncRun.walked == 0) & (~is_asked | (of_corporation & ~reads))
    )
    found: Iterable[Any] = abandoned.order_by(SyncRun.id).limit(limit).namedtuples()
    for run in list(found):
        fail(run.id, run.user_id, LOST_LIST if run.is_asked else NOT_ASKED)


def unsettled_runs(limit: int = 200) -> list[int]:
    """Unfinished runs that may only lack their end, for the sweep."""
    found = SyncRun.select(SyncRun.id).where(_UNFINISHED & _SETTLED).order_by(SyncRun.id).limit(limit)
    return [run.id for run in found.namedtuples()]


def prune(keep_seconds: float, window: int = 5000) -> int:
    """Delete runs that ended longer ago than that, at most *window* of the oldest at a time; the number deleted.

    Only runs that ended count as the oldest: those that are open, however many, keep nothing from being deleted.
    """
    ended_ones = SyncRun.select(SyncRun.id, SyncRun.finished_at).where(SyncRun.finished_at.is_null(False))
    oldest = ended_ones.order_by(SyncRun.id).limit(window).alias("oldest")
    ended = Select((oldest,), [oldest.c.id]).where(oldest.c.finished_at < now(-keep_seconds))
    return in_transaction(SyncRun.delete().where(SyncRun.id.in_(ended)).execute)
