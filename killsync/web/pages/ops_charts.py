"""The operator's charts: figures by the minute as stacked bars, ready to be drawn as SVG by the template. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from killsync.observability import counters

#: Bars of a chart; a bar is as many minutes wide as the range needs.
BARS = 60
#: Hours that may be looked at.
HOURS = (1, 6, 24)

#: As `counters.slices` gives them for `span`.
Figures = Sequence[tuple[int, str, str, int, int]]


@dataclass(frozen=True)
class Piece:
    """One colour of one bar, in percent of the chart's width and height."""

    kind: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Bar:
    """One bar: its pieces, and what it stands for in words."""

    pieces: list[Piece]
    x: float
    width: float
    text: str


@dataclass(frozen=True)
class Chart:
    """One chart. `top` is the value at its upper edge, `ticks` are the labels below it."""

    title: str
    unit: str
    bars: list[Bar]
    kinds: list[tuple[str, str]]
    top: str
    ticks: list[str]
    summary: str
    is_empty: bool


def span(now: datetime, hours: int) -> tuple[datetime, float]:
    """Where the charts of the last *hours* begin, and how many seconds a bar stands for. The running minute is the last."""
    seconds = hours * 3600 / BARS
    return now.replace(second=0, microsecond=0) + timedelta(minutes=1) - timedelta(seconds=seconds * BARS), seconds


def charts(found: Figures, now: datetime, hours: int) -> list[Chart]:
    """The charts of the last *hours*."""
    axis = _Axis(*span(now, hours))

    def esi_kind(detail: str) -> str:
        outcome = detail.rsplit("|", 1)[-1]
        return outcome if outcome in ("2xx", "304") else "bad"

    return [
        axis.chart("Killmails stored", "per minute", found, counters.KILLMAILS, lambda _: "2xx", [("2xx", "stored")]),
        axis.chart("Requests to ESI", "per minute", found, counters.REQUESTS, esi_kind,
                   [("2xx", "answered"), ("304", "unchanged"), ("bad", "failed")]),
        axis.chart("Tokens spent", "per minute", found, counters.TOKENS, lambda detail: "2xx" if detail == "killmail" else "304",
                   [("2xx", "killmails"), ("304", "lists and other")]),
        axis.chart("Killmails still to fetch", "at that time", found, counters.PENDING, lambda _: "304", [("304", "pending")],
                   is_level=True),
        axis.chart("Users who wait", "more than 5 minutes", found, counters.LATE, lambda _: "bad", [("bad", "late")],
                   is_level=True),
        axis.chart("Webhook messages", "per minute", found, counters.WEBHOOKS,
                   lambda detail: {"taken": "2xx", "later": "304"}.get(detail, "bad"),
                   [("2xx", "taken"), ("304", "put off"), ("bad", "failed")]),
    ]  # fmt: skip


class _Axis:
    """The bars' places in time."""

    def __init__(self, start: datetime, seconds: float) -> None:
        self.start = start
        self.step = timedelta(seconds=seconds)

    def chart(
        self, title: str, unit: str, found: Figures, name: str, kind_of: object, kinds: list[tuple[str, str]],
        *, is_level: bool = False,
    ) -> Chart:  # fmt: skip
        """A chart of one figure. A level is drawn at its highest in a bar, a flow as its mean by the minute."""
        assert callable(kind_of)
        sums: list[dict[str, float]] = [{} for _ in range(BARS)]
        minutes = self.step / timedelta(minutes=1)
        for position, each, detail, total, highest in found:
            if each != name or not 0 <= position < BARS:
                continue
            kind = kind_of(detail)
            if is_level:
                sums[position][kind] = float(highest)
            else:
                sums[position][kind] = sums[position].get(kind, 0.0) + total / minutes
        top = _round_up(max((sum(each.values()) for each in sums), default=0.0))
        bars = [self._bar(position, each, kinds, top) for position, each in enumerate(sums)]
        totals = [sum(each.values()) for each in sums]
        summary = f"{title}, {unit}: at most {_text(max(totals))}, last {_text(totals[-2])}"
        return Chart(
            title, unit, bars, kinds if len(kinds) > 1 else [], _text(top), self._ticks(), summary, not any(totals)
        )

    def _bar(self, position: int, amounts: dict[str, float], kinds: list[tuple[str, str]], top: float) -> Bar:
        width = 100.0 / BARS
        pieces, y = [], 100.0
        for kind, _ in kinds:
            height = 100.0 * amounts.get(kind, 0.0) / top if top else 0.0
            if height > 0:
                # What is there at all can be seen.
                height = max(height, 1.5)
                y -= height
                pieces.append(
                    Piece(
                        kind,
                        round(position * width, 3),
                        round(max(y, 0.0), 2),
                        round(width * 0.82, 3),
                        round(height, 2),
                    )
                )
        moment = self.start + self.step * position
        said = ", ".join(f"{_text(amounts[kind])} {text}" for kind, text in kinds if amounts.get(kind))
        return Bar(pieces, round(position * width, 3), round(width, 3), f"{moment:%H:%M} {said or 'nothing'}")

    def _ticks(self) -> list[str]:
        return [f"{self.start + self.step * (BARS * part // 4):%H:%M}" for part in range(4)] + ["now"]


def _round_up(value: float) -> float:
    """The next round number: 1, 2 or 5 times a power of ten."""
    if value <= 0:
        return 1.0
    size = 10.0 ** math.floor(math.log10(value))
    return next(size * step for step in (1, 2, 5, 10) if size * step >= value - 1e-9)


def _text(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"
