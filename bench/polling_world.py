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
#: The part of corporations that have a Director among the users who lets their list be read; assumed.
DIRECTED = 0.1


class Rule(Protocol):
    """A polling rule over many characters at once."""

    #: Seconds of a token's life that are not used.
    margin: float

    def begin(self, world: World) -> Floats:
        """Every list's interval at the start."""
        ...

    def after(self, world: World, who: Ints, now: Floats) -> Floats:
        """When lists that were just polled are polled next, seconds from *now*."""
        ...

    def heard(self, world: World, mails: Ints, now: Floats) -> None:
        """Killmails became known at *now*; a rule may hurry the lists of those who are on them (`world.due`)."""
        ...


@dataclass
class World:
    """The state of a simulation.

    Lists are numbered: those of the characters as the characters are, then those of corporations that a Director reads.

    Attributes:
        due, polled, token_until: of each list, seconds.
        last_kill: newest killmail that is known of each list's owner, on whomever's list, seconds.
        known: when each killmail became known; infinite while it is not.
    """

    activity: Activity
    rng: np.random.Generator
    #: Part of the corporations of more than one whose list a Director reads.
    directed: float = DIRECTED
    due: Floats = field(init=False)
    polled: Floats = field(init=False)
    token_until: Floats = field(init=False)
    last_kill: Floats = field(init=False)
    known: Floats = field(init=False)

    def __post_init__(self) -> None:
        act = self.activity
        self.characters = len(act.corporation)
        self.sizes = np.diff(act.starts)
        size = np.bincount(act.corporation)
        read = (np.random.default_rng(11).random(len(size)) < self.directed) & (size > 1)
        #: The list of each character's corporation, -1 where nobody reads it.
        self.feed = np.where(read, self.characters + np.cumsum(read) - 1, -1)[act.corporation]
        self.number = self.characters + int(read.sum())
        #: Each list's killmails, oldest first, as one flat array with an end marker for each.
        self.named = owner, mail = self._named()
        order = np.lexsort((mail, owner))
        self.list_mail = mail[order]
        self.list_end = np.cumsum(np.bincount(owner, minlength=self.number))
        begins = np.concatenate(([0], self.list_end[:-1]))
        self.position = begins + np.bincount(owner[act.times[mail] < 0], minlength=self.number)
        self.known = np.where(act.times < 0, act.times, np.inf)
        self.last_kill = np.full(self.number, -np.inf)
        self.last_kill[: self.characters] = act.quiet_since
        past = np.flatnonzero(act.times < 0)
        index, lists = self.parties(past)
        np.maximum.at(self.last_kill, lists, act.times[past][index])

    def _named(self) -> tuple[Ints, Ints]:
        """(list, killmail): whose lists name what. The victim's and the final blow's, and their corporations'."""
        act = self.activity
        owner, mail = [], []
        for who in (act.blow, act.victim):
            for lists in (who, np.where(who >= 0, self.feed[who], -1)):
                there = np.flatnonzero(lists >= 0)
                owner.append(lists[there])
                mail.append(there)
        pairs = np.unique(np.concatenate(owner) * len(act.times) + np.concatenate(mail))
        return pairs // len(act.times), pairs % len(act.times)

    def parties(self, mails: Ints) -> tuple[Ints, Ints]:
        """(index into *mails*, list) of everybody who is on them, and of their corporations whose lists are read."""
        index, people = self.people(mails)
        feed = self.feed[people]
        pairs = np.unique(index[feed >= 0] * self.number + feed[feed >= 0])
        return np.concatenate((index, pairs // self.number)), np.concatenate((people, pairs % self.number))

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


def simulate(activity: Activity, rule: Rule, seed: int = 7, directed: float = DIRECTED) -> Outcome:
    """Poll through the whole span; count from the end of the warm-up."""
    world = World(activity, np.random.default_rng(seed), directed)
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
        index, lists = world.parties(mails)
        np.maximum.at(world.last_kill, lists, times[mails][index])
        rule.heard(world, mails, world.known[mails])


def _outcome(world: World, requests: int, refreshes: int) -> Outcome:
    times = world.activity.times
    counted = np.flatnonzero(times > WARM_UP)
    unknown = counted[np.isinf(world.known[counted])]
    if len(unknown):  # to be found by whichever of its lists is polled next
        soonest = np.full(len(times), np.inf)
        owner, mail = world.named
        np.minimum.at(soonest, mail, np.maximum(world.due[owner], times[mail]))
        world.known[unknown] = soonest[unknown]
    staleness = world.known[counted] - times[counted]
    hours = (SPAN - WARM_UP) / HOUR
    median, p95 = np.quantile(staleness, (0.5, 0.95))
    return Outcome(requests / hours, refreshes / hours, float(staleness.mean()), float(median), float(p95))
