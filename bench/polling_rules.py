"""The rules that are compared: a fixed interval, zKillboard's, and ours, which calls `killsync.sync.schedule` itself."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bench.activity import DAY, HOUR, SPAN, TAIL, Floats, Ints
from bench.polling_world import World
from killsync.sync import schedule


def limits(busy_gap: float) -> schedule.PollLimits:
    """The limits that Killsync has by default."""
    return schedule.PollLimits(floor=300.0, ceiling=6 * HOUR, busy_gap=busy_gap)


#: zKillboard's idea of a fresh killmail, and of how long those on it are active, seconds.
ACTIVITY = 9600.0


def covered(world: World, lists: Ints) -> NDArray[np.bool_]:
    """Whose killmails arrive by their corporation's list."""
    found: NDArray[np.bool_] = np.concatenate((world.feed >= 0, np.zeros(world.number - world.characters, bool)))[lists]
    return found


@dataclass
class Ours:
    """Killsync's rule. What a character's list is expected to bring is kept as one decayed count a span."""

    busy_gap: float
    margin: float = 300.0
    activity: Floats = field(init=False)
    decayed_at: Floats = field(init=False)

    def begin(self, world: World) -> Floats:
        act = world.activity
        past = np.flatnonzero(act.times < 0)
        index, who = world.parties(past)
        age, shared = -act.times[past][index], world.sizes[past][index]
        self.activity = np.array(
            [
                np.bincount(who, schedule.decayed(age, span, schedule.weight(shared)), world.number)
                for span in schedule.SPANS
            ]
        )
        self.decayed_at = np.zeros(world.number)
        self.phase = schedule.phase_of(np.arange(world.number))
        nothing = np.zeros(world.number)
        return schedule.interval(
            schedule.expected_rate(self.activity, -world.last_kill), nothing, limits(self.busy_gap)
        )

    def after(self, world: World, who: Ints, now: Floats) -> Floats:
        since = now - self.decayed_at[who]
        self.decayed_at[who] = now
        activity = np.array(
            [schedule.decayed(since, span, self.activity[number, who]) for number, span in enumerate(schedule.SPANS)]
        )
        self.activity[:, who] = activity
        expected = schedule.expected_rate(activity, now - world.last_kill[who])
        left = np.maximum(0.0, world.token_until[who] - self.margin - now)
        seconds = schedule.interval(expected, left, limits(self.busy_gap))
        return np.where(covered(world, who), 6 * HOUR, seconds) * world.rng.uniform(1.0, 1.05, len(who))

    def heard(self, world: World, mails: Ints, now: Floats) -> None:
        index, people = world.parties(mails)
        happened, known, shared = world.activity.times[mails][index], now[index], world.sizes[mails][index]
        for number, span in enumerate(schedule.SPANS):
            added = schedule.decayed(self.decayed_at[people] - happened, span, schedule.weight(shared))
            np.add.at(self.activity[number], people, added)
        age = known - happened
        fresh = (age <= schedule.FRESH) & ~covered(world, people)
        people, known = people[fresh], known[fresh]
        due = known + schedule.early_poll_delay(age[fresh], shared[fresh], self.phase[people], limits(self.busy_gap))
        np.minimum.at(world.due, people, np.maximum(due, world.polled[people] + 300.0))


@dataclass
class Fixed:
    """Everybody every *seconds*."""

    seconds: float
    margin: float = 0.0

    def begin(self, world: World) -> Floats:
        return np.full(world.number, self.seconds)

    def after(self, world: World, who: Ints, now: Floats) -> Floats:
        return np.full(len(who), self.seconds)

    def heard(self, world: World, mails: Ints, now: Floats) -> None:
        pass


@dataclass
class Zkillboard:
    """As zKillboard's code has it: activity first, then the age of the last stored kill; corporations beside that.

    Who is on a stored killmail younger than 9,600 s, on whichever side, is asked every 300 s for 9,600 s from then.
    Corporations are asked every 305 s, by their Directors' tokens in turn. Their members are asked nevertheless.
    """

    margin: float = 0.0

    def _interval(self, age: Floats) -> Floats:
        steps = [7 * DAY, 30 * DAY, 90 * DAY, 365 * DAY]
        return np.array([900.0, HOUR, 4 * HOUR, 24 * HOUR, 72 * HOUR])[np.digitize(age, steps)]

    def begin(self, world: World) -> Floats:
        self.active_until = world.last_kill + ACTIVITY
        return self._chosen(world, np.arange(world.number), np.zeros(world.number))

    def _chosen(self, world: World, who: Ints, now: Floats) -> Floats:
        waiting = np.where(now < self.active_until[who], 300.0, self._interval(now - world.last_kill[who]))
        return np.where(who >= world.characters, 305.0, waiting)

    def after(self, world: World, who: Ints, now: Floats) -> Floats:
        base = self._chosen(world, who, now)
        spread = np.where(base <= 305.0, 0.0, np.where(base == 900.0, 30.0, base / 12))
        return base + world.rng.uniform(-1, 1, len(who)) * spread

    def heard(self, world: World, mails: Ints, now: Floats) -> None:
        index, people = world.people(mails)
        fresh = now[index] - world.activity.times[mails][index] < ACTIVITY
        people, moment = people[fresh], now[index][fresh]
        np.maximum.at(self.active_until, people, moment + ACTIVITY)
        np.minimum.at(world.due, people, np.maximum(moment, world.polled[people] + 300.0))


@dataclass
class AllKnowing:
    """Who knows each character's law, and who is in which fight until when; only the killmails' moments are unknown.

    What no rule that has to learn can beat: it asks when the waiting that is expected since the last poll reaches the price.
    """

    busy_gap: float
    margin: float = 300.0
    step: float = 300.0

    def begin(self, world: World) -> Floats:
        fights, steps = world.activity.sessions, int(SPAN / self.step)
        #: Killmails a second that each character's list gets in its fights, by step; the last one is for what comes after.
        self.rate = np.zeros((world.characters, steps + 1), dtype=np.float32)
        for step in range(steps):
            runs = (fights.begin < (step + 1) * self.step) & (fights.end > step * self.step)
            inside = np.minimum(fights.end, (step + 1) * self.step) - np.maximum(fights.begin, step * self.step)
            self.rate[:, step] = np.bincount(
                fights.who[runs], (fights.rate * inside / self.step)[runs], world.characters
            )
        self.ends = self.step * np.arange(1, steps + 1)
        everybody = np.arange(world.number)
        return self._interval(world, everybody, np.zeros(world.number), np.zeros(world.number))

    def _interval(self, world: World, who: Ints, now: Floats, left: Floats) -> Floats:
        character = np.minimum(who, world.characters - 1)
        shortest = world.activity.shortest[character][:, None]
        inside = self.ends - self.step / 2
        age = (now - world.last_kill[who])[:, None] + inside
        step = np.minimum((now[:, None] + inside) / self.step, self.rate.shape[1] - 1).astype(int)
        hazard = self.rate[character[:, None], step] + np.where(age > shortest, TAIL / np.maximum(age, 1.0), 0.0)
        expected = np.cumsum(hazard, axis=1) * self.step
        waiting = self.ends * expected - np.cumsum(hazard * inside, axis=1) * self.step
        price = 300.0**2 / (2 * self.busy_gap)
        cheap, dear = (
            self.ends[np.minimum((waiting < cost).sum(1), len(self.ends) - 1)] for cost in (price, 2 * price)
        )
        early = np.where(left >= 0.414 * cheap, left, dear)
        chosen = np.maximum(300.0, np.where(left >= cheap, cheap, early))
        return np.where(who >= world.characters, 305.0, np.where(covered(world, who), 3 * DAY, chosen))

    def after(self, world: World, who: Ints, now: Floats) -> Floats:
        return self._interval(world, who, now, np.maximum(0.0, world.token_until[who] - self.margin - now))

    def heard(self, world: World, mails: Ints, now: Floats) -> None:
        pass
