"""Which day's prices count for a killmail: those of its own day, else of the nearest day of which there are any. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from datetime import date, timedelta


def nearest(day: date, days: Sequence[date]) -> date | None:
    """The one of *days* (ascending) that is nearest to *day*, of two the earlier; None where there are none."""
    place = bisect_left(days, day)
    around = days[max(0, place - 1) : place + 1]
    return min(around, key=lambda known: (abs(known - day), known), default=None)


def reach(day: date, days: Sequence[date]) -> tuple[date | None, date | None]:
    """The first and the last day for which *day*, one of *days* (ascending), is the nearest; None for no end."""
    place = bisect_left(days, day)
    before = days[place - 1] if place > 0 else None
    after = days[place + 1] if place + 1 < len(days) else None
    first = None if before is None else before + timedelta(days=(day - before).days // 2 + 1)
    last = None if after is None else day + timedelta(days=(after - day).days // 2)
    return first, last
