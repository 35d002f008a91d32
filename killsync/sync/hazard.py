"""How likely a list is to bring a killmail at each moment to come, and when that is worth a request. Pure.

A hazard is an expectation of killmails a second. It depends on how long ago the list's owner was last seen on any killmail
(the age, which grows while nothing happens), on the typical gap between their sittings, on what the month before the last
killmail brought, and on the hours at which their corporation uses to fight. A poll is due when the killmails expected since
the last one, each by how long after that poll it is expected, come to the price of a request:

    integral over u from 0 to T of u * hazard(age + u) = price

That is the T at which waiting and price together, for each second, are least. For a constant hazard it is the square root
of 2 * price / hazard, and half of the price is paid in waiting.

A killmail that waits beyond a quarter of an hour is late, and counts as if it had waited `LATE_COST` longer. A poll past
`LATE_AFTER` makes late what was expected so long before it, so there the left side grows at once by

    LATE_COST * integral over u from 0 to LATE_AFTER of hazard(age + u)

Many lists are therefore asked after just a quarter of an hour. It is exact where the hazard is constant.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import exp, expm1, inf, log, sqrt

HOUR = 3600.0
DAY = 24 * HOUR
WEEK, MONTH = 7 * DAY, 30 * DAY

#: A poll makes late what waited for longer than this, seconds: a quarter of an hour, less what a poll begins late.
LATE_AFTER = 870.0
#: Seconds that a late killmail counts as if it had waited beside.
LATE_COST = 700.0

#: Edges of ages and of typical gaps, seconds: half an octave each, to a year and a half.
EDGES = (0.0, *(300.0 * 2 ** (number / 2) for number in range(35)))
#: Edges of killmails of the last month, those further back counting less.
RECENT_EDGES = (0.0, 1.5, 2.5, 4.0, 7.0, 12.0, 20.0, 40.0)
#: Edges of how much more than at an even hour of the day a corporation is seen at this one; ten of them, a digit each.
HABIT_EDGES = (0.0, 0.1, 0.2, 0.4, 0.7, 1.0, 1.5, 2.2, 3.2, 5.0)
#: Who has not been seen for so long, seconds, has left: what comes next is another sitting. Until then habits do not matter:
#: who fights, fights.
QUIET = 2 * HOUR
#: What an hour's neighbours count for it, the hour itself in the middle.
HABIT_BLUR = (0.1, 0.2, 0.4, 0.2, 0.1)
#: Days that each hour counts beforehand: who was seen once has no habit yet.
HABIT_PRIOR = 0.5
#: How much of a typical gap stays when another is seen, once there are many; the first ones count alike.
KEEP = 0.95
#: The gap of who was seen once, which counts like a gap that was seen, and of who was never seen, seconds.
GAP_OF_ONE, GAP_OF_NONE = 30 * DAY, 60 * DAY

#: The law of a board without history: killmails of these spans, seconds, count in equal parts for what comes next ...
SPANS = (HOUR, DAY, WEEK, 60 * DAY)
#: ... beside one in as long as somebody has been quiet, and this, seconds.
LEAST_QUIET = 30 * DAY


@dataclass(frozen=True)
class Rhythm:
    """How somebody uses to fight, as of the last killmail they were seen on.

    Attributes:
        gap: typical seconds between two sittings, from the last killmail of one to the first of the next; a running mean of
            their logarithms.
        recent: killmails of the month before, the last one among them, those further back counting less.
        gaps: so many gaps between sittings were seen.
    """

    gap: float = GAP_OF_NONE
    recent: float = 0.0
    gaps: int = 0

    def seen_after(self, gap: float) -> Rhythm:
        """The rhythm once they are seen again after *gap* seconds; infinite for the first time."""
        if gap == inf:
            return Rhythm(GAP_OF_ONE, 1.0)
        level, recent, gaps = _seen_after(gap, log(self.gap), self.recent, self.gaps)
        return Rhythm(exp(level), recent, gaps)


def _seen_after(gap: float, level: float, recent: float, gaps: int) -> tuple[float, float, int]:
    """(logarithm of the typical gap, killmails of the month, gaps between sittings) after one more *gap*, seconds."""
    if gap >= QUIET:
        keep = min((gaps + 1) / (gaps + 2), KEEP)
        level, gaps = keep * level + (1 - keep) * log(gap), gaps + 1
    return level, 1.0 + recent * exp(-max(0.0, gap) / MONTH), gaps


def rhythm_of(moments: Sequence[float]) -> Rhythm:
    """The rhythm of who was on killmails of these moments, seconds, the oldest first."""
    if len(moments) < 2:
        return Rhythm().seen_after(inf) if moments else Rhythm()
    level, recent, gaps = log(GAP_OF_ONE), 1.0, 0
    # At the end of each sync, of up to sixty killmails: no object for each.
    for before, moment in pairwise(moments):
        level, recent, gaps = _seen_after(moment - before, level, recent, gaps)
    return Rhythm(exp(level), recent, gaps)


def habit_of(days: Sequence[float]) -> str:
    """A habit: for each hour of the day the bin of `HABIT_EDGES`, from the days on which somebody was seen in that hour."""
    total = sum(days) + 24 * HABIT_PRIOR
    blurred = (
        sum(part * days[(hour + offset) % 24] for offset, part in zip(range(-2, 3), HABIT_BLUR, strict=True))
        for hour in range(24)
    )
    return "".join(str(index_of(24 * (near + HABIT_PRIOR) / total, HABIT_EDGES)) for near in blurred)


def index_of(value: float, edges: Sequence[float]) -> int:
    """Into which of the bins that begin at *edges* a value falls; below the first one counts as in it."""
    return max(0, bisect_right(edges, value) - 1)


def law(age: float, gap: float, recent: float) -> float:
    """Killmails a second as a board without history has it: of the last hour, day, week and two months, in equal parts.

    Of a month's killmails each span has the part that it has of the sittings, and the last killmail at least.
    """
    total, of_month = 1 / (LEAST_QUIET + age), _sittings(gap, MONTH)
    for span in SPANS:
        seen = max(min(recent, 1.0), recent * _sittings(gap, span) / of_month)
        total += seen * exp(-age / span) / span / len(SPANS)
    return total


def _sittings(gap: float, span: float) -> float:
    """Sittings every *gap* seconds, the last one among them, those further back counting less."""
    return -1 / expm1(-max(gap, QUIET) / span)


Table = Sequence[Sequence[Sequence[float]]]


@dataclass(frozen=True)
class Hazard:
    """What is expected of everybody, by what is known of them.

    Attributes:
        rates: killmails a second by age, typical gap and killmails of the week, in bins of `EDGES` and `RECENT_EDGES`.
        habits: factors by habit of the hour, in bins of `HABIT_EDGES`.
        hours: each corporation's habit, where it is known.
    """

    rates: Table
    habits: Sequence[float] = (1.0,) * len(HABIT_EDGES)
    hours: Mapping[int, str] = field(default_factory=dict)

    def waits(
        self, age: float, rhythm: Rhythm, price: float, most: float, *, moment: float = 0.0, habit: str = "",
        extra: float = 0.0,
    ) -> tuple[float, float, float]:  # fmt: skip
        """Seconds after the last poll at which another is worth *price*, and twice as much; killmails a second until then.

        Args:
            age: seconds since the list's owner was last seen on a killmail.
            rhythm: theirs.
            price: of a request, in seconds that killmails wait.
            most: seconds.
            moment: of the last poll, seconds since the epoch; matters with a *habit* alone.
            habit: of their corporation.
            extra: killmails a second beside what the table expects.
        """
        gap, recent = index_of(rhythm.gap, EDGES), index_of(rhythm.recent, RECENT_EDGES)
        found: list[float] = []
        bin_, reached, expected, since, late = index_of(age, EDGES), 0.0, 0.0, 0.0, False
        last = len(EDGES) - 1
        # Between two edges, of ages or of hours, the hazard is constant: h * (t**2 - since**2) / 2 is added until t.
        while True:
            rate = self.rates[bin_][gap][recent]
            until = EDGES[bin_ + 1] - age if bin_ < last else inf
            if habit:
                if age + since < QUIET:
                    until = min(until, QUIET - age)
                else:
                    hour = int((moment + since) // HOUR)
                    rate *= self.habits[int(habit[hour % 24])]
                    until = min(until, (hour + 1) * HOUR - moment)
            until, rate = min(until, most if late else LATE_AFTER, most), rate + extra
            more = rate * (until * until - since * since) / 2
            while len(found) < 2 and reached + more >= (price_ := price * (len(found) + 1)):
                found.append(sqrt(since * since + 2 * max(0.0, price_ - reached) / rate))
            if len(found) == 2 or until >= most:
                cheap, dear = (*found, most, most)[:2]
                return cheap, dear, (expected + rate * (dear - since)) / dear
            reached, expected = reached + more, expected + rate * (until - since)
            since = max(until, since + 1e-3)
            if not late and since >= LATE_AFTER:
                late, reached = True, reached + LATE_COST * expected
            while bin_ < last and age + since >= EDGES[bin_ + 1] - 1e-6:
                bin_ += 1


def by_law() -> Hazard:
    """What a board without history expects."""
    return Hazard(
        tuple(
            tuple(tuple(law(age, gap, recent) for recent in middles(RECENT_EDGES)) for gap in middles(EDGES))
            for age in middles(EDGES)
        )
    )


def middles(edges: Sequence[float]) -> list[float]:
    """What stands for each bin: the first one's end halved, else the mean of the logarithms, of the last one its begin."""
    inner = [sqrt(begin * end) if begin else end / 2 for begin, end in pairwise(edges)]
    return [*inner, edges[-1]]
