"""A day and a bit of polling 100,000 characters under one rule: who is asked when, and how late each killmail is known."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from bench.activity import HOUR, SPAN, Activity, Floats, Ints

#: What happens before this moment is not counted: the rules find their pace.
WARM_UP = 6 * HOUR
STEP = 30.0
#: Life of an access token.
TOKEN_LIFE = 1200.0


class Rule(Protocol):
    """A polling rule over many characters at once."""

    #: Seconds of a token's life that are not used.
    margin: float

    def begin(self, world: World) -> Floats:
        """Every character's interval at the start."""
        ...

    def after(self, world: World, who: Ints, now: Floats) -> Floats:
        """When characters that were just polled are polled next, seconds from *now*."""
        ...

    def heard(self, world: World, mails: Ints, now: Floats) -> None:
        """Killmails became known at *now*; a rule may hurry characters that are on them (`world.due`)."""
        ...


@dataclass
class World:
    """The state of a simulation.

    Attributes:
        due, polled, token_until: of each character, seconds.
        last_kill: newest killmail of each character that is known, seconds.
        known: when each killmail became known; infinite while it is not.
    """

    activity: Activity
    rng: np.random.Generator
    due: Floats = field(init=False)
    polled: Floats = field(init=False)
    token_until: Floats = field(init=False)
    last_kill: Floats = field(init=False)
    known: Floats = field(init=False)

    def __post_init__(self) -> None:
        act = self.activity
        self.number = len(act.quiet_since)
        self.sizes = np.diff(act.starts)
        mail = np.repeat(np.arange(len(act.times)), self.sizes)
        order = np.argsort(act.members, kind="stable")
        #: Each character's killmails, oldest first, as one flat array with an end marker for each.
        self.list_mail = mail[order]
        ends = np.cumsum(np.bincount(act.members, minlength=self.number))
        self.list_end = ends
        begins = np.concatenate(([0], ends[:-1]))
        history = np.bincount(act.members[act.times[mail] < 0], minlength=self.number)
        self.position = begins + history
        self.known = np.where(act.times < 0, act.times, np.inf)
        self.last_kill = act.quiet_since.copy()
        np.maximum.at(self.last_kill, act.members[act.times[mail] < 0], act.times[mail][act.times[mail] < 0])

    def people(self, mails: Ints) -> tuple[Ints, Ints]:
        """(index into *mails*, character) of everybody who is on them."""
        sizes = self.sizes[mails]
        index = np.repeat(np.arange(len(mails)), sizes)
        offset = np.arange(len(index)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return index, self.activity.members[self.activity.starts[mails][index] + offset]


@dataclass(frozen=True)
class Outcome:
    """What a rule cost and what it brought.

    Attributes:
        requests, refreshes: an hour.
        mean, median, p95: seconds from a killmail to Killsync knowing it.
    """

    requests: float
    refreshes: float
    mean: float
    median: float
    p95: float

    @property
    def cost(self) -> float:
        """Requests to ESI and the SSO together, an hour."""
        return self.requests + self.refreshes


def simulate(activity: Activity, rule: Rule, seed: int = 7) -> Outcome:
    """Poll through the whole span; count from the end of the warm-up."""
    world = World(activity, np.random.default_rng(seed))
    interval = rule.begin(world)
    world.polled = -world.rng.random(world.number) * interval
    world.token_until = world.polled + TOKEN_LIFE
    world.due = world.polled + interval
    requests = refreshes = 0
    for step in range(int(SPAN / STEP)):
        end = (step + 1) * STEP
        who = np.flatnonzero(world.due < end)
        if not len(who):
            continue
        now = np.maximum(world.due[who], end - STEP)
        needs = now > world.token_until[who] - rule.margin
        world.token_until[who[needs]] = now[needs] + TOKEN_LIFE
        if end > WARM_UP:
            requests += len(who)
            refreshes += int(needs.sum())
        _listen(world, rule, who, now)
        world.polled[who] = now
        world.due[who] = now + rule.after(world, who, now)
    return _outcome(world, requests, refreshes)


def _listen(world: World, rule: Rule, who: Ints, now: Floats) -> None:
    """Read the lists of *who*: what they name for the first time becomes known, to everybody on it."""
    found: list[Any] = []
    times = world.activity.times
    reading, moment = who, now
    while len(reading):
        position = world.position[reading]
        has = position < world.list_end[reading]
        mail = world.list_mail[np.where(has, position, 0)]
        has &= times[mail] <= moment
        reading, moment, mail = reading[has], moment[has], mail[has]
        if len(reading):
            found.append((mail, moment))
            world.position[reading] += 1
    if not found:
        return
    mails, moments = (np.concatenate(parts) for parts in zip(*found, strict=True))
    is_new = np.isinf(world.known[mails])
    mails, moments = mails[is_new], moments[is_new]
    np.minimum.at(world.known, mails, moments)
    mails = np.unique(mails)
    if len(mails):
        index, people = world.people(mails)
        np.maximum.at(world.last_kill, people, times[mails][index])
        rule.heard(world, mails, world.known[mails])


def _outcome(world: World, requests: int, refreshes: int) -> Outcome:
    times = world.activity.times
    counted = np.flatnonzero(times > WARM_UP)
    unknown = counted[np.isinf(world.known[counted])]
    if len(unknown):  # to be found by whoever of its people is polled next
        index, people = world.people(unknown)
        soonest = np.full(len(unknown), np.inf)
        np.minimum.at(soonest, index, np.maximum(world.due[people], times[unknown][index]))
        world.known[unknown] = soonest
    staleness = world.known[counted] - times[counted]
    hours = (SPAN - WARM_UP) / HOUR
    median, p95 = np.quantile(staleness, (0.5, 0.95))
    return Outcome(requests / hours, refreshes / hours, float(staleness.mean()), float(median), float(p95))
