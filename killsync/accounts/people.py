"""Reading users and sync runs for their owners, as trees whose keys are GraphQL's field names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from models.fields import from_any
from models.killmails import CHARACTER
from models.sql import rows

_RUN = (
    "SELECT s.id, s.status, s.started_at, s.finished_at, s.pages, s.found, s.saved, s.skipped, s.errors, s.user_id, "
    's.error, s.esi_requests, s.esi_tokens, u.character_id FROM sync_run s JOIN "user" u ON u.id = s.user_id'
)


def user_trees(user_ids: Sequence[int]) -> list[dict[str, Any]]:
    """The users, in the order of *user_ids*."""
    if not user_ids:
        return []
    marks = ", ".join(["%s"] * len(user_ids))
    found = rows(
        "SELECT u.id, u.character_id, u.character_name, u.status, u.last_killmail_sync_at, u.next_sync_at, "
        f"(SELECT count(*) FROM involvement i WHERE i.kind = {CHARACTER} AND i.entity_id = u.character_id) "
        f'FROM "user" u WHERE u.id IN ({marks})',
        user_ids,
    )
    trees = {
        row[0]: {
            "id": str(row[0]),
            "characterId": str(row[1]),
            "characterName": row[2],
            "status": str(row[3]).upper(),
            "lastKillmailSyncAt": from_any(row[4]),
            "nextSyncAt": from_any(row[5]),
            "killmailCount": row[6],
        }
        for row in found
    }
    return [trees[number] for number in user_ids if number in trees]


def name_of(user_id: int) -> str | None:
    """The name of a user's character."""
    found = rows('SELECT character_name FROM "user" WHERE id = %s', (user_id,))
    return str(found[0][0]) if found else None


def run_tree(run_id: int) -> dict[str, Any] | None:
    """One sync run."""
    found = rows(f"{_RUN} WHERE s.id = %s", (run_id,))
    return _tree(found[0]) if found else None


def run_page(user_ids: Sequence[int], first: int, before: int | None) -> tuple[list[dict[str, Any]], bool]:
    """Runs of the users, newest first, older than the run *before*; and whether there are more."""
    if not user_ids:
        return [], False
    marks = ", ".join(["%s"] * len(user_ids))
    older, values = ("AND s.id < %s", [before]) if before is not None else ("", [])
    found = rows(
        f"{_RUN} WHERE s.user_id IN ({marks}) {older} ORDER BY s.id DESC LIMIT %s", (*user_ids, *values, first + 1)
    )
    return [_tree(row) for row in found[:first]], len(found) > first


def newest_runs(user_ids: Sequence[int]) -> dict[str, dict[str, Any]]:
    """The newest run of each user that ever had one, by the user's id."""
    if not user_ids:
        return {}
    newest = " UNION ALL ".join(["SELECT (SELECT max(id) FROM sync_run WHERE user_id = %s)"] * len(user_ids))
    trees = [_tree(row) for row in rows(f"{_RUN} WHERE s.id IN ({newest})", user_ids)]
    return {str(tree["userId"]): tree for tree in trees}


def _tree(row: tuple[Any, ...]) -> dict[str, Any]:
    (
        number,
        status,
        started,
        finished,
        pages,
        found,
        saved,
        skipped,
        errors,
        user_id,
        error,
        requests,
        tokens,
        character,
    ) = row
    return {
        "id": str(number),
        "characterId": str(character),
        "status": str(status).upper(),
        "startedAt": from_any(started),
        "finishedAt": from_any(finished),
        "pages": pages,
        "found": found,
        "saved": saved,
        "skipped": skipped,
        "errors": errors,
        "esiRequests": requests,
        "esiTokens": tokens,
        "error": error,
        "userId": user_id,
    }
