"""Reading sync runs: as rows for whoever logs or watches one, and as values for the owners of their characters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from operator import add
from typing import Any

import msgspec
from peewee import JOIN, fn

from models.sync import SyncRun
from models.users import User


class RunSummary(msgspec.Struct, kw_only=True):
    """One sync run, as the owner of its character sees it."""

    id: int
    user_id: int
    character_id: int
    #: queued, running, waiting, succeeded or failed.
    status: str
    started_at: datetime
    finished_at: datetime | None
    pages: int
    found: int
    saved: int
    skipped: int
    errors: int
    esi_requests: int
    esi_tokens: int
    error: str | None


@dataclass(frozen=True)
class RunPage:
    """One page of runs, newest first."""

    runs: list[RunSummary]
    has_next: bool


def _select() -> Any:
    columns = (
        SyncRun.id, SyncRun.user_id, SyncRun.status, SyncRun.started_at, SyncRun.finished_at, SyncRun.pages,
        SyncRun.found, SyncRun.saved, SyncRun.skipped, SyncRun.errors, SyncRun.esi_requests, SyncRun.esi_tokens,
        SyncRun.error, User.character_id,
    )  # fmt: skip
    return SyncRun.select(*columns).join(User, on=User.id == SyncRun.user_id).objects(RunSummary)


def run_summary(run_id: int) -> RunSummary | None:
    """One sync run."""
    found: RunSummary | None = _select().where(SyncRun.id == run_id).first()
    return found


def run_page(user_ids: Sequence[int], first: int, before: int | None) -> RunPage:
    """Runs of the users, newest first, at most *first* of those older than the run *before*."""
    if not user_ids:
        return RunPage([], has_next=False)
    query = _select().where(SyncRun.user_id.in_(user_ids))
    if before is not None:
        query = query.where(SyncRun.id < before)
    found = list(query.order_by(SyncRun.id.desc()).limit(first + 1))
    return RunPage(found[:first], has_next=len(found) > first)


def newest_runs(user_ids: Sequence[int]) -> dict[int, RunSummary]:
    """The newest run of each user that ever had one, by the user's id."""
    if not user_ids:
        return {}
    # One look at the end of the index for each user: grouping would read all their runs.
    newest = [SyncRun.select(fn.MAX(SyncRun.id)).where(SyncRun.user_id == user_id) for user_id in user_ids]
    return {run.user_id: run for run in _select().where(SyncRun.id.in_(reduce(add, newest)))}


def run_row(run_id: int) -> dict[str, Any] | None:
    """A sync run as a dict of its columns, with `character_name`."""
    found: dict[str, Any] | None = (
        SyncRun.select(SyncRun, User.character_name)
        .join(User, JOIN.LEFT_OUTER, on=(User.id == SyncRun.user_id))
        .where(SyncRun.id == run_id)
        .dicts()
        .first()
    )
    return found
