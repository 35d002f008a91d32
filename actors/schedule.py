"""When to ask for a character's killmails next. Pure: takes what is known, gives a moment."""

from __future__ import annotations

import random
from datetime import datetime, timedelta

HOUR = 3600.0
DAY = 24 * HOUR


def next_poll(
    now: datetime,
    *,
    floor_seconds: float,
    ceiling_seconds: float,
    expires_at: datetime | None,
    newest_kill: datetime | None,
    logged_in_at: datetime | None,
    priority: int = 0,
    jitter: random.Random | None = None,
) -> datetime:
    """The moment of the next poll.

    The interval grows with the time since the character last fought or logged in: the shortest for a day after either,
    then in step with the silence, a priority user at most a quarter of the ceiling. ESI's `Expires` is never undercut
    (asking earlier is answered from the same cache and counts as circumventing it).
    """
    signs = [moment for moment in (newest_kill, logged_in_at) if moment is not None]
    quiet = (now - max(signs)).total_seconds() if signs else ceiling_seconds * 24
    ceiling = max(floor_seconds, ceiling_seconds / 4 if priority > 0 else ceiling_seconds)
    interval = floor_seconds if quiet < DAY else min(ceiling, max(floor_seconds, floor_seconds * quiet / DAY))
    spread = (jitter or random).uniform(0.0, 0.1) * interval
    due = now + timedelta(seconds=interval + spread)
    return max(due, expires_at + timedelta(seconds=1)) if expires_at else due
