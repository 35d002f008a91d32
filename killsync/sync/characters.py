"""One user's sync: the pages of the character's killmail list. Details come after, and the corporation's list apart."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

import dramatiq
from dramatiq.errors import ConnectionError as DramatiqConnectionError

from killsync.broker.messages import send
from killsync.broker.queues import PERSON, ROUTINE
from killsync.esi import errors
from killsync.killmails import ledger
from killsync.logging import bind_context, get_logger
from killsync.sso.refresh import usable_until
from killsync.sync import corporations, runs, schedule
from killsync.sync import directors as memberships
from killsync.sync import due as polling
from killsync.sync.list_sync import IN_FLIGHT_SECONDS, LEASE_SECONDS, ListWalk, carry_out, come_back, pace_of
from killsync.sync.runs import ListState
from killsync.sync.schedule import Sight
from models import connection, utcnow
from models.killmails import CHARACTER
from models.sync import CHARACTER_LIST
from models.users import ACTIVE, User

log = get_logger("sync")


def sync_user(user_id: int, run_id: int | None = None, *, is_routine: bool = False) -> None:
    """Sync one user. A message for a user whose list another worker holds waits for that one to end.

    Args:
        user_id: whose list.
        run_id: the run that somebody watches; none for a poll.
        is_routine: sent by a tick. One that was overtaken, by a person's wish or by its own double, does nothing.
    """
    message = dramatiq.middleware.CurrentMessage.get_current_message()
    message_id = str(message.message_id) if message else uuid.uuid4().hex
    holder = f"{message_id}:{uuid.uuid4().hex}"
    user = User.get_or_none(User.id == user_id)
    if user is None or user.status != ACTIVE:
        if run_id is not None:
            runs.fail(run_id, user_id, "the character needs to log in again")
        return
    if is_routine and not polling.is_claimed(user_id):
        return
    leased = runs.lease_list(user_id, CHARACTER_LIST, user.character_id, holder, message_id, LEASE_SECONDS)
    if not isinstance(leased, ListState):
        if run_id is None or runs.is_open(run_id):
            raise come_back(leased)
        return
    run_id = run_id if run_id is not None and runs.is_open(run_id) else runs.open_run(user_id)
    bind_context(run_id=run_id)
    log.info("processing user", character=user.character_name, character_id=user.character_id)
    sync = _CharacterWalk(user, run_id, leased, holder)
    got_through = carry_out(sync)
    if got_through:
        corporations.consider(user)


def send_user(
    user_id: int, *, broker_priority: int = ROUTINE, run_id: int | None = None, is_routine: bool = False
) -> None:
    """Send one user's sync message. It carries ids alone: the worker reads the token itself."""
    send("sync_user_killmails", priority=broker_priority, user_id=user_id, run_id=run_id, is_routine=is_routine)


def request_sync(user_id: int, reason: str) -> int:
    """Ask for a sync of one user now, ahead of routine polls; the id of its run. One that is under way is joined.

    The list of the corporation that is read by this user's token is asked for too, with a run of its own.
    """
    with connection():
        run_id = runs.open_run(user_id)
        polling.hold(user_id, IN_FLIGHT_SECONDS)
    # The broker may take its time, and no connection waits for it.
    try:
        send_user(user_id, broker_priority=PERSON, run_id=run_id)
        corporations.request(user_id)
    except DramatiqConnectionError:
        # The first tick after the broker is back sends what could not be sent now.
        with connection():
            polling.schedule_next(user_id, utcnow())
        raise
    log.info("sync requested", user_id=user_id, run_id=run_id, reason=reason)
    return run_id


@dataclass
class _CharacterWalk(ListWalk):
    """A character's own list."""

    curable: ClassVar[tuple[type[errors.EsiError], ...]] = (errors.TokenRejected, errors.Forbidden)

    def record(self, refs: list[tuple[int, str]], fetch_priority: int) -> ledger.Recorded:
        return ledger.record_page(self.user.id, self.run_id, refs, fetch_priority)

    def hold(self, seconds: float) -> None:
        polling.hold(self.user.id, seconds)

    def plan(self, *, hours: int = 0) -> None:
        now = utcnow()
        if hours:
            polling.schedule_next(self.user.id, now + timedelta(hours=hours))
            return
        seen = [
            Sight((now - moment).total_seconds(), 1 + others)
            for moment, others in polling.recent_killmails(CHARACTER, self.user.character_id, self.user.id)
        ]
        # What this poll brought is not stored yet; it happened since the last one.
        since = (now - self.user.last_killmail_sync_at).total_seconds() if self.user.last_killmail_sync_at else 0.0
        due = schedule.next_poll(
            now,
            pace=pace_of(self.settings).of_priority(self.user.priority),
            sights=[*seen, *[Sight(since / 2)] * min(self.news, polling.MOST_SIGHTS)],
            logged_in_at=self.user.logged_in_at,
            token_until=usable_until(self.user.id),
            expires_at=self.page_one_expires,
            covered=memberships.is_covered(self.user.id),
        )
        polling.record_sync(self.user.id, due)
