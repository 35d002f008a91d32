"""Bar charts of activity as numbers that a template draws as SVG: by day over 90 days, and by hour of EVE's day. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from killsync.killmails.activity import DAYS, Activity


@dataclass(frozen=True)
class Bar:
    """One bar: its label, its figures, and heights in percent of the chart."""

    label: str
    kills: int
    losses: int
    kills_height: float
    losses_height: float


@dataclass(frozen=True)
class Chart:
    """Kills go up from the line, losses down; `line` is its height in percent from the top."""

    bars: list[Bar]
    line: float
    most_kills: int
    most_losses: int

    @property
    def is_empty(self) -> bool:
        return not (self.most_kills or self.most_losses)


def by_day(activity: Activity, now: datetime) -> Chart:
    """A bar for each of the last DAYS days, today's last."""
    today = now.date()
    figures = {(today - timedelta(days=back)).isoformat(): (0, 0) for back in reversed(range(DAYS))}
    for hour in activity.hours:
        label = hour.start.date().isoformat()
        if label in figures:
            kills, losses = figures[label]
            figures[label] = (kills + hour.kills, losses + hour.losses)
    return _chart(figures)


def by_hour(activity: Activity) -> Chart:
    """A bar for each hour of EVE's day, over the same days."""
    figures = {f"{hour:02}:00": (0, 0) for hour in range(24)}
    for each in activity.hours:
        label = f"{each.start.hour:02}:00"
        kills, losses = figures[label]
        figures[label] = (kills + each.kills, losses + each.losses)
    return _chart(figures)


def _chart(figures: dict[str, tuple[int, int]]) -> Chart:
    most_kills = max(kills for kills, _ in figures.values())
    most_losses = max(losses for _, losses in figures.values())
    # One scale for both directions, so that a kill is as tall as a loss.
    unit = 100 / max(most_kills + most_losses, 1)
    bars = [
        Bar(label, kills, losses, round(kills * unit, 2), round(losses * unit, 2))
        for label, (kills, losses) in figures.items()
    ]
    return Chart(bars, round(most_kills * unit, 2), most_kills, most_losses)
