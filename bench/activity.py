"""Who fights when, among 100,000 characters: five shapes of heavy-tailed, bursty activity, seeded, as flat arrays.

The shapes are assumed, not measured. That people act in bursts with long silences between them, and that the gaps and the
differences between people have heavy tails, is well known (A.-L. Barabasi, The origin of bursts and heavy tails in human
dynamics, Nature 435, 2005); the numbers here are guesses of the size one sees on killboards. Nothing in this file knows of
a polling rule.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bench.activity_weekly import with_weekly

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

HOUR, DAY = 3600.0, 86_400.0
#: Seconds of history before moment 0, and of the time that is simulated after it.
PAST, SPAN = 90 * DAY, 30 * HOUR
#: Exponent of the power law of gaps.
TAIL = 1.2


#: The part of a session's killmails that are losses of its own people, and of sessions whose enemies are ours too.
LOSSES, MEETINGS = 0.2, 0.1


@dataclass(frozen=True)
class Session:
    """People who fight together, one row each: what a rule that knows everything would know of it.

    Attributes:
        who, begin, end: a character, and from when until when, seconds.
        rate: killmails a second that the character's own list gets while it lasts.
    """

    who: Ints
    begin: Floats
    end: Floats
    rate: Floats


NO_SESSIONS = Session(*(np.zeros(0, dtype=kind) for kind in (np.int64, float, float, float)))


@dataclass(frozen=True)
class Activity:
    """Killmails, who of our characters is on them, and whose lists name them.

    Attributes:
        times: moment of each killmail, seconds, sorted; negative is history.
        starts, members: characters of killmail k are `members[starts[k]:starts[k + 1]]`.
        blow, victim: the two characters whose lists name killmail k, -1 where that is nobody of ours. No other list does.
        corporation: each character's, numbered from 0.
        quiet_since: each character's last killmail before the history, for those without any in it.
        shortest: each character's shortest gap where gaps follow a power law, else infinite; for a rule that knows everything.
        sessions: who fights when; likewise.
    """

    times: Floats
    starts: Ints
    members: Ints
    blow: Ints
    victim: Ints
    corporation: Ints
    quiet_since: Floats
    shortest: Floats
    sessions: Session

    @property
    def mail_of_member(self) -> Ints:
        """The killmail of each entry of `members`."""
        return np.repeat(np.arange(len(self.times)), np.diff(self.starts))


def _activity(rng: np.random.Generator, times: Floats, mail: Ints, who: Ints, enemy: Ints, corporation: Ints,
              sessions: Session) -> Activity:  # fmt: skip
    """Draw whose final blow and whose loss each killmail is, and put all into order.

    Args:
        mail, who: (killmail, character) pairs; repeats and killmails nobody of ours is on are dropped.
        enemy: of each killmail, -1 for a stranger. The victim; of a loss, whose final blow it is.
    """
    characters = len(corporation)
    pairs = np.unique(mail * characters + who)
    mail, who = pairs // characters, pairs % characters
    seen, mail = np.unique(mail, return_inverse=True)
    times, sizes = times[seen], np.bincount(mail)
    first = np.cumsum(sizes) - sizes
    chosen = first + (rng.random(len(seen)) * sizes).astype(int)
    enemy = enemy[seen]
    is_loss = rng.random(len(seen)) < LOSSES
    blow, victim = np.where(is_loss, enemy, who[chosen]), np.where(is_loss, who[chosen], enemy)
    kept = ~is_loss[mail]
    kept[chosen] = True
    ours = np.flatnonzero(enemy >= 0)
    mail, who = np.concatenate((mail[kept], ours)), np.concatenate((who[kept], enemy[ours]))
    return _in_order(rng, times, mail, who, blow, victim, corporation, sessions)


def _in_order(rng: np.random.Generator, times: Floats, mail: Ints, who: Ints, blow: Ints, victim: Ints, corporation: Ints,
              sessions: Session, shortest: Floats | None = None) -> Activity:  # fmt: skip
    """The same by time, the oldest first."""
    characters = len(corporation)
    order = np.argsort(times, kind="stable")
    place = np.empty(len(times), dtype=np.int64)
    place[order] = np.arange(len(times))
    pairs = np.unique(place[mail] * characters + who)
    mail, who = pairs // characters, pairs % characters
    starts = np.concatenate(([0], np.cumsum(np.bincount(mail, minlength=len(times)))))
    times = times[order]
    count = np.bincount(who[times[mail] < 0], minlength=characters)
    quiet = -PAST - rng.exponential(PAST / (count + 0.5))
    never = np.full(characters, np.inf) if shortest is None else shortest
    return Activity(times, starts, who, blow[order], victim[order], corporation, quiet, never, sessions)


def _groups(rng: np.random.Generator, characters: int, median: float) -> tuple[Ints, Ints, Ints]:
    """First and past-the-end character of each one's corporation, and its number; sizes are heavy-tailed."""
    sizes = np.minimum(2000, (median * (1 + rng.pareto(1.3, characters)))).astype(int)
    ends = np.minimum(np.cumsum(np.maximum(1, sizes)), characters)
    ends = ends[: int(np.searchsorted(ends, characters)) + 1]
    begins = np.concatenate(([0], ends[:-1]))
    index = np.searchsorted(ends, np.arange(characters), side="right")
    return begins[index], ends[index], index


def _prime(rng: np.random.Generator, days: Floats, hour: Floats) -> Floats:
    """A moment of each day around the hour at which its people play."""
    return days * DAY + ((hour + rng.normal(0.0, 3.0, len(days))) % 24) * HOUR


def _joint(rng: np.random.Generator, characters: int, *, quiet: float, spread: float, sessions: float, median_group: float,
           size_tail: float, most: int, mails: float, hours: float, weekly: float = 0.0) -> Activity:  # fmt: skip
    """Sessions of groups: a leader, company of their corporation, and killmails while it lasts; a part of them is *weekly*."""
    eager = np.exp(rng.normal(0.0, spread, characters)) * (rng.random(characters) > quiet)
    begins, ends, corporation = _groups(rng, characters, median_group)
    hour = rng.integers(0, 24, characters)[begins].astype(float)
    total = np.concatenate(([0.0], np.cumsum(eager)))
    number = int(sessions * (PAST + SPAN) / DAY)
    leader = np.searchsorted(total, rng.random(number) * total[-1], side="right") - 1
    day = np.floor(rng.uniform(-PAST / DAY, SPAN / DAY, number))
    start = _prime(rng, day, hour[leader])
    if weekly:
        leader, start = with_weekly(rng, leader, start, hour, weekly, (-PAST, SPAN))
        number = len(leader)
    length = hours * HOUR * np.exp(rng.normal(0.0, 0.7, number))
    company = np.minimum(most, (1 + rng.pareto(size_tail, number)).astype(int))
    pace = mails * np.exp(rng.normal(0.0, 1.0, number)) / HOUR
    kills = rng.poisson(pace * length)
    session = np.repeat(np.arange(number), kills)
    times = start[session] + rng.random(len(session)) * length[session]
    #: Each killmail is of a part of the session's people: some are elsewhere, some too late.
    present = np.maximum(1, rng.binomial(company[session], 0.6))
    mail = np.repeat(np.arange(len(session)), present)
    seat = rng.integers(0, company[session[mail]])

    def seated(session: Ints, seat: Ints) -> Ints:
        """The same seat of the same session is the same character."""
        chance = _hash01(session * 4096 + seat)
        low, high = total[begins[leader[session]]], total[ends[leader[session]]]
        who = np.searchsorted(total, low + chance * (high - low), side="right") - 1
        return np.where(seat == 0, leader[session], np.clip(who, 0, characters - 1))

    who = seated(session[mail], seat)
    kept = (times[mail] > -PAST) & (times[mail] < SPAN)
    # Who else is out just then may be the enemy.
    order = np.argsort(start)
    other = np.empty(number, dtype=np.int64)
    other[order] = np.roll(order, 1)
    meets = (rng.random(number) < MEETINGS) & (abs(start[other] - start) < 2 * HOUR)
    enemy = np.where(meets[session], seated(other[session], rng.integers(0, company[other[session]])), -1)
    late = np.flatnonzero(start + length > 0)
    sides = [(late, late), (late[meets[late]], other[late[meets[late]]])]
    fights = [_fight(seated, fight, side, company, start, start + length, pace) for fight, side in sides]
    together = Session(*(np.concatenate(each) for each in zip(*fights, strict=True)))
    return _activity(rng, times, mail[kept], who[kept], enemy, corporation, together)


def _fight(seated: Callable[[Ints, Ints], Ints], fight: Ints, side: Ints, company: Ints, start: Floats, end: Floats,
           pace: Floats) -> tuple[Ints, Floats, Floats, Floats]:  # fmt: skip
    """The `Session` of the people of the session *side* in the time of *fight*: their own, or their enemies'."""
    sizes = company[side]
    row = np.repeat(np.arange(len(side)), sizes)
    seat = np.arange(len(row)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return seated(side[row], seat), start[fight[row]], end[fight[row]], pace[fight[row]] / sizes[row]


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


def fleets(rng: np.random.Generator, characters: int, weekly: float = 0.0) -> Activity:
    """Alliance warfare: few operations, up to hundreds of pilots, dozens of killmails each; a part of them is *weekly*."""
    return _joint(rng, characters, quiet=0.35, spread=1.5, sessions=characters * 0.003, median_group=60.0, size_tail=0.9,
                  most=300, mails=6.0, hours=1.5, weekly=weekly)  # fmt: skip


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
    moment, character = moment[kept], character[kept]
    alone, nobody = np.arange(characters), np.full(len(moment), -1)
    made = _in_order(rng, moment, np.arange(len(moment)), character, character, nobody, alone, NO_SESSIONS, shortest)
    return replace(made, quiet_since=last)


def mixed(rng: np.random.Generator, characters: int) -> Activity:
    """A half small gangs, a quarter each fleets and lone wolves; two days of the week off, and for half of them a week's holiday.

    Nothing of any rule was chosen by this shape.
    """
    half, quarter = characters // 2, characters // 4
    parts = [small_gangs(rng, half), fleets(rng, quarter), lone_wolves(rng, characters - half - quarter)]
    off = rng.integers(0, 7, (characters, 2))
    leaves = np.where(rng.random(characters) < 0.5, rng.uniform(-PAST, SPAN, characters), np.inf)

    def is_there(who: Ints, moment: Floats) -> NDArray[np.bool_]:
        day = np.floor(moment / DAY).astype(int) % 7
        away = (moment >= leaves[who]) & (moment < leaves[who] + 7 * DAY)
        return (day != off[who, 0]) & (day != off[who, 1]) & ~away

    times, mail, who, blow, victim, corporation, quiet, shortest = ([] for _ in range(8))  # type: ignore[var-annotated]
    sessions: list[Session] = []
    before = mails = corporations = 0
    for part in parts:
        times.append(part.times)
        mail.append(part.mail_of_member + mails)
        who.append(part.members + before)
        blow.append(np.where(part.blow >= 0, part.blow + before, -1))
        victim.append(np.where(part.victim >= 0, part.victim + before, -1))
        corporation.append(part.corporation + corporations)
        quiet.append(part.quiet_since)
        shortest.append(part.shortest)
        sessions.append(replace(part.sessions, who=part.sessions.who + before))
        before, mails = before + len(part.corporation), mails + len(part.times)
        corporations += int(part.corporation.max()) + 1
    time, of, people, by, lost = (np.concatenate(each) for each in (times, mail, who, blow, victim))
    # Who is not there has no part; a killmail whose lists both are of people who are not there did not happen.
    by = np.where((by >= 0) & is_there(by, time), by, -1)
    lost = np.where((lost >= 0) & is_there(lost, time), lost, -1)
    happened = (by >= 0) | (lost >= 0)
    here = happened[of] & is_there(people, time[of])
    number = np.cumsum(happened) - 1
    known = Session(
        *(np.concatenate([getattr(each, name) for each in sessions]) for name in ("who", "begin", "end", "rate"))
    )
    there = is_there(known.who, known.begin)
    known = Session(known.who[there], known.begin[there], known.end[there], known.rate[there])
    made = _in_order(rng, time[happened], number[of[here]], people[here], by[happened], lost[happened],
                     np.concatenate(corporation), known, np.concatenate(shortest))  # fmt: skip
    return replace(made, quiet_since=np.concatenate(quiet))


def weekly_fleets(rng: np.random.Generator, characters: int) -> Activity:
    """Fleets, about a half of whose operations come back each week at their hour."""
    return fleets(rng, characters, weekly=0.5)


SHAPES: dict[str, Callable[[np.random.Generator, int], Activity]] = {
    "small gangs": small_gangs,
    "fleets": fleets,
    "lone wolves": lone_wolves,
    "mixed": mixed,
    "weekly fleets": weekly_fleets,
}
