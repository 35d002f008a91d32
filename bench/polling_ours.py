"""Killsync's rule over many lists at once: its table is learned, and read, by `killsync.sync` itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from bench.activity import DAY, HOUR, PAST, SPAN, Activity, Floats, Ints
from bench.polling_world import World
from killsync.sso.refresh import MARGIN
from killsync.sync import hazard, schedule
from killsync.sync.hazard import Hazard
from killsync.sync.hazard_learning import Learner
from killsync.sync.schedule import PollLimits

#: Habits are judged by the last days before moment 0 and are those of the time before.
JUDGED = 20 * DAY
#: More than any moment: what keeps the logins of two lists apart.
APART = 4 * SPAN
EDGES, RECENT_EDGES = np.array(hazard.EDGES), np.array(hazard.RECENT_EDGES)


def limits(busy_gap: float) -> PollLimits:
    """The limits that Killsync has by default."""
    return PollLimits(floor=300.0, ceiling=6 * HOUR, busy_gap=busy_gap)


def covered(world: World, lists: Ints) -> NDArray[np.bool_]:
    """Whose killmails arrive by their corporation's list."""
    found: NDArray[np.bool_] = np.concatenate((world.feed >= 0, np.zeros(world.number - world.characters, bool)))[lists]
    return found


@lru_cache(maxsize=4)
def _learned(activity: _ById) -> Hazard:
    return learned(activity.activity)


@dataclass(frozen=True)
class _ById:
    """An activity as a key: itself and nothing that looks like it."""

    activity: Activity

    def __hash__(self) -> int:
        return id(self.activity)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ById) and other.activity is self.activity


def learned(activity: Activity) -> Hazard:
    """The table that the history before moment 0 gives."""
    mail = activity.mail_of_member
    times = activity.times[mail]
    past = np.flatnonzero(times < 0)
    order = past[np.lexsort((times[past], activity.members[past]))]
    who, moment = activity.members[order], times[order].tolist()
    own = ((activity.blow[mail] == activity.members) | (activity.victim[mail] == activity.members))[order].tolist()
    ends = np.searchsorted(who, np.arange(len(activity.corporation) + 1)).tolist()
    before, corporation = _habits(activity, -JUDGED), activity.corporation.tolist()
    learner = Learner(0.0, -JUDGED)
    for number, (begin, end) in enumerate(pairwise(ends)):
        if end > begin:
            learner.add(zip(moment[begin:end], own[begin:end], strict=True), before.get(corporation[number], ""))
    return learner.hazard(_habits(activity, 0.0))


def _habits(activity: Activity, until: float) -> dict[int, str]:
    """Each corporation's habit, of its killmails before *until*."""
    mail = activity.mail_of_member
    times, corporation = activity.times[mail], activity.corporation[activity.members]
    hours = ((times[times < until] + PAST) // HOUR).astype(int)
    seen = np.unique(corporation[times < until] * 1_000_000 + hours)
    days = np.zeros((int(corporation.max()) + 1, 24))
    np.add.at(days, (seen // 1_000_000, seen % 1_000_000 % 24), 1)
    return {int(number): hazard.habit_of(days[number].tolist()) for number in np.unique(seen // 1_000_000)}


class Arrays:
    """`Hazard.waits` for arrays of lists; a test holds the two together."""

    def __init__(self, table: Hazard, corporations: int) -> None:
        self.rates = np.array(table.rates)
        self.habits = np.array([*table.habits, 1.0])
        nothing = [len(table.habits)] * 24
        self.hours = np.array([[int(each) for each in table.hours.get(n, "")] or nothing for n in range(corporations)])

    def waits(
        self, age: Floats, gap: Floats, recent: Floats, price: float, most: float, moment: Floats, corporation: Ints,
        extra: Floats | float = 0.0,
    ) -> tuple[Floats, Floats, Floats]:  # fmt: skip
        """Seconds after *moment* at which a poll is worth *price*, and twice as much; killmails a second until then."""
        extra = np.broadcast_to(extra, age.shape)
        age = np.minimum(age, 4e7)  # in the last bin anyway
        g, r = _bins(gap, EDGES), _bins(recent, RECENT_EDGES)
        found, expected_by = np.full((2, len(age)), most), np.zeros(len(age))
        active, since, reached, expected = np.arange(len(age)), *np.zeros((3, len(age)))
        while len(active):
            old, begin = age[active], since[active]
            at = old + begin + 1e-6
            bin_ = _bins(at, EDGES)
            rate = self.rates[bin_, g[active], r[active]]
            until = np.append(EDGES[1:], np.inf)[bin_] - old
            is_quiet = at >= hazard.QUIET
            hour = np.floor((moment[active] + begin + 1e-6) / HOUR)
            habit = self.habits[self.hours[corporation[active], (hour % 24).astype(int)]]
            rate = np.where(is_quiet, rate * habit, rate) + extra[active]
            ends = np.where(is_quiet, (hour + 1) * HOUR - moment[active], hazard.QUIET - old)
            jump = np.where(begin < hazard.LATE_AFTER, hazard.LATE_AFTER, np.inf)
            until = np.maximum(np.minimum(np.minimum(np.minimum(until, ends), jump), most), begin + 1e-3)
            before, after = reached[active], reached[active] + rate * (until**2 - begin**2) / 2
            for number in range(2):
                cost = price * (number + 1)
                here = (found[number, active] == most) & (after >= cost)
                root = np.sqrt(begin**2 + 2 * np.maximum(0.0, cost - before) / rate)
                found[number, active[here]] = np.minimum(root[here], most)
            ends_here = (after >= 2 * price) | (until >= most)
            expected_by[active] = expected[active] + rate * (found[1, active] - begin)
            expected[active] += rate * (until - begin)
            becomes_late = (begin < hazard.LATE_AFTER) & (until >= hazard.LATE_AFTER)
            reached[active] = after + hazard.LATE_COST * expected[active] * becomes_late
            since[active] = until
            active = active[~ends_here]
        return found[0], found[1], expected_by / found[1]


def _bins(values: Floats, edges: Floats) -> Ints:
    return np.maximum(np.searchsorted(edges, values, side="right") - 1, 0)


@dataclass
class Ours:
    """Killsync's rule; what is known of each list's owner is kept as the rhythm and the moment they were last seen.

    *logins*: so large a part of those who fight log in, and so look at the page, in the half hour before a fight or in it.
    """

    busy_gap: float
    logins: float = 0.0
    margin: float = MARGIN.total_seconds()
    habits: bool = True
    table: Hazard | None = None
    gap: Floats = field(init=False)
    recent: Floats = field(init=False)
    gaps: Ints = field(init=False)

    def begin(self, world: World) -> Floats:
        act = world.activity
        table = self.table or _learned(_ById(act))
        self.arrays = Arrays(table if self.habits else Hazard(table.rates), int(act.corporation.max()) + 1)
        self.gap, self.recent = np.full(world.number, hazard.GAP_OF_NONE), np.zeros(world.number)
        self.gaps, self.seen_at = np.zeros(world.number, dtype=np.int64), np.full(world.number, -np.inf)
        self.corporation = np.zeros(world.number, dtype=np.int64)
        self.corporation[: world.characters] = act.corporation
        self.corporation[world.feed[world.feed >= 0]] = act.corporation[world.feed >= 0]
        self.login = self._logins(act)
        past = np.flatnonzero(act.times < 0)
        index, lists = world.parties(past)
        self._see(lists, act.times[past][index])
        everybody = np.arange(world.number)
        return self._interval(world, everybody, np.zeros(world.number), np.zeros(world.number))

    def _logins(self, act: Activity) -> Floats:
        """(list, moment) of each login, sorted, as one number: `list * APART + moment`."""
        rng, fights = np.random.default_rng(13), act.sessions
        chosen = np.flatnonzero(rng.random(len(fights.who)) < self.logins)
        moment = np.maximum(0.0, fights.begin[chosen] - rng.uniform(-0.5, 0.5, len(chosen)) * HOUR)
        found: Floats = np.sort(fights.who[chosen] * APART + np.minimum(moment, SPAN))
        return np.concatenate(([-np.inf], found, [np.inf]))

    def _see(self, lists: Ints, moments: Floats) -> None:
        """The rhythms go on, killmail by killmail."""
        order = np.lexsort((moments, lists))
        lists, moments = lists[order], moments[order]
        rank = np.arange(len(lists)) - np.searchsorted(lists, lists)
        by_rank = np.argsort(rank, kind="stable")
        for chosen in np.split(by_rank, np.cumsum(np.bincount(rank))[:-1]) if len(rank) else ():
            who, moment = lists[chosen], moments[chosen]
            gap = moment - self.seen_at[who]
            is_first, is_new = np.isinf(gap), gap >= hazard.QUIET
            keep = np.where(is_new, np.minimum((self.gaps[who] + 1) / (self.gaps[who] + 2), hazard.KEEP), 1.0)
            level = keep * np.log(self.gap[who]) + (1 - keep) * np.log(np.where(is_new & ~is_first, gap, 1.0))
            self.gap[who] = np.where(is_first, hazard.GAP_OF_ONE, np.exp(level))
            self.gaps[who] += is_new & ~is_first
            self.recent[who] = 1.0 + self.recent[who] * np.exp(-np.maximum(gap, 0.0) / hazard.MONTH)
            self.seen_at[who] = np.maximum(self.seen_at[who], moment)

    def _interval(self, world: World, who: Ints, now: Floats, left: Floats) -> Floats:
        allowed = limits(self.busy_gap)
        age = np.maximum(0.0, now - np.maximum(self.seen_at[who], world.last_kill[who]))
        price = schedule.price_of(allowed)
        before = now - (self.login[np.searchsorted(self.login, who * APART + now, side="right") - 1] - who * APART)
        lately = np.flatnonzero(before < APART / 2)
        extra = np.zeros(len(who))
        extra[lately] = [schedule.login_rate(each) for each in before[lately].tolist()]
        cheap, dear, rate = self.arrays.waits(
            age, self.gap[who], self.recent[who], price, allowed.ceiling, now, self.corporation[who], extra
        )
        seconds = schedule.chosen(cheap, dear, rate, left, price)
        seconds = np.where(covered(world, who), allowed.ceiling, np.clip(seconds, allowed.floor, allowed.ceiling))
        return seconds

    def after(self, world: World, who: Ints, now: Floats) -> Floats:
        left = np.maximum(0.0, world.token_until[who] - self.margin - schedule.LATE - now)
        seconds: Floats = schedule.spread(self._interval(world, who, now, left), world.rng.random(len(who)), left)
        # Who logs in is asked at once.
        after = self.login[np.searchsorted(self.login, who * APART + now, side="right")] - who * APART - now
        return np.minimum(seconds, after)

    def heard(self, world: World, mails: Ints, now: Floats) -> None:
        index, lists = world.parties(mails)
        happened, known = world.activity.times[mails][index], now[index]
        self._see(lists, happened)
        fresh = (known - happened <= schedule.FRESH) & ~covered(world, lists)
        lists, order = np.unique(lists[fresh], return_inverse=True)
        moment = np.zeros(len(lists))
        np.maximum.at(moment, order, known[fresh])
        phase = schedule.phase_of(lists)
        due = moment + phase * self._interval(world, lists, moment, np.zeros(len(lists)))
        np.minimum.at(world.due, lists, np.maximum(due, world.polled[lists] + 300.0))
