"""What an answer of a receiver means for its webhook: when the next try is made, and when Killsync gives up. Pure."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import timedelta

from killsync.webhooks.sender import Verdict

#: A receiver that is not well is asked again after 5 s, 10 s, 20 s ... at most half an hour, and given up after 5 days.
FIRST_PAUSE, LONGEST_PAUSE = 5.0, 1_800.0
GIVE_UP_AFTER = timedelta(days=5)
#: A receiver that takes nothing at this address (401, 403, 404, 410) is given up after this many answers in a row.
LOST_AT = 3
LOST_PAUSE = 60.0
#: A message that is refused is tried this often, then the next one; so many failures in a row end a webhook.
MOST_REFUSALS = 3
REFUSED_AT = 15
#: Doublings of the pause that are counted: more would not be longer, and 2.0**1100 is no number.
MOST_DOUBLINGS = 12


@dataclass(frozen=True)
class Failures:
    """A webhook's failures, the one that is judged included.

    Attributes:
        in_a_row: failures since the last message that was taken.
        lasting: since the first of them.
        attempts: how often this message was tried.
    """

    in_a_row: int
    lasting: timedelta
    attempts: int


@dataclass(frozen=True)
class Consequence:
    """What follows from a failure.

    Attributes:
        pause: seconds until the next try.
        asked: the part of it that the receiver asked for.
        disable: why the webhook is given up; None when it is not.
        skip: this message is left out, and the next one is tried at once.
    """

    pause: float
    asked: float = 0.0
    disable: str | None = None
    skip: bool = False


def consequence_of(verdict: Verdict, failures: Failures) -> Consequence:
    """What follows when a message was not taken, for a reason other than that the receiver asks for a pause."""
    disable = _reason_to_disable(verdict, failures)
    if verdict.kind == "refused" and failures.attempts >= MOST_REFUSALS:
        return Consequence(0.0, disable=disable, skip=True)
    if verdict.kind == "lost":
        return Consequence(LOST_PAUSE * 5.0 ** min(failures.in_a_row - 1, LOST_AT), disable=disable)
    asked = verdict.pause or 0.0
    return Consequence(max(asked, _backoff(failures.in_a_row - 1)), asked, disable)


def _reason_to_disable(verdict: Verdict, failures: Failures) -> str | None:
    if verdict.kind == "lost" and failures.in_a_row >= LOST_AT:
        return f"{failures.in_a_row} times in a row: {verdict.reason}"
    if verdict.kind == "refused" and failures.in_a_row >= REFUSED_AT:
        return f"It takes none of our messages: {verdict.reason}"
    if failures.lasting > GIVE_UP_AFTER:
        return f"Nothing could be delivered for {GIVE_UP_AFTER.days} days: {verdict.reason}"
    return None


def _backoff(earlier: int) -> float:
    pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(earlier, MOST_DOUBLINGS))
    return pause * random.uniform(1.0, 1.2)  # noqa: S311
