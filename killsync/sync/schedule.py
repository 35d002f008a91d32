"""When to ask for a killmail list next. Pure: takes what is known, gives a moment.

A list that is expected to bring `rate` killmails a second, asked every T seconds, leaves each of them waiting T / 2 on
average. Among all ways to spend the same requests on many lists, the one that keeps the sum of those waits smallest asks
each list at an interval in step with 1 / sqrt(rate): a list four times as busy is asked twice as often. What a list will
bring is guessed from what it brought: killmails of the last hour, day, week and two months, in equal parts, since people
fight in bursts. A killmail that several of our users share counts for each of them in part, because whoever is asked first
finds it for all.

`weight`, `decayed`, `expected_rate` and `interval` use operators alone, so that they take floats as well as arrays of them: the
benchmark of `make bench-polling` runs these very functions over 100,000 characters at once.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import e
from typing import Any

from killsync.settings import Settings

HOUR = 3600.0
DAY = 24 * HOUR

#: The time spans whose killmails count for what comes next, seconds; each counts for an equal part.
SPANS = (HOUR, DAY, 7 * DAY, 60 * DAY)
#: Beside what it brought, a list is expected to bring one killmail in as long as it has been quiet, and this, seconds: the
#: longer nothing happens, the less will.
LEAST_QUIET = 30 * DAY
#: A list names killmails of this long, seconds.
LISTED = 90 * DAY
#: A login counts like this many killmails of its moment: whoever logs in looks at the page, and plays.
LOGIN_WEIGHT = 4.0
#: Killmails older than this move no poll forward, seconds.
FRESH = DAY


@dataclass(frozen=True)
class PollLimits:
    """How often lists may and shall be asked; all in seconds.

    Attributes:
        floor: never sooner after the last poll.
        ceiling: never later.
        busy_gap: a list that is expected to bring a killmail this often is asked at the floor.
    """

    floor: float
    ceiling: float
    busy_gap: float

    def for_priority(self, priority: int) -> PollLimits:
        """The limits for a user of *priority*: above 0 a quarter of the ceiling."""
        return PollLimits(self.floor, max(self.floor, self.ceiling / 4), self.busy_gap) if priority > 0 else self


def limits_of(settings: Settings) -> PollLimits:
    """The limits that the settings ask for."""
    floor = float(settings.sync_interval_seconds)
    return PollLimits(floor, max(floor, float(settings.sync_ceiling_seconds)), float(settings.sync_busy_gap_seconds))


@dataclass(frozen=True)
class RecentKillmail:
    """A killmail that a list holds: how old it is, seconds, and how many of our users' lists hold it."""

    age: float
    shared_by: int = 1


def weight(shared_by: Any) -> Any:
    """What a killmail on *shared_by* of our users' lists counts for each of them."""
    return 1 / shared_by


def decayed(age: Any, span: float, weighing: Any = 1.0) -> Any:
    """What a killmail *age* seconds ago adds to the activity over *span*: it decays by a factor of e in each span."""
    return weighing * e ** (-age / span)


def expected_rate(activity: Any, quiet: Any) -> Any:
    """Killmails a second that are expected, from the activity over each of `SPANS` and the age of the newest, seconds."""
    return 1 / (LEAST_QUIET + quiet) + sum(number / span for number, span in zip(activity, SPANS, strict=True)) / len(
        SPANS
    )


def interval(expected: Any, token_left: Any, limits: PollLimits) -> Any:
    """Seconds to the next poll.

    Args:
        expected: killmails a second.
        token_left: seconds for which the access token at hand is still good; 0 for none. A poll after that costs a refresh
            as well, two requests instead of one, and what costs twice is asked for 1.41 times as seldom; where the life of
            the token ends not much too early, the poll is made just before.
        limits: of the list.
    """
    cheap = limits.floor / (expected * limits.busy_gap) ** 0.5
    dear = 2**0.5 * cheap
    # The cost of a poll at the token's end, in waiting and requests, is below that of one at `dear` from here on.
    fits = token_left >= cheap
    early = (token_left >= (2**0.5 - 1) * cheap) * (1 - fits)
    chosen = fits * cheap + early * token_left + (1 - fits) * (1 - early) * dear
    return _least(_most(chosen, limits.floor), max(limits.ceiling, limits.floor))


def _least(one: Any, other: Any) -> Any:
    return (one + other - abs(one - other)) / 2


def _most(one: Any, other: Any) -> Any:
    return (one + other + abs(one - other)) / 2


def estimated_rate(recent: Iterable[RecentKillmail], *, login_age: float | None = None) -> float:
    """Killmails a second that a list is expected to bring, after what it brought lately and the age of the last login."""
    activity = [0.0] * len(SPANS)
    weighed = [(killmail.age, weight(max(1, killmail.shared_by))) for killmail in recent]
    quiet = min((age for age, _ in weighed), default=LISTED + (login_age or 0.0))
    if login_age is not None:
        weighed.append((login_age, LOGIN_WEIGHT))
    for age, weighing in weighed:
        for number, span in enumerate(SPANS):
            activity[number] += decayed(max(0.0, age), span, weighing)
    return float(expected_rate(activity, max(0.0, quiet)))


def next_poll(
    now: datetime,
    *,
    limits: PollLimits,
    recent: Iterable[RecentKillmail] = (),
    logged_in_at: datetime | None = None,
    token_until: datetime | None = None,
    expires_at: datetime | None = None,
    covered: bool = False,
    jitter: random.Random | None = None,
) -> datetime:
    """The moment of the next poll of a list that was just read.

    Args:
        now: the moment.
        limits: those of the user's priority.
        recent: the newest killmails the list holds.
        logged_in_at: the character's last login.
        token_until: until when the access token at hand is used.
        expires_at: ESI's `Expires` of page 1, which is never undercut: asking earlier is answered from the same cache and
            counts as circumventing it.
        covered: the character's killmails arrive by its corporation's list, so its own is looked at as seldom as can be.
        jitter: for tests.
    """
    login_age = (now - logged_in_at).total_seconds() if logged_in_at else None
    left = max(0.0, (token_until - now).total_seconds()) if token_until else 0.0
    seconds = limits.ceiling if covered else interval(estimated_rate(recent, login_age=login_age), left, limits)
    # Later, never sooner, each differently: what was polled together does not stay together.
    seconds *= 1 + (jitter or random).uniform(0.0, 0.05)
    due = now + timedelta(seconds=max(seconds, limits.floor))
    return max(due, expires_at + timedelta(seconds=1)) if expires_at else due


def early_poll_delay(age: Any, shared_by: Any, phase: Any, limits: PollLimits) -> Any:
    """Seconds from now within which a user who is on a killmail of *age* is polled, if not scheduled sooner anyway.

    Several of our users on one killmail are spread, by their *phase* between 0 and 1, over an interval that grows with
    their number: all of their lists name the same, so one poll now and then brings most of what a fight does.
    """
    weighing = weight(shared_by)
    return phase * interval(expected_rate([decayed(age, span, weighing) for span in SPANS], age), 0.0 * age, limits)


def phase_of(number: int) -> float:
    """A fixed place of a user between 0 and 1, evenly spread over consecutive ids."""
    return number * 0.6180339887498949 % 1.0
