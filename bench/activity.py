"""Who fights when, among 100,000 characters: three shapes of heavy-tailed, bursty activity, seeded, as flat arrays.

The shapes are assumed, not measured. That people act in bursts with long silences between them, and that the gaps and the
differences between people have heavy tails, is well known (A.-L. Barabasi, The origin of bursts and heavy tails in human
dynamics, Nature 435, 2005); the numbers here are guesses of the size one sees on killboards. Nothing in this file knows of
a polling rule.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

HOUR, DAY = 3600.0, 86_400.0
#: Seconds of history before moment 0, and of the time that is simulated after it.
PAST, SPAN = 90 * DAY, 30 * HOUR
#: Exponent of the power law of gaps.
TAIL = 1.2


@dataclass(frozen=True)
class Activity:
    """Killmails and who of our characters is on them.

    Attributes:
        times: moment of each killmail, seconds, sorted; negative is history.
        starts, members: characters of killmail k are `members[starts[k]:starts[k + 1]]`.
        quiet_since: each character's last killmail before the history, for those without any in it.
        shortest: each character's shortest gap where gaps follow a power law, for a rule that knows everything.
    """

    times: Floats
    starts: Ints
    members: Ints
    quiet_since: Floats
    shortest: Floats | None = None


def _activity(rng: np.random.Generator, characters: int, times: Floats, mail: Ints, who: Ints) -> Activity:
    """Put (killmail, character) pairs into order; killmails nobody of ours is on are dropped, repeats too."""
    pairs = np.unique(mail * characters + who)
    mail, who = pairs // characters, pairs % characters
    order = np.argsort(times[mail], kind="stable")
    mail, who = mail[order], who[order]
    is_first = np.concatenate(([True], mail[1:] != mail[:-1]))
    starts = np.concatenate((np.flatnonzero(is_first), [len(mail)]))
    count = np.bincount(who[times[mail] < 0], minlength=characters)
    rate = (count + 0.5) / PAST
    return Activity(times[mail][is_first], starts, who, -PAST - rng.exponential(1 / rate))


def _groups(rng: np.random.Generator, characters: int, median: float) -> tuple[Ints, Ints]:
    """First and past-the-end character of each one's corporation; sizes are heavy-tailed."""
    sizes = np.minimum(2000, (median * (1 + rng.pareto(1.3, characters)))).astype(int)
    ends = np.minimum(np.cumsum(np.maximum(1, sizes)), characters)
    ends = ends[: int(np.searchsorted(ends, characters)) + 1]
    begins = np.concatenate(([0], ends[:-1]))
    index = np.searchsorted(ends, np.arange(characters), side="right")
    return begins[index], ends[index]


def _prime(rng: np.random.Generator, days: Floats, hour: Floats) -> Floats:
    """A moment of each day around the hour at which its people play."""
    return days * DAY + ((hour + rng.normal(0.0, 3.0, len(days))) % 24) * HOUR


def _joint(rng: np.random.Generator, characters: int, *, quiet: float, spread: float, sessions: float, median_group: float,
           size_tail: float, most: int, mails: float, hours: float) -> Activity:  # fmt: skip
    """Sessions of groups: a leader, company of their corporation, and killmails while it lasts."""
    eager = np.exp(rng.normal(0.0, spread, characters)) * (rng.random(characters) > quiet)
    begins, ends = _groups(rng, characters, median_group)
    hour = rng.integers(0, 24, characters)[begins].astype(float)
    total = np.concatenate(([0.0], np.cumsum(eager)))
    number = int(sessions * (PAST + SPAN) / DAY)
    leader = np.searchsorted(total, rng.random(number) * total[-1], side="right") - 1
    day = np.floor(rng.uniform(-PAST / DAY, SPAN / DAY, number))
    start = _prime(rng, day, hour[leader])
    length = hours * HOUR * np.exp(rng.normal(0.0, 0.7, number))
    company = np.minimum(most, (1 + rng.pareto(size_tail, number)).astype(int))
    kills = rng.poisson(mails * np.exp(rng.normal(0.0, 1.0, number)) * length / HOUR)
    session = np.repeat(np.arange(number), kills)
    times = start[session] + rng.random(len(session)) * length[session]
    #: Each killmail is of a part of the session's people: some are elsewhere, some too late.
    present = np.maximum(1, rng.binomial(company[session], 0.6))
    mail = np.repeat(np.arange(len(session)), present)
    seat = rng.integers(0, company[session[mail]])
    #: The same seat of the same session is the same character.
    chance = _hash01(session[mail] * 4096 + seat)
    low, high = total[begins[leader[session[mail]]]], total[ends[leader[session[mail]]]]
    who = np.searchsorted(total, low + chance * (high - low), side="right") - 1
    who = np.where(seat == 0, leader[session[mail]], np.clip(who, 0, characters - 1))
    kept = (times[mail] > -PAST) & (times[mail] < SPAN)
    return _activity(rng, characters, times, mail[kept], who[kept])


def _hash01(numbers: Ints) -> Floats:
    mixed = numbers.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(29)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(32)
    return (mixed >> np.uint64(11)).astype(float) / 2.0**53


def small_gangs(rng: np.random.Generator, characters: int) -> Activity:
    """Evenings of one to a few friends: a couple of killmails an hour for one or two hours."""
    return _joint(rng, characters, quiet=0.35, spread=1.7, sessions=characters * 0.03, median_group=8.0, size_tail=1.6,
                  most=25, mails=1.2, hours=1.2)  # fmt: skip


def fleets(rng: np.random.Generator, characters: int) -> Activity:
    """Alliance warfare: few operations, up to hundreds of pilots, dozens of killmails each."""
    return _joint(rng, characters, quiet=0.35, spread=1.5, sessions=characters * 0.003, median_group=60.0, size_tail=0.9,
                  most=300, mails=6.0, hours=1.5)  # fmt: skip


def lone_wolves(rng: np.random.Generator, characters: int) -> Activity:
    """Nobody shares a killmail, and there are no sessions: gaps of a power law from minutes to months, at any hour."""
    shortest = np.clip(4 * DAY * np.exp(rng.normal(0.0, 2.0, characters)), 0.25 * HOUR, None)
    alive, now = np.arange(characters), np.full(characters, -4 * PAST)
    times, who = [], []
    while len(alive):
        gaps = shortest[alive, None] * (1 + rng.pareto(TAIL, (len(alive), 16)))
        moments = now[alive, None] + np.cumsum(gaps, axis=1)
        times.append(moments.ravel())
        who.append(np.repeat(alive, 16))
        now[alive] = moments[:, -1]
        alive = alive[moments[:, -1] < SPAN]
    moment, character = np.concatenate(times), np.concatenate(who)
    last = np.full(characters, -5 * PAST)
    past = moment <= -PAST
    np.maximum.at(last, character[past], moment[past])
    kept = (moment > -PAST) & (moment < SPAN)
    made = _activity(rng, characters, moment[kept], np.arange(int(kept.sum())), character[kept])
    return Activity(made.times, made.starts, made.members, last, shortest)


SHAPES: dict[str, Callable[[np.random.Generator, int], Activity]] = {
    "small gangs": small_gangs,
    "fleets": fleets,
    "lone wolves": lone_wolves,
}
