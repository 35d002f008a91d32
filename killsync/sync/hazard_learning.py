"""The hazard that a board's own history shows: killmails of own lists over the time that people were exposed to them. Pure.

Everybody's sightings are gone through once, in order. Between two of them what is known stays as it is and only the age
grows, so a gap is one entry in the bin it ended in, and the time spent in the bins before follows from their number. The hour
changes within a gap: there moments are drawn, and counted by the habit of their hour. Habits are judged by the last weeks
alone and have to be those of the time before, else each killmail would prove the habit that it made.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from math import inf

from killsync.sync.hazard import (
    DAY,
    EDGES,
    GAP_OF_ONE,
    HABIT_EDGES,
    HOUR,
    QUIET,
    RECENT_EDGES,
    Hazard,
    Rhythm,
    by_law,
    index_of,
    law,
    middles,
)

#: A cell's own figures and its neighbours' expectation count alike when the latter is so many killmails.
PRIOR = 1.0
#: Fewer killmails than these teach nothing.
LEAST_EVENTS = 500
#: Killmails that a habit's bin counts as expected, and seen, beforehand.
HABIT_PRIOR = 10.0
#: Mean seconds between two moments that are drawn to see how long people are exposed at which habit.
DRAW_SECONDS = DAY

_Cell = tuple[int, int, int]
_WIDTHS = (*(end - begin for begin, end in pairwise(EDGES)), inf)


class Learner:
    """Counts what people's histories show.

    Args:
        until: the end of history, seconds since the epoch; what happened after is not known.
        judged_from: habits are judged by what happened from here on.
        seed: of the moments that are drawn.
    """

    def __init__(self, until: float, judged_from: float, seed: int = 0) -> None:
        self._until, self._judged_from = until, judged_from
        self._random = random.Random(seed)  # noqa: S311
        self._events: dict[_Cell, float] = defaultdict(float)
        self._ended: dict[_Cell, float] = defaultdict(float)
        self._part: dict[_Cell, float] = defaultdict(float)
        self._habit_events = [0.0] * len(HABIT_EDGES)
        self._habit_exposure: dict[tuple[_Cell, int], float] = defaultdict(float)

    def add(self, seen: Iterable[tuple[float, bool]], habit: str = "") -> None:
        """One character's history.

        Args:
            seen: moment, seconds since the epoch, of each killmail they were on, the oldest first, and whether their own
                list names it.
            habit: their corporation's, of the time before the one that is judged.
        """
        rhythm, last = Rhythm(), -inf
        gap_bin = recent_bin = 0
        for moment, is_own in (*seen, (self._until, None)):
            if last > -inf:
                age = max(0.0, moment - last)
                cell = index_of(age, EDGES), gap_bin, recent_bin
                self._ended[cell] += 1
                self._part[cell] += age - EDGES[cell[0]]
                if is_own:
                    self._events[cell] += 1
                    if habit and age >= QUIET and moment >= self._judged_from:
                        self._habit_events[int(habit[int(moment % DAY // HOUR)])] += 1
                if habit:
                    self._draw(cell[1:], habit, max(last + QUIET, self._judged_from), moment, last)
            if is_own is not None:
                rhythm = rhythm.seen_after(moment - last)
                gap_bin, recent_bin = index_of(rhythm.gap, EDGES), index_of(rhythm.recent, RECENT_EDGES)
                last = moment

    def _draw(self, known: tuple[int, ...], habit: str, begin: float, end: float, last: float) -> None:
        """Count moments between *begin* and *end* of somebody who was last seen at *last*, one for each `DRAW_SECONDS` or so."""
        moment = begin + self._random.expovariate(1 / DRAW_SECONDS)
        while moment < end:
            cell = index_of(moment - last, EDGES), known[0], known[1]
            self._habit_exposure[cell, int(habit[int(moment % DAY // HOUR)])] += DRAW_SECONDS
            moment += self._random.expovariate(1 / DRAW_SECONDS)

    def events(self) -> int:
        """Killmails of own lists that were counted."""
        return int(sum(self._events.values()))

    def hazard(self, hours: Mapping[int, str] | None = None) -> Hazard:
        """What the histories show; of too few killmails the law of a board without any. *hours* are habits as of now.

        A cell that shows little is taken to be like all of its age and gap, those like all of their age, and an age of which
        nothing is known as the law has it.
        """
        if self.events() < LEAST_EVENTS:
            return replace(by_law(), hours=hours or {})
        spent = self._spent()
        everywhere, of_age, of_gap, of_cell = (_Rates(spent, self._events, places) for places in range(4))
        total = everywhere.of((), law(DAY, GAP_OF_ONE, 1.0))
        rates = []
        for age, middle in enumerate(middles(EDGES)):
            by_age = of_age.of((age,), min(law(middle, GAP_OF_ONE, 1.0), total) if middle > DAY else total)
            plane = []
            for gap in range(len(EDGES)):
                by_gap = of_gap.of((age, gap), by_age)
                plane.append(tuple(of_cell.of((age, gap, recent), by_gap) for recent in range(len(RECENT_EDGES))))
            rates.append(tuple(plane))
        return Hazard(tuple(rates), self._habits(rates), hours or {})

    def _spent(self) -> dict[_Cell, float]:
        """The seconds that people spent in each cell."""
        found = {}
        for gap, recent in {cell[1:] for cell in self._ended}:
            beyond = 0.0
            for age in reversed(range(len(EDGES))):
                cell = age, gap, recent
                seconds = self._part.get(cell, 0.0) + (beyond * _WIDTHS[age] if beyond else 0.0)
                beyond += self._ended.get(cell, 0.0)
                if seconds:
                    found[cell] = seconds
        return found

    def _habits(self, rates: Sequence[Sequence[Sequence[float]]]) -> tuple[float, ...]:
        expected = [0.0] * len(HABIT_EDGES)
        for ((age, gap, recent), habit), seconds in self._habit_exposure.items():
            expected[habit] += seconds * rates[age][gap][recent]
        return tuple(
            (seen + HABIT_PRIOR) / (of + HABIT_PRIOR) for seen, of in zip(self._habit_events, expected, strict=True)
        )


class _Rates:
    """Killmails over seconds, of all cells that begin alike in so many of their places."""

    def __init__(self, spent: Mapping[_Cell, float], events: Mapping[_Cell, float], places: int) -> None:
        self._seconds: dict[tuple[int, ...], float] = defaultdict(float)
        self._events: dict[tuple[int, ...], float] = defaultdict(float)
        for cell, seconds in spent.items():
            self._seconds[cell[:places]] += seconds
        for cell, number in events.items():
            self._events[cell[:places]] += number

    def of(self, key: tuple[int, ...], prior: float) -> float:
        """Killmails a second; *prior* counts like `PRIOR` killmails."""
        return (self._events.get(key, 0.0) + PRIOR) / (self._seconds.get(key, 0.0) + PRIOR / prior)
