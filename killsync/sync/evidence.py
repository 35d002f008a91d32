"""Killmails that were just saved are evidence about everybody on them: those of them who are ours are polled sooner.

Their own lists name what they had the final blow of or lost, which nobody else's does. Advice only: nothing is lost when it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from killsync import settings as settings_module
from killsync.killmails.mapping import parse_time
from killsync.sync import poll_table, schedule, user_polls
from models import utcnow


def seen(bodies: Iterable[Mapping[str, Any]]) -> int:
    """Move the polls of our users on these killmails (checked bodies of ESI's) forward; how many were moved.

    History moves nobody's and costs no statement. Fresh killmails cost one look-up together, and one update if any of our
    users on them is scheduled later than they suggest.
    """
    now = utcnow()
    fresh = [(age, _characters(body)) for body in bodies if (age := _age(body, now)) <= schedule.FRESH]
    named = sorted({character for _, characters in fresh for character in characters})
    ours = {user.character_id: user for user in user_polls.users_on(named)} if named else {}
    limits = schedule.limits_of(settings_module.current())
    if not ours:
        return 0
    table = poll_table.current().read()
    sooner: dict[int, datetime] = {}
    for age, characters in fresh:
        users = [ours[character] for character in characters if character in ours]
        for user in users:
            delay = schedule.early_poll_delay(age, user.rhythm, schedule.phase_of(user.user_id), table, limits)
            due = now + timedelta(seconds=delay)
            if user.polled_at is not None:
                due = max(due, user.polled_at + timedelta(seconds=limits.floor))
            if user.is_free and user.next_sync_at is not None and user.next_sync_at > due:
                sooner[user.user_id] = min(due, sooner.get(user.user_id, due))
    return user_polls.move_forward(sorted(sooner.items()))


def _age(body: Mapping[str, Any], now: datetime) -> float:
    """Seconds since a killmail, 0.0 for one of the future."""
    return max(0.0, (now - parse_time(body["killmail_time"])).total_seconds())


def _characters(body: Mapping[str, Any]) -> set[int]:
    """Everybody on a killmail."""
    return {party["character_id"] for party in (body["victim"], *body["attackers"]) if party.get("character_id")}
