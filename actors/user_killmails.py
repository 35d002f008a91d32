"""`esi_user_killmails_queue`: the pages of one killmail list, a character's or a corporation's."""

from __future__ import annotations

from typing import Any

import dramatiq

from killsync.broker.queues import USER_KILLMAILS
from killsync.sync import characters, corporations


@dramatiq.actor(queue_name=USER_KILLMAILS, max_retries=20, notify_shutdown=True)
def sync_user_killmails(user_id: int, run_id: int | None = None, is_routine: bool = False, **_newer: Any) -> None:
    """Sync the list of one user's character."""
    characters.sync_user(user_id, run_id, is_routine=is_routine)


@dramatiq.actor(queue_name=USER_KILLMAILS, max_retries=20, notify_shutdown=True)
def sync_corporation_killmails(corporation_id: int, run_id: int | None = None, **_newer: Any) -> None:
    """Sync one corporation's list by the token of the Director whose turn it is."""
    corporations.sync_corporation(corporation_id, run_id)
