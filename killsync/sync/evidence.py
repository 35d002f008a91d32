"""A killmail that was just saved is evidence about everybody on it: those of them who are ours are polled sooner.

Their own lists name it too, and maybe more that nobody else's names. Advice only: nothing is lost when it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from killsync import settings as settings_module
from killsync.killmails.mapping import parse_time
from killsync.sync import schedule, user_polls
from models import utcnow


def seen(body: Mapping[str, Any]) -> int:
    """Move the polls of our users on a killmail (a checked body of ESI's) forward; how many were moved.

    History moves nobody's and costs no statement. A fresh killmail costs one look-up, and one update if any of our users on
    it is scheduled later than it suggests.
    """
    now = utcnow()
    age = max(0.0, (now - parse_time(body["killmail_time"])).total_seconds())
    if age > schedule.FRESH:
        return 0
    parties = (body["victim"], *body["attackers"])
    characters = sorted({party["character_id"] for party in parties if party.get("character_id")})
    users = user_polls.users_on(characters) if characters else []
    limits = schedule.limits_of(settings_module.current())
    sooner = []
    for user in users:
        phase = schedule.phase_of(user.user_id)
        due = now + timedelta(seconds=schedule.early_poll_delay(age, len(users), phase, limits))
        if user.polled_at is not None:
            due = max(due, user.polled_at + timedelta(seconds=limits.floor))
        if user.is_free and user.next_sync_at is not None and user.next_sync_at > due:
            sooner.append((user.user_id, due))
    return user_polls.move_forward(sooner)
