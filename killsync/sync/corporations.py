"""A corporation's killmail list, read by the token of one Director, so that its members need hardly be asked themselves.

A 403 says that the user is no Director (any more): the next candidate is tried, each at most once a day, since a 403 costs
more than two good answers. It never touches the user's own sync or login.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import dramatiq

from killsync import settings as settings_module
from killsync.broker import messages
from killsync.broker.queues import PERSON, ROUTINE
from killsync.esi import errors
from killsync.esi.client import shared
from killsync.killmails import ledger
from killsync.logging import get_logger
from killsync.observability import metrics
from killsync.settings import CORPORATION_SCOPE
from killsync.sso.refresh import usable_until
from killsync.sync import directors, runs, schedule
from killsync.sync import due as polling
from killsync.sync.list_sync import IN_FLIGHT_SECONDS, LEASE_SECONDS, ListWalk, carry_out, come_back, pace_of
from killsync.sync.runs import ListState
from killsync.sync.schedule import Sight
from models import connection, utcnow
from models.killmails import CORPORATION
from models.sync import CORPORATION_LIST
from models.users import User

log = get_logger("corporations")


def sync_corporation(corporation_id: int, run_id: int | None = None) -> None:
    """Sync one corporation's list by the Director whose turn it is. One that another worker reads already is left to it."""
    user_id = directors.director_of(corporation_id)
    if user_id is None:
        if run_id is not None:
            _give_up(run_id)
        log.info("no Director reads this list now", corporation_id=corporation_id)
        return
    message = dramatiq.middleware.CurrentMessage.get_current_message()
    message_id = str(message.message_id) if message else uuid.uuid4().hex
    holder = f"{message_id}:{uuid.uuid4().hex}"
    leased = runs.lease_list(user_id, CORPORATION_LIST, corporation_id, holder, message_id, LEASE_SECONDS)
    if not isinstance(leased, ListState):
        if run_id is not None and runs.is_open(run_id):
            raise come_back(leased)
        return
    asked_run, run_id = run_id, runs.open_run(user_id, CORPORATION_LIST)
    if asked_run not in (None, run_id):
        _give_up(asked_run)
    sync = _CorporationWalk(User.get_by_id(user_id), run_id, leased, holder)
    got_through = carry_out(sync)
    if got_through is False and directors.director_of(corporation_id) not in (user_id, None):
        send(corporation_id)


def _give_up(run_id: int) -> None:
    row = runs.run_row(run_id)
    if row is not None:
        runs.fail(run_id, row["user_id"], "this character's token does not read the corporation's list any more")


def consider(user: Any) -> None:
    """After a user's own sync: learn their corporation, at most once a day and only where it may matter.

    A user who granted the scope may be its Director; a list that nobody reads yet is tried at once.
    """
    if not directors.wants_affiliation(user.id, user.character_id, user.scopes):
        return
    try:
        found = shared(settings_module.current()).character(user.character_id).corporation_id
    except errors.EsiError as error:
        log.info("corporation not learned", user_id=user.id, reason=str(error))
        return
    if directors.join(user.id, found, may_direct=CORPORATION_SCOPE in user.scopes.split()):
        send(found)


def request(user_id: int) -> None:
    """A person asked for a sync of this user: ask for the corporation's list too if it is read by their token."""
    with connection():
        corporation_id = directors.read_by(user_id)
        run_id = runs.open_run(user_id, CORPORATION_LIST) if corporation_id is not None else None
    if corporation_id is not None:
        send(corporation_id, broker_priority=PERSON, run_id=run_id)


def send(corporation_id: int, *, broker_priority: int = ROUTINE, run_id: int | None = None) -> None:
    """Send one corporation's sync message; it carries ids alone. Until it is heard of, no tick sends another."""
    with connection():
        directors.schedule_next(corporation_id, utcnow() + timedelta(seconds=IN_FLIGHT_SECONDS))
    messages.send("sync_corporation_killmails", priority=broker_priority, corporation_id=corporation_id, run_id=run_id)


@dataclass
class _CorporationWalk(ListWalk):
    """A corporation's list, by a Director's token."""

    def record(self, refs: list[tuple[int, str]], fetch_priority: int) -> ledger.Recorded:
        return ledger.record_page(self.state.subject_id, self.run_id, refs, fetch_priority, of_corporation=True)

    def hold(self, seconds: float) -> None:
        directors.schedule_next(self.state.subject_id, utcnow() + timedelta(seconds=seconds))

    def plan(self, *, hours: int = 0) -> None:
        now, corporation_id = utcnow(), self.state.subject_id
        if hours:
            directors.schedule_next(corporation_id, now + timedelta(hours=hours))
            return
        seen = [
            Sight((now - moment).total_seconds()) for moment, _ in polling.recent_killmails(CORPORATION, corporation_id)
        ]
        due = schedule.next_poll(
            now,
            pace=pace_of(self.settings).of_priority(self.user.priority),
            sights=[*seen, *[Sight(0.0)] * min(self.news, polling.MOST_SIGHTS)],
            logged_in_at=self.user.logged_in_at,
            token_until=usable_until(self.user.id),
            expires_at=self.page_one_expires,
        )
        directors.record_sync(corporation_id, due)

    def interrupted(self, error: errors.EsiError, say: Any) -> None:
        """A 403 is the answer to whether this user is a Director; everything else is as for any list."""
        if not isinstance(error, errors.Forbidden):
            super().interrupted(error, say)
            return
        directors.record_refusal(self.state.subject_id, self.user.id)
        metrics.sync_ended("failed")
        runs.fail(self.run_id, self.user.id, "ESI says that this character is not a Director of the corporation")
        say.info("not a Director", corporation_id=self.state.subject_id)
