"""Reading users for their owners, as trees whose keys are GraphQL's field names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from models.fields import from_any
from models.killmails import CHARACTER
from models.sql import rows


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
