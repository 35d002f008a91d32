"""The table of what is expected of whom, as the board's own history has it: made anew each night, stored, read by all workers.

Until there is one, and where history says little, the law of a board without history holds (`hazard.law`).
"""

from __future__ import annotations

import math
import threading
import time
import uuid
from collections.abc import Iterable, Mapping
from datetime import datetime
from itertools import groupby

import msgspec
from peewee import chunked

from killsync import leases
from killsync.broker.messages import send
from killsync.logging import get_logger
from killsync.process import OnePerProcess
from killsync.sync import history, schedule
from killsync.sync.hazard import DAY, EDGES, RECENT_EDGES, Hazard, by_law, habit_of
from killsync.sync.hazard_learning import Learner
from models.db import connection, in_transaction
from models.expressions import now
from models.fields import utcnow
from models.sync import PollTable

log = get_logger("polls")

#: So often a table is made, seconds. A little under a day, so that it does not wander through it.
MAKE_SECONDS = DAY - 600.0
#: A making that takes longer than this has died with its worker, seconds; also the pause after one that failed.
MAKING_SECONDS = 900.0
#: So many users are enough to learn from; of more, every second, third, ... is taken.
MOST_USERS = 25_000
#: Users and corporations that are asked about in one statement.
BATCH = 100
#: Habits are judged by the last days, and are those of the days before, seconds.
JUDGED_SECONDS = 20 * DAY
#: A process looks for a newer table so often, seconds.
LOOK_SECONDS = 300.0
_NAME = _LEASE = "poll-table"


class Content(msgspec.Struct):
    """The table as it is stored."""

    rates: list[list[list[float]]]
    habits: list[float]
    hours: dict[int, str]


class Kept:
    """The table as this process last read it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._law = by_law()
        self._table, self._made_at = self._law, ""
        self._looked_at = float("-inf")

    def read(self) -> Hazard:
        """The table, at most `LOOK_SECONDS` older than the stored one."""
        with self._lock:
            if time.monotonic() - self._looked_at >= LOOK_SECONDS:
                self._look()
            return self._table

    def forget(self) -> None:
        """Look at the next reading, whenever the last one was."""
        with self._lock:
            self._looked_at = float("-inf")

    def _look(self) -> None:
        made_at = PollTable.select(PollTable.made_at).where(PollTable.name == _NAME).scalar()
        if made_at is None:
            self._table, self._made_at = self._law, ""
        elif str(made_at) != self._made_at:
            content = PollTable.select(PollTable.content).where(PollTable.name == _NAME).scalar()
            self._table, self._made_at = _table(content) or self._law, str(made_at)
        self._looked_at = time.monotonic()


def _table(content: str) -> Hazard | None:
    try:
        found = msgspec.json.decode(content, type=Content)
    except msgspec.DecodeError:
        return None
    # Of a version with other bins: a night brings a table of this one.
    fits = len(found.rates) == len(EDGES) and {len(row) for plane in found.rates for row in plane} == {
        len(RECENT_EDGES)
    }
    return Hazard(found.rates, found.habits, found.hours) if fits else None


current = OnePerProcess(Kept)


def made() -> tuple[datetime, int] | None:
    """When the stored table was made, and of how many killmails; none if there is none."""
    found = PollTable.select(PollTable.made_at, PollTable.killmails).where(PollTable.name == _NAME).first()
    return None if found is None else (found.made_at, found.killmails)


def send_due() -> None:
    """Have a worker make a table if it is time to."""
    if not leases.is_held(_LEASE):
        send("learn_polls")


def make() -> int:
    """Make the table if it is time to, and store it; killmails that were counted.

    It takes seconds, of any number of users, and a few megabytes.
    """
    holder = uuid.uuid4().hex
    with connection():
        if not leases.acquire(_LEASE, holder, MAKING_SECONDS):
            return 0
        began = time.monotonic()
        learner, hours = _learn(utcnow().timestamp())
        table, counted = learner.hazard(hours), learner.events()
        content = msgspec.json.encode(Content(_short(table.rates), [*table.habits], dict(hours))).decode()
        entered = PollTable.insert(name=_NAME, content=content, killmails=counted, made_at=now()).on_conflict(
            conflict_target=[PollTable.name], preserve=(PollTable.content, PollTable.killmails, PollTable.made_at)
        )
        in_transaction(entered.execute)
        leases.acquire(_LEASE, holder, MAKE_SECONDS)
    current().forget()
    log.info("polls learned", killmails=counted, corporations=len(hours), seconds=round(time.monotonic() - began, 1))
    return counted


def _learn(until: float) -> tuple[Learner, Mapping[int, str]]:
    since, judged_from = until - schedule.LISTED, until - JUDGED_SECONDS
    users = history.user_ids()
    corporations = {
        user_id: corporation for some in chunked(users, BATCH) for user_id, corporation in history.corporations(some)
    }
    before: dict[int, str] = {}
    hours: dict[int, str] = {}
    for some in chunked(sorted(set(corporations.values())), BATCH):
        for corporation, days, days_before in history.days_by_hour(some, since, judged_from):
            before[corporation], hours[corporation] = habit_of(days_before), habit_of(days)
    learner = Learner(until, judged_from)
    for some in chunked(users[:: max(1, math.ceil(len(users) / MOST_USERS))], BATCH):
        for user_id, seen in groupby(history.sightings(some, since), key=lambda sighting: sighting.user_id):
            learner.add(
                ((sighting.moment, sighting.is_own) for sighting in seen),
                before.get(corporations.get(user_id, 0), ""),
            )
    return learner, hours


def _short(rates: Iterable[Iterable[Iterable[float]]]) -> list[list[list[float]]]:
    """Four digits are more than is known."""
    return [[[float(f"{rate:.4g}") for rate in row] for row in plane] for plane in rates]
