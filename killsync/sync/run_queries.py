"""Reading sync runs: as rows for whoever logs or watches one, and for their owners as trees with GraphQL's field names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from peewee import JOIN, Select, fn

from models.sync import SyncRun
from models.users import User


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


def run_tree(run_id: int) -> dict[str, Any] | None:
    """One sync run."""
    run = _runs().where(SyncRun.id == run_id).first()
    return _tree(run) if run is not None else None


def run_page(user_ids: Sequence[int], first: int, before: int | None) -> tuple[list[dict[str, Any]], bool]:
    """Runs of the users, newest first, older than the run *before*; and whether there are more."""
    if not user_ids:
        return [], False
    chosen = _runs().where(SyncRun.user_id.in_(list(user_ids)))
    if before is not None:
        chosen = chosen.where(SyncRun.id < before)
    found = list(chosen.order_by(SyncRun.id.desc()).limit(first + 1))
    return [_tree(run) for run in found[:first]], len(found) > first


def newest_runs(user_ids: Sequence[int]) -> dict[str, dict[str, Any]]:
    """The newest run of each user that ever had one, by the user's id."""
    if not user_ids:
        return {}
    # One step in the index of runs for each user, however many runs there are.
    theirs = SyncRun.alias()
    newest_of_user = theirs.select(fn.MAX(theirs.id)).where(theirs.user_id == User.id)
    newest = User.select(newest_of_user).where(User.id.in_(list(user_ids)))
    trees = [_tree(run) for run in _runs().where(SyncRun.id.in_(newest))]
    return {str(tree["userId"]): tree for tree in trees}


def _runs() -> Select:
    runs: Select = SyncRun.select(SyncRun, User.character_id).join(User, on=(User.id == SyncRun.user_id)).namedtuples()
    return runs


def _tree(run: Any) -> dict[str, Any]:
    return {
        "id": str(run.id),
        "characterId": str(run.character_id),
        "status": run.status.upper(),
        "startedAt": run.started_at,
        "finishedAt": run.finished_at,
        "pages": run.pages,
        "found": run.found,
        "saved": run.saved,
        "skipped": run.skipped,
        "errors": run.errors,
        "esiRequests": run.esi_requests,
        "esiTokens": run.esi_tokens,
        "error": run.error,
        "userId": run.user_id,
    }
