"""A corporation's killmail list, read by its Directors' tokens in turn, so that its members need hardly be asked themselves.

A 403 is taken by its reason: who lacks the role is not tried again for a day, who is not in the corporation is looked up
anew, and anything else is trouble that passes. It never touches the user's own sync or login.
"""

from __future__ import annotations

from datetime import timedelta

from dramatiq.errors import BrokerConnectionError

from killsync import settings as settings_module
from killsync.broker import messages
from killsync.broker.queues import PERSON, ROUTINE
from killsync.broker.running import running_message
from killsync.esi import errors
from killsync.killmails import ledger
from killsync.logging import get_logger
from killsync.sso.refresh import usable_until
from killsync.sync import affiliations, corporation_polls, directors, history, poll_table, run_queries, runs, schedule
from killsync.sync.held_list import lease_list, retry_when_free
from killsync.sync.list_owner import ListOwner, ListRead
from killsync.sync.list_sync import (
    FORBIDDEN_SECONDS,
    IN_FLIGHT_SECONDS,
    Outcome,
    sync_list,
)
from killsync.sync.lists import LeaseAttempt
from models import connection, utcnow
from models.exactly_once import in_transaction_once
from models.killmails import CORPORATION
from models.sync import CORPORATION_LIST
from models.users import User

log = get_logger("corporations")

#: ESI serves a character's corporation from a cache for this long, seconds.
AFFILIATION_SECONDS = 3600.0


def sync_corporation(corporation_id: int, run_id: int | None = None) -> None:
    """Sync one corporation's list by the Director whose turn it is. One that another worker reads already is left to it.

    Raises:
        Retry: somebody watches *run_id* and another worker holds the list, or ESI or the SSO cannot be asked now.
    """
    wish = run_queries.run_row(run_id) if run_id is not None else None
    user_id = directors.director_of(corporation_id, wish["user_id"] if wish else None)
    if user_id is None:
        if run_id is not None:
            _give_up(run_id)
        log.info("no Director reads this list now", corporation_id=corporation_id)
        return
    message = running_message()

    def lease() -> tuple[LeaseAttempt, int | None]:
        attempt = lease_list(user_id, CORPORATION_LIST, corporation_id, message)
        return attempt, runs.open_run(user_id, CORPORATION_LIST) if attempt.leased is not None else None

    attempt, open_run = in_transaction_once(lease)
    if attempt.is_overtaken:
        log.info("message overtaken by its own copy", corporation_id=corporation_id)
        return
    if attempt.leased is None or open_run is None:
        if run_id is not None and runs.is_open(run_id):
            retry_when_free(attempt, message)
        return
    asked_run, run_id = run_id, open_run
    if asked_run is not None and asked_run != run_id:
        _give_up(asked_run)
    user = User.get_by_id(user_id)
    outcome = sync_list(user, run_id, attempt.leased, _owner(corporation_id, user, run_id), message)
    is_out = outcome is Outcome.FAILED and not directors.is_reader(corporation_id, user_id)
    if is_out and directors.director_of(corporation_id) is not None:
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
    for corporation_id in affiliations.after_sync_of(found_user) if found_user is not None else ():
        send(corporation_id)


def request_sync(user_id: int) -> None:
    """A person asked for a sync of this user: ask for the corporation's list too if it is read by their token."""
    with connection():
        corporation_id = directors.read_by(user_id)
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
    except BrokerConnectionError:
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

    return ListOwner(
        record=record,
        schedule_next=lambda read: _schedule_next(corporation_id, user, read),
        hold=lambda seconds: _poll_in(corporation_id, seconds),
        poll_in=lambda seconds: _poll_in(corporation_id, seconds),
        on_forbidden=lambda error: _forbidden(corporation_id, user, error),
    )


def _forbidden(corporation_id: int, user: User, error: errors.Forbidden) -> str:
    """What a 403 of the list means by the reason that ESI gives; why the run ends."""
    words = error.said.lower()
    if "required role" in words:
        directors.record_refusal(corporation_id, user.id)
        return f"this character is not a Director of the corporation ({error})"
    if "not in the corporation" in words:
        # ESI keeps affiliations for an hour: until then it may say that nothing has changed.
        directors.record_refusal(corporation_id, user.id, for_seconds=AFFILIATION_SECONDS)
        for readable in affiliations.look_again(user):
            send(readable)
        return f"this character is not in the corporation any more ({error})"
    # Trouble of ESI or the SSO has looked like this too: nothing is concluded, and the next Director's turn is next.
    directors.end_turn(corporation_id, user.id, was_read=False)
    _poll_in(corporation_id, FORBIDDEN_SECONDS)
    return f"{error}; asked again in a quarter of an hour"


def _schedule_next(corporation_id: int, user: User, read: ListRead) -> None:
    """Schedule the next poll of a corporation's list that was just read, by the Director whose turn is next."""
    now = utcnow()
    reader = directors.end_turn(corporation_id, user.id, was_read=True)
    table = poll_table.current().read()
    ages = [(now - moment).total_seconds() for moment in history.newest(CORPORATION, corporation_id)]
    ages += [0.0] * min(read.news, history.MOST_RECENT)
    due = schedule.next_poll(
        now,
        limits=schedule.limits_of(settings_module.current()).for_priority(user.priority),
        table=table,
        known=schedule.known_by(ages, table.hours.get(corporation_id, "")),
        logged_in_at=user.logged_in_at,
        token_until=usable_until(reader),
        expires_at=read.page_one_expires,
    )
    corporation_polls.record_sync(corporation_id, due)
