"""When to ask for a killmail list next. Pure: takes what is known, gives a moment.

A poll is worth a request when what it is expected to bring has waited enough: `hazard` says how likely a list is to bring
a killmail at each moment to come, here are the limits, the price of a request, and what a token at hand and a login change.
A killmail is on the lists of its victim and its final blow alone, so whoever else is on it has to be asked themselves: being
seen there says that they are fighting, not that their list was read.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import exp
from typing import Any

from killsync.settings import Settings
from killsync.sync.hazard import DAY, LATE_AFTER, LATE_COST, SPANS, Hazard, Rhythm, rhythm_of

#: A list names killmails of this long, seconds.
LISTED = 90 * DAY
#: A login counts like this many killmails of its moment: whoever logs in looks at the page, and plays.
LOGIN_WEIGHT = 4.0
#: Killmails older than this move no poll forward, seconds.
FRESH = DAY
#: A poll begins up to so much later than it is due, seconds: a tick has to find it, and a worker to be free.
LATE = 30.0
#: Polls are later than the law has it by up to this part, each differently: what was polled together does not stay together.
SPREAD = 0.05


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


def price_of(limits: PollLimits) -> float:
    """The price of a request, in seconds that killmails wait: it is worth it for the busiest at the floor."""
    return (limits.floor**2 / 2 + LATE_COST * LATE_AFTER * (limits.floor > LATE_AFTER)) / limits.busy_gap


def chosen(cheap: Any, dear: Any, rate: Any, token_left: Any, price: float) -> Any:
    """Of the seconds after which a poll is worth one request and two, those that the life of the token suggests.

    Args:
        cheap, dear, rate: as of `Hazard.waits`.
        token_left: seconds within which a poll is one request; later it is two.
        price: of a request.
    """
    fits = token_left >= cheap
    early = (burden(token_left + 1e-9, rate, price) <= burden(dear, rate, 2 * price)) * (1 - fits)
    return fits * cheap + early * token_left + (1 - fits) * (1 - early) * dear


def burden(seconds: Any, rate: Any, price: float) -> Any:
    """What polls every so many *seconds* cost a second, waiting and requests, where *rate* killmails a second are expected."""
    late = (seconds - LATE_AFTER) * (seconds > LATE_AFTER)
    return (price + rate * (seconds * seconds / 2 + LATE_COST * late)) / seconds


def spread(seconds: Any, part: Any, token_left: Any) -> Any:
    """*seconds* and a *part* of `SPREAD` of it, but not past the life of the token that a poll is in time for."""
    later = seconds * (1 + SPREAD * part)
    misses = (seconds <= token_left) * (later > token_left)
    return later + misses * (token_left - later)


def wait(
    age: float, rhythm: Rhythm, table: Hazard, limits: PollLimits, *, token_left: float = 0.0, moment: float = 0.0,
    habit: str = "", extra: float = 0.0,
) -> float:  # fmt: skip
    """Seconds from a poll to the next one.

    Args:
        age: seconds since the list's owner was last seen on a killmail.
        rhythm: theirs.
        table: what is expected of whom.
        limits: of the list.
        token_left: seconds within which a poll needs no new access token; 0 for none. A poll after that costs a refresh
            as well, two requests instead of one; where the life of the token ends not much too early, the poll is made
            just before.
        moment, habit, extra: as of `Hazard.waits`.
    """
    most = max(limits.ceiling, limits.floor)
    price = price_of(limits)
    cheap, dear, rate = table.waits(age, rhythm, price, most, moment=moment, habit=habit, extra=extra)
    return min(max(float(chosen(cheap, dear, rate, token_left, price)), limits.floor), most)


def login_rate(age: float) -> float:
    """Killmails a second that are expected beside all else of who logged in *age* seconds ago."""
    return sum(LOGIN_WEIGHT * exp(-age / span) / span for span in SPANS) / len(SPANS)


#: Of who was never seen.
NO_RHYTHM = Rhythm()


@dataclass(frozen=True)
class Known:
    """What is known of a list's owner.

    Attributes:
        rhythm: as of the last killmail they were seen on.
        age: seconds since that one; of who was not seen, since before what lists name.
        habit: their corporation's.
    """

    rhythm: Rhythm = NO_RHYTHM
    age: float = LISTED
    habit: str = ""


def known_by(ages: Iterable[float], habit: str = "") -> Known:
    """What killmails of these ages, seconds, tell of who was seen on them, the oldest first."""
    seen = [max(0.0, age) for age in ages]
    if not seen:
        return Known(habit=habit)
    return Known(rhythm_of([-age for age in seen]), seen[-1], habit)


def next_poll(
    now: datetime,
    *,
    limits: PollLimits,
    table: Hazard,
    known: Known,
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
        table: what is expected of whom.
        known: of the list's owner.
        logged_in_at: the character's last login.
        token_until: until when the access token at hand needs no refresh.
        expires_at: ESI's `Expires` of page 1, which is never undercut: asking earlier is answered from the same cache and
            counts as circumventing it.
        covered: the character's killmails arrive by its corporation's list, so its own is looked at as seldom as can be.
        jitter: for tests.
    """
    login_age = max(0.0, (now - logged_in_at).total_seconds()) if logged_in_at else None
    age, token_left = known.age, 0.0
    if token_until is not None:
        token_left = max(0.0, (token_until - now).total_seconds() - LATE)
    if login_age is not None and known.rhythm.recent == 0:
        # As long as somebody has been here, nothing has come.
        age += login_age
    if covered:
        seconds = max(limits.ceiling, limits.floor)
    else:
        seconds = wait(
            age, known.rhythm, table, limits, token_left=token_left,
            moment=now.timestamp(), habit=known.habit, extra=login_rate(login_age) if login_age is not None else 0.0,
        )  # fmt: skip
    seconds = float(spread(seconds, (jitter or random).random(), token_left))
    due = now + timedelta(seconds=max(seconds, limits.floor))
    return max(due, expires_at + timedelta(seconds=1)) if expires_at else due


def early_poll_delay(age: float, rhythm: Rhythm, phase: float, table: Hazard, limits: PollLimits) -> float:
    """Seconds from now within which a user who is on a killmail of *age* is polled, if not scheduled sooner anyway.

    Several of our users on one killmail are spread by their *phase*, between 0 and 1: each of them has to be asked, but not
    all in the same second.
    """
    return phase * wait(age, rhythm, table, limits)


def phase_of(number: Any) -> Any:
    """A fixed place of a user between 0 and 1, evenly spread over consecutive ids."""
    return number * 0.6180339887498949 % 1.0
