"""The rules that are compared: a fixed interval, zKillboard's, and ours, which calls `killsync.sync.schedule` itself."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from bench.activity import DAY, HOUR, TAIL, Floats, Ints
from bench.polling_world import World
from killsync.sync import schedule


def limits(busy_gap: float) -> schedule.PollLimits:
    """The limits that Killsync has by default."""
    return schedule.PollLimits(floor=300.0, ceiling=6 * HOUR, busy_gap=busy_gap)


@dataclass
class Ours:
    """Killsync's rule. What a character's list is expected to bring is kept as one decayed count a span."""

    busy_gap: float
    margin: float = 300.0
    activity: Floats = field(init=False)
    decayed_at: Floats = field(init=False)

    def begin(self, world: World) -> Floats:
        act = world.activity
        mail = np.repeat(np.arange(len(act.times)), world.sizes)
        past = act.times[mail] < 0
        who, age, shared = act.members[past], -act.times[mail[past]], world.sizes[mail[past]]
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
        return schedule.interval(expected, left, limits(self.busy_gap)) * world.rng.uniform(1.0, 1.05, len(who))

    def heard(self, world: World, mails: Ints, now: Floats) -> None:
        index, people = world.people(mails)
        happened, known, shared = world.activity.times[mails][index], now[index], world.sizes[mails][index]
        for number, span in enumerate(schedule.SPANS):
            added = schedule.decayed(self.decayed_at[people] - happened, span, schedule.weight(shared))
            np.add.at(self.activity[number], people, added)
        age = known - happened
        fresh = age <= schedule.FRESH
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
    """By the age of the last stored kill, as zKillboard's code has it."""

    margin: float = 0.0

    def _interval(self, age: Floats) -> Floats:
        steps = [7 * DAY, 30 * DAY, 90 * DAY, 365 * DAY]
        return np.array([900.0, HOUR, 4 * HOUR, 24 * HOUR, 72 * HOUR])[np.digitize(age, steps)]

    def begin(self, world: World) -> Floats:
        return self._interval(-world.last_kill)

    def after(self, world: World, who: Ints, now: Floats) -> Floats:
        base = self._interval(now - world.last_kill[who])
        spread = np.where(base == 900.0, 30.0, base / 12)
        return base + world.rng.uniform(-1, 1, len(who)) * spread

    def heard(self, world: World, mails: Ints, now: Floats) -> None:
        pass


@dataclass
class AllKnowing:
    """The same square-root law with each character's own law known exactly: what no rule that has to learn can beat.

    For gaps of a power law only: nothing happens before the shortest gap is over, and what may happen then fades with age.
    """

    busy_gap: float
    margin: float = 300.0

    def _interval(self, world: World, who: Ints, now: Floats, left: Floats) -> Floats:
        assert world.activity.shortest is not None
        shortest = world.activity.shortest[who]
        age = now - world.last_kill[who]
        endless = schedule.PollLimits(floor=300.0, ceiling=1e9, busy_gap=self.busy_gap)
        expected = TAIL / np.maximum(age, shortest)
        return np.maximum(0.0, shortest - age) + schedule.interval(expected, left * (age > shortest), endless)

    def begin(self, world: World) -> Floats:
        nothing = np.zeros(world.number)
        return self._interval(world, np.arange(world.number), nothing, nothing)

    def after(self, world: World, who: Ints, now: Floats) -> Floats:
        return self._interval(world, who, now, np.maximum(0.0, world.token_until[who] - self.margin - now))

    def heard(self, world: World, mails: Ints, now: Floats) -> None:
        pass
