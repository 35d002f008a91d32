"""The curve on /ops of what the board has learned of when people fight: how likely the next killmail is, by time since one
was last seen on any. Pure."""

from __future__ import annotations

import math
from datetime import datetime

from killsync.sync.hazard import DAY, EDGES, HOUR, RECENT_EDGES, Hazard, index_of, middles
from killsync.web.pages.ops_charts import Bar, Chart, Piece

#: Whose curve it is: somebody who is typically seen once a day, and was four times in the week before.
GAP, RECENT = DAY, 4.0
#: Killmails a day at the lower and the upper edge; the scale is logarithmic.
LEAST, MOST = 0.01, 100.0
#: Bars of ages to about two months, as many as a chart's width serves.
SHOWN = 30


def curve(table: Hazard, made: tuple[datetime, int] | None) -> Chart:
    """What *table* expects; *made* says when it was, and of how many killmails."""
    ages, gap, recent = middles(EDGES)[:SHOWN], index_of(GAP, EDGES), index_of(RECENT, RECENT_EDGES)
    width, bars = 100 / SHOWN, []
    for number, age in enumerate(ages):
        daily = table.rates[number][gap][recent] * DAY
        part = math.log(max(daily, LEAST) / LEAST) / math.log(MOST / LEAST)
        height = round(100 * min(1.0, part), 2)
        x = round(number * width, 3)
        piece = Piece("2xx", x, round(100 - height, 2), round(width * 0.9, 3), height)
        bars.append(Bar([piece], x, round(width, 3), f"{_words(age)} after the last: {daily:.2g} killmails a day"))
    whence = "the law of a new board" if made is None else f"learned from {made[1]} killmails, {made[0]:%Y-%m-%d %H:%M}"
    first, last = (table.rates[number][gap][recent] * DAY for number in (0, SHOWN - 1))
    return Chart(
        title="When people fight again",
        unit=f"killmails a day expected of who is seen daily, by time since; logarithmic; {whence}",
        bars=bars,
        kinds=[],
        top=f"{MOST:.0f}",
        ticks=["now", _words(ages[SHOWN // 2]), _words(ages[-1])],
        summary=f"Expected killmails a day by time since the last one: {first:.2g} at once, {last:.2g} after {_words(ages[-1])}",
        is_empty=False,
    )


def _words(seconds: float) -> str:
    if seconds < 2 * HOUR:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / HOUR:.0f} h" if seconds < 2 * DAY else f"{seconds / DAY:.0f} days"
