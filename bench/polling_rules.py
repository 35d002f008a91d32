"""The rules that are compared: a fixed interval, zKillboard's, and one that knows everything."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bench.activity import DAY, HOUR, SPAN, TAIL, Floats, Ints
from bench.polling_ours import covered
from bench.polling_world import World
from killsync.sso.refresh import MARGIN

#: zKillboard's idea of a fresh killmail, and of how long those on it are active, seconds.
ACTIVITY = 9600.0


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
    margin: float = MARGIN.total_seconds()
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
