"""A corporation's killmail list, read by the token of one Director, so that its members need hardly be asked themselves.

A 403 says that the user is no Director (any more): the next candidate is tried, each at most once a day, since a 403 costs
more than two good answers. It never touches the user's own sync or login.
"""

from __future__ import annotations

from datetime import timedelta

from dramatiq.errors import ConnectionError as DramatiqConnectionError

from killsync import settings as settings_module
from killsync.broker import messages
from killsync.broker.queues import PERSON, ROUTINE
from killsync.broker.running import running_message
from killsync.esi import errors
from killsync.esi.client import shared
from killsync.killmails import ledger
from killsync.logging import get_logger
from killsync.settings import CORPORATION_SCOPE
from killsync.sso.refresh import usable_until
from killsync.sync import corporation_polls, directors, run_queries, runs, schedule, user_polls
from killsync.sync.list_sync import (
    IN_FLIGHT_SECONDS,
    ListOwner,
    ListRead,
    Outcome,
    lease_list,
    retry_when_free,
    sync_list,
)
from killsync.sync.lists import LeaseAttempt
from killsync.sync.schedule import RecentKillmail
from models import connection, in_transaction, utcnow
from models.killmails import CORPORATION
from models.sync import CORPORATION_LIST
from models.users import User

log = get_logger("corporations")


def sync_corporation(corporation_id: int, run_id: int | None = None) -> None:
    """Sync one corporation's list by the Director whose turn it is. One that another worker reads already is left to it.

    Raises:
        Retry: somebody watches *run_id* and another worker holds the list, or ESI or the SSO cannot be asked now.
    """
    user_id = directors.director_of(corporation_id)
    if user_id is None:
        if run_id is not None:
            _give_up(run_id)
        log.info("no Director reads this list now", corporation_id=corporation_id)
        return
    message = running_message()

    def lease() -> tuple[LeaseAttempt, int | None]:
        attempt = lease_list(user_id, CORPORATION_LIST, corporation_id, message)
        return attempt, runs.open_run(user_id, CORPORATION_LIST) if attempt.leased is not None else None

    attempt, open_run = in_transaction(lease)
    if attempt.leased is None or open_run is None:
        if run_id is not None and runs.is_open(run_id):
            retry_when_free(attempt, message)
        return
    asked_run, run_id = run_id, open_run
    if asked_run is not None and asked_run != run_id:
        _give_up(asked_run)
    user = User.get_by_id(user_id)
    outcome = sync_list(user, run_id, attempt.leased, _owner(corporation_id, user, run_id), message)
    if outcome is Outcome.FAILED and directors.director_of(corporation_id) not in (user_id, None):
        send(corporation_id)


def _give_up(run_id: int) -> None:
    row = run_queries.run_row(run_id)
    if row is not None:
        runs.fail(run_id, row["user_id"], runs.LOST_LIST)


def after_sync_of(user: User) -> None:
    """After a user's own sync: learn their corporation, at most once a day and only where it may matter.

    A user who granted the scope may be its Director; a list that nobody reads yet is tried at once. After a login all that
    is looked at anew: the user may have granted the scope, or have got the role, since.
    """
    # As the row is now: the sync may have begun before the login.
    found_user = User.get_or_none(User.id == user.id)
    if found_user is None:
        return
    user = found_user
    if not directors.wants_affiliation(user.id, user.character_id, user.scopes):
        return
    try:
        found = shared(settings_module.current()).character(user.character_id).corporation_id
    except errors.EsiError as error:
        log.info("corporation not learned", user_id=user.id, reason=str(error))
        return
    if directors.join(user.id, found, may_direct=CORPORATION_SCOPE in user.scopes.split()):
        send(found)


def request_sync(user_id: int) -> None:
    """A person asked for a sync of this user: ask for the corporation's list too if it is read by their token."""
    with connection():
        corporation_id = corporation_polls.read_by(user_id)
        run_id = runs.open_run(user_id, CORPORATION_LIST) if corporation_id is not None else None
    if corporation_id is not None:
        send(corporation_id, broker_priority=PERSON, run_id=run_id)


def send(corporation_id: int, *, broker_priority: int = ROUTINE, run_id: int | None = None) -> None:
    """Send one corporation's sync message; it carries ids alone. Until it is heard of, no tick sends another."""
    with connection():
        _poll_in(corporation_id, IN_FLIGHT_SECONDS)
    carried = {"corporation_id": corporation_id, "run_id": run_id}
    try:
        messages.send("sync_corporation_killmails", priority=broker_priority, **carried)
    except DramatiqConnectionError:
        # The first tick after the broker is back sends what could not be sent now.
        with connection():
            _poll_in(corporation_id, 0.0)
        raise


def _poll_in(corporation_id: int, seconds: float) -> None:
    corporation_polls.schedule_next(corporation_id, utcnow() + timedelta(seconds=seconds))


def _owner(corporation_id: int, user: User, run_id: int) -> ListOwner:
    """A corporation's list, by a Director's token."""

    def record(refs: list[tuple[int, str]], fetch_priority: int) -> ledger.Recorded:
        return ledger.record_page(corporation_id, run_id, refs, fetch_priority, of_corporation=True)

    def on_forbidden() -> str:
        """A 403 is the answer to whether this user is a Director."""
        directors.record_refusal(corporation_id, user.id)
        return "ESI says that this character is not a Director of the corporation"

    return ListOwner(
        record=record,
        schedule_next=lambda read: _schedule_next(corporation_id, user, read),
        hold=lambda seconds: _poll_in(corporation_id, seconds),
        poll_in=lambda seconds: _poll_in(corporation_id, seconds),
        on_forbidden=on_forbidden,
    )


def _schedule_next(corporation_id: int, user: User, read: ListRead) -> None:
    """Schedule the next poll of a corporation's list that was just read."""
    now = utcnow()
    stored = [
        RecentKillmail((now - killmail.killmail_time).total_seconds())
        for killmail in user_polls.recent_killmails(CORPORATION, corporation_id)
    ]
    due = schedule.next_poll(
        now,
        limits=schedule.limits_of(settings_module.current()).for_priority(user.priority),
        recent=[*stored, *[RecentKillmail(0.0)] * min(read.news, user_polls.MOST_RECENT)],
        logged_in_at=user.logged_in_at,
        token_until=usable_until(user.id),
        expires_at=read.page_one_expires,
    )
    corporation_polls.record_sync(corporation_id, due)
