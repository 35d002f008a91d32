"""One user's sync: the pages of the character's killmail list. Details come after, and the corporation's list apart."""

from __future__ import annotations

from datetime import timedelta

from dramatiq.errors import BrokerConnectionError

from killsync import settings as settings_module
from killsync.broker.messages import send
from killsync.broker.queues import PERSON, ROUTINE
from killsync.broker.running import RunningMessage, running_message
from killsync.esi import errors
from killsync.killmails import ledger
from killsync.logging import bind_context, get_logger
from killsync.sso.refresh import usable_until
from killsync.sync import corporation_polls, corporations, history, poll_table, runs, schedule, user_polls
from killsync.sync.held_list import lease_list, retry_when_free
from killsync.sync.list_owner import ListOwner, ListRead
from killsync.sync.list_sync import (
    IN_FLIGHT_SECONDS,
    Outcome,
    sync_list,
)
from killsync.sync.lists import LeaseAttempt
from models import connection, utcnow
from models.exactly_once import in_transaction_once
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

    Raises:
        Retry: another worker holds the list, or ESI or the SSO cannot be asked now.
    """
    user = User.get_or_none(User.id == user_id)
    if user is None or user.status != ACTIVE:
        # Also the run of a routine sync that waited until now: its message names none.
        runs.fail_open(user_id, CHARACTER_LIST, runs.NOT_ASKED)
        return
    if is_routine and not user_polls.is_claimed(user_id):
        return
    message = running_message()
    attempt, open_run = in_transaction_once(lambda: _lease(user, run_id, message))
    if attempt.is_overtaken:
        log.info("message overtaken by its own copy", user_id=user_id)
        return
    if attempt.leased is None or open_run is None:
        if run_id is None or open_run is not None:
            retry_when_free(attempt, message)
        return
    run_id = open_run
    bind_context(run_id=run_id)
    log.info("processing user", character=user.character_name, character_id=user.character_id)
    outcome = sync_list(user, run_id, attempt.leased, _owner(user, run_id), message)
    if outcome is Outcome.COMPLETED:
        corporations.after_sync_of(user)


def _lease(user: User, run_id: int | None, message: RunningMessage) -> tuple[LeaseAttempt, int | None]:
    """Take the list and the run that counts its sync, both or none; of a list that is held, *run_id* if it is open."""
    attempt = lease_list(user.id, CHARACTER_LIST, user.character_id, message)
    watched = run_id if run_id is not None and runs.is_open(run_id) else None
    if attempt.leased is None or watched is not None:
        return attempt, watched
    return attempt, runs.open_run(user.id)


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
        user_polls.hold(user_id, IN_FLIGHT_SECONDS)
    # The broker may take its time, and no connection waits for it.
    try:
        send_user(user_id, broker_priority=PERSON, run_id=run_id)
        corporations.request_sync(user_id)
    except BrokerConnectionError:
        # The first tick after the broker is back sends what could not be sent now.
        with connection():
            user_polls.schedule_next(user_id, utcnow())
        raise
    log.info("sync requested", user_id=user_id, run_id=run_id, reason=reason)
    return run_id


def _owner(user: User, run_id: int) -> ListOwner:
    """A character's own list."""
    return ListOwner(
        record=lambda refs, fetch_priority: ledger.record_page(user.id, run_id, refs, fetch_priority),
        schedule_next=lambda read: _schedule_next(user, read),
        hold=lambda seconds: user_polls.hold(user.id, seconds),
        poll_in=lambda seconds: user_polls.schedule_next(user.id, utcnow() + timedelta(seconds=seconds)),
        cured_by_refresh=(errors.TokenRejected, errors.Forbidden),
    )


def _schedule_next(user: User, read: ListRead) -> None:
    """Schedule the next poll of a character's list that was just read."""
    now, table = utcnow(), poll_table.current().read()
    ages = [(now - moment).total_seconds() for moment in history.newest(CHARACTER, user.character_id)]
    # What this poll brought is not stored yet; it happened since the last one.
    since = (now - user.last_killmail_sync_at).total_seconds() if user.last_killmail_sync_at else 0.0
    ages += [since / 2] * min(read.news, history.MOST_RECENT)
    corporation = dict(history.corporations([user.id])).get(user.id) if table.hours else None
    known = schedule.known_by(ages, table.hours.get(corporation or 0, ""))
    due = schedule.next_poll(
        now,
        limits=schedule.limits_of(settings_module.current()).for_priority(user.priority),
        table=table,
        known=known,
        logged_in_at=user.logged_in_at,
        token_until=usable_until(user.id),
        expires_at=read.page_one_expires,
        covered=corporation_polls.is_covered(user.id),
    )
    user_polls.record_sync(user.id, due, known.rhythm)
