"""Workers that overtake each other, accounts that go while a page is on its way, brokers and databases that break between two steps."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import peewee
import pytest
import time_machine
from dramatiq.errors import ConnectionClosed, Retry

from killsync.accounts import accounts
from killsync.accounts.accounts import NewLogin
from killsync.broker.running import RunningMessage
from killsync.esi import errors
from killsync.esi.errors import Cost
from killsync.esi.responses import ListAnswer
from killsync.killmails import dispatch, ledger, ledger_figures
from killsync.scheduling import enqueue
from killsync.settings import CORPORATION_SCOPE
from killsync.sync import corporation_polls, corporations, directors, list_sync, lists, progress, runs, user_polls
from killsync.sync.characters import request_sync, sync_user
from killsync.sync.held_list import lease_list
from killsync.sync.list_sync import Outcome, sync_list
from models import connection
from models.db import database, in_transaction
from models.fields import utcnow
from models.killmails import FETCHED, INVALID, CorporationKillmail, KillmailRef, UserKillmail
from models.sync import (
    CHARACTER_LIST,
    CORPORATION_LIST,
    CorporationFeed,
    ListPage,
    MailList,
    Membership,
    SyncRun,
)
from models.users import DISABLED, Account, User

ON_POSTGRES = pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
CORPORATION = 98_000_001


class Esi:
    """ESI's answers for the lists: pages of ids; *meanwhile* happens while a page is on its way."""

    def __init__(self, *pages: list[int]) -> None:
        self.pages = list(pages)
        self.asked: list[int] = []
        self.meanwhile: Callable[[int], None] = lambda page: None

    def killmail_list(self, _kind: str, _subject_id: int, _token: str, page: int, **_context: Any) -> ListAnswer:
        self.asked.append(page)
        self.meanwhile(page)
        refs = [(number, digest(number)) for number in self.pages[page - 1]]
        return ListAnswer(refs, len(self.pages), None, None, None, False, False, Cost(1, 2))


def digest(number: int, salt: int = 0) -> str:
    return f"{number + salt:040x}"


@pytest.fixture
def esi(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Esi]:
    made = Esi([1, 2])
    monkeypatch.setattr(list_sync, "shared", lambda _settings: made)
    monkeypatch.setattr(list_sync, "access_token", lambda _user_id, **_more: "token")
    monkeypatch.setattr(dispatch, "send", lambda *_given, **_more: None)
    # What a login asks for beside the list has tests of its own.
    monkeypatch.setattr(corporations, "after_sync_of", lambda _user: None)
    with connection():
        yield made


def pilot(number: int = 1, **columns: Any) -> User:
    """A user with an account, whose list has been walked."""
    account = Account.create()
    user: User = User.create(
        character_id=9000 + number,
        character_name=f"Pilot {number}",
        account_id=account.id,
        next_sync_at=utcnow(),
        **columns,
    )
    walked_list(user.id, CHARACTER_LIST, user.character_id)
    return user


def walked_list(user_id: int, kind: str, subject_id: int) -> None:
    MailList.create(user_id=user_id, kind=kind, subject_id=subject_id, next_page=None, walked_at=utcnow())


def elsewhere(work: Callable[[], Any]) -> threading.Thread:
    """*work* begins in another thread with a connection of its own."""

    def run() -> None:
        with connection():
            work()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def listed() -> set[int]:
    return {row.killmail_id for row in UserKillmail.select(UserKillmail.killmail_id)}


def again(message: RunningMessage) -> RunningMessage:
    """The message as the broker delivers it when it has lost the worker that had it: as it was sent, and marked."""
    return RunningMessage(message.id, {}, redelivered=True)


def run_of(run_id: int) -> Any:
    return SyncRun.get_by_id(run_id)


def lose_the_answer_of_a_commit(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """The connection breaks after so many commits from now, when the server has done the last of them."""
    commit, left = database.obj.commit, [number]

    def break_off() -> Any:
        done = commit()
        left[0] -= 1
        if left[0] == 0:
            database.obj.connection().close()
            raise peewee.OperationalError("the connection broke")
        return done

    monkeypatch.setattr(database.obj, "commit", break_off)


# The broker between two steps.


def test_a_broker_that_goes_away_after_a_page_keeps_nobody_from_the_next_page(
    esi: Esi, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = pilot()
    esi.pages = [[11, 12], [9, 10], [1]]

    def away(*_given: Any, **_more: Any) -> None:
        raise ConnectionClosed(OSError("away"))

    monkeypatch.setattr(dispatch, "send", away)
    sync_user(user.id)
    assert listed() == {1, 9, 10, 11, 12}
    KillmailRef.update(due_at=utcnow() - timedelta(seconds=1)).execute()
    sent: list[int] = []
    monkeypatch.setattr(dispatch, "send", lambda _actor, *ids, **_more: sent.extend(*ids))
    dispatch.dispatch()
    assert sorted(sent) == [1, 9, 10, 11, 12], "the next tick sends them"


def test_a_delayed_dispatch_that_the_broker_did_not_take_is_scheduled_again(
    esi: Esi, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []

    def away(actor: str, *_given: Any, **_more: Any) -> None:
        tried.append(actor)
        raise ConnectionClosed(OSError("away"))

    monkeypatch.setattr(dispatch, "send", away)
    one = dispatch.Dispatcher()
    for _ in range(2):
        with pytest.raises(ConnectionClosed):
            one._schedule(20.0)
    assert tried == ["dispatch_killmails"] * 2


def test_a_late_delayed_dispatch_leaves_the_one_that_took_its_place_alone(
    esi: Esi, monkeypatch: pytest.MonkeyPatch
) -> None:
    from actors.enqueue import dispatch_killmails

    sent: list[dict[str, Any]] = []
    monkeypatch.setattr(dispatch, "send", lambda _actor, *_ids, **carried: sent.append(carried))
    ledger.add_submitted(1, digest(1))
    monkeypatch.setattr(ledger, "claim", lambda *_given, **_more: [])
    dispatch.Dispatcher()._schedule(-10.0)
    dispatch.Dispatcher()._schedule(20.0)
    late, _current = sent
    late.pop("delay_ms")
    dispatch_killmails.fn(**late)
    assert len(sent) == 2, "no third is under way"


def test_users_whose_messages_the_broker_did_not_take_are_due(esi: Esi, monkeypatch: pytest.MonkeyPatch) -> None:
    everybody = [pilot(number, last_killmail_sync_at=utcnow()) for number in range(5)]
    sent: list[int] = []

    def away(user_id: int, **_more: Any) -> None:
        if len(sent) == 2:
            raise ConnectionClosed(OSError("away"))
        sent.append(user_id)

    monkeypatch.setattr(enqueue, "send_user", away)
    with pytest.raises(ConnectionClosed):
        enqueue.enqueue_due_users()
    assert user_polls.count_due(0.0).due == len(everybody) - 2


# Ticks that piled up.


def test_ticks_that_piled_up_are_worked_off_as_one(esi: Esi, monkeypatch: pytest.MonkeyPatch) -> None:
    from actors.enqueue import enqueue_due_users, sweep

    for number in range(150):
        User.create(character_id=5000 + number, character_name="Pilot", next_sync_at=utcnow() - timedelta(hours=1))
    sent: list[int] = []
    sweeps: list[int] = []
    monkeypatch.setattr(enqueue, "send_user", lambda user_id, **_more: sent.append(user_id))
    monkeypatch.setattr("killsync.scheduling.sweep.sweep", lambda: sweeps.append(1))

    def work_off() -> None:
        for _ in range(6):
            enqueue_due_users.fn()
            sweep.fn()

    for thread in [elsewhere(work_off) for _ in range(3)]:
        thread.join()
    assert len(sent) == enqueue.LEAST_OVERDUE, "as many as one tick is meant to take"
    assert len(sweeps) == 1


def test_a_tick_in_time_has_its_turn(esi: Esi, monkeypatch: pytest.MonkeyPatch) -> None:
    from killsync.scheduling import turns

    done: list[int] = []
    monkeypatch.setattr(turns, "TICK_SECONDS", 0.4)
    for _ in range(3):
        turns.take("a test", lambda: done.append(1))
        time.sleep(0.35)
    assert len(done) == 3


# A worker that was taken over.


@pytest.mark.parametrize("answer", ["wait", "failure", "refusal"])
def test_a_worker_that_was_taken_over_neither_waits_nor_ends_the_run(esi: Esi, answer: str) -> None:
    user = pilot()
    message = RunningMessage()
    run_id = runs.open_run(user.id)
    attempt = lease_list(user.id, CHARACTER_LIST, user.character_id, message)
    assert attempt.leased is not None

    def overtake(page: int) -> None:
        # The broker gave the message to another worker, which goes on.
        assert lease_list(user.id, CHARACTER_LIST, user.character_id, again(message)).leased is not None
        user_polls.hold(user.id, 777.0)
        raise {
            "wait": errors.Downtime("/path", "away", retry_after=30.0),
            "failure": errors.BadRequest("/path", "no"),
            "refusal": errors.Forbidden("/path", "no"),
        }[answer]

    esi.meanwhile = overtake
    owner = corporations._owner(CORPORATION, user, run_id)
    before = User.get_by_id(user.id).next_sync_at
    outcome = sync_list(user, run_id, attempt.leased, owner, message)
    assert outcome is Outcome.TAKEN_OVER, "its message is not sent a second time"
    assert (run_of(run_id).status, run_of(run_id).finished_at) == ("running", None)
    assert User.get_by_id(user.id).next_sync_at > before
    assert MailList.get(MailList.subject_id == user.character_id).leased_by is not None, "the other one has the list"


def test_a_worker_that_was_taken_over_after_its_last_page_schedules_nothing(
    esi: Esi, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = pilot()
    message = RunningMessage()
    monkeypatch.setattr("killsync.sync.characters.running_message", lambda: message)
    after_pages = dispatch.dispatch

    def overtake() -> int:
        lease_list(user.id, CHARACTER_LIST, user.character_id, again(message))
        user_polls.hold(user.id, 777.0)
        return after_pages()

    monkeypatch.setattr(list_sync, "dispatch", overtake)
    sync_user(user.id)
    assert user_polls.is_claimed(user.id), "the other one's message is under way"
    assert SyncRun.get().walked == 0


def test_a_page_with_a_refresh_inside_does_not_outlive_its_lease(esi: Esi, monkeypatch: pytest.MonkeyPatch) -> None:
    user = pilot()
    monkeypatch.setattr("killsync.sync.held_list.RENEW_SECONDS", 0.0, raising=False)
    left: list[float] = []

    def slow_refresh(_user_id: int, *, rejected: str | None = None) -> str:
        # As good as over, after a call that took long.
        MailList.update(leased_until=utcnow() + timedelta(seconds=5)).execute()
        return "token" if rejected is None else "another"

    def reject(_page: int) -> None:
        left.append((MailList.get().leased_until - utcnow()).total_seconds())
        if len(left) == 1:
            raise errors.TokenRejected("/path", "no")

    monkeypatch.setattr(list_sync, "access_token", slow_refresh)
    esi.meanwhile = reject
    sync_user(user.id)
    assert len(left) == 2 and min(left) > 100, "each call begins with a whole lease"


# One message in several copies.


def deliver(monkeypatch: pytest.MonkeyPatch, user: User, message: RunningMessage) -> bool:
    """A worker takes a message; whether it sends it back."""
    monkeypatch.setattr("killsync.sync.characters.running_message", lambda: message)
    try:
        sync_user(user.id)
    except Retry:
        return True
    return False


def test_of_a_message_that_waits_and_its_copy_that_comes_again_one_goes_on(
    esi: Esi, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = pilot()
    first = RunningMessage("a message")

    def away(_page: int) -> None:
        raise errors.Downtime("/path", "away", retry_after=30.0)

    esi.meanwhile = away
    assert deliver(monkeypatch, user, first), "it is sent back to wait"
    # Its acknowledgement was lost with the connection: the broker delivers it again, and that copy waits as well.
    second = again(first)
    assert deliver(monkeypatch, user, second)
    esi.meanwhile, esi.asked = lambda _page: None, []
    assert not deliver(monkeypatch, user, first), "the first copy ends: a later one waits"
    assert esi.asked == [] and SyncRun.get().walked == 0
    assert not deliver(monkeypatch, user, second)
    assert listed() == {1, 2} and SyncRun.get().walked == 1


def test_a_copy_of_a_message_does_nothing_beside_the_one_that_is_worked_on(
    esi: Esi, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = pilot()
    first = RunningMessage("a message")
    others: list[bool] = []

    def another(_page: int) -> None:
        if not others:
            # It lay with a worker that had lost the broker, and knows nothing of the copy.
            others.append(deliver(monkeypatch, user, RunningMessage(first.id)))

    esi.meanwhile = another
    assert not deliver(monkeypatch, user, again(first))
    assert others == [False] and esi.asked == [1] and listed() == {1, 2}


def test_a_message_that_waited_is_taken_over_when_its_worker_dies(esi: Esi, monkeypatch: pytest.MonkeyPatch) -> None:
    user = pilot()
    first = RunningMessage("a message")

    def away(_page: int) -> None:
        raise errors.Downtime("/path", "away", retry_after=30.0)

    esi.meanwhile = away
    assert deliver(monkeypatch, user, first)
    # The worker that takes it up dies with the list.
    assert lease_list(user.id, CHARACTER_LIST, user.character_id, first).leased is not None
    esi.meanwhile = lambda _page: None
    assert not deliver(monkeypatch, user, RunningMessage(first.id, dict(first.options), redelivered=True))
    assert listed() == {1, 2}


def test_a_message_whose_database_went_away_while_it_had_the_list_goes_on_with_it(
    esi: Esi, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = pilot()
    message = RunningMessage("a message")
    execute, is_away = database.obj.execute_sql, [False]

    def answer(*given: Any, **more: Any) -> Any:
        if is_away[0]:
            raise peewee.OperationalError("the connection broke")
        return execute(*given, **more)

    def goes_away(_page: int) -> None:
        is_away[0] = True

    monkeypatch.setattr(database.obj, "execute_sql", answer)
    monkeypatch.setattr("models.db.time", SimpleNamespace(sleep=lambda _seconds: None))
    esi.meanwhile = goes_away
    with pytest.raises(peewee.OperationalError):
        deliver(monkeypatch, user, message)
    is_away[0], esi.meanwhile = False, lambda _page: None
    assert MailList.get().leased_until is not None, "the list could not be given back"
    # As Dramatiq sends it back: with what it counted, and not marked as delivered again.
    assert not deliver(monkeypatch, user, RunningMessage(message.id, {**message.options, "retries": 1}))
    assert listed() == {1, 2} and SyncRun.get().walked == 1


def test_a_message_whose_database_kept_nothing_of_a_second_lease_goes_on_with_the_first(
    esi: Esi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a full disk: the list cannot be given back, and of the next tries not even the taking is kept."""
    user = pilot()
    message = RunningMessage("a message")
    commit, release, is_full = database.obj.commit, lists.release, [False]

    def commit_unless_full() -> Any:
        if is_full[0]:
            database.obj.rollback()
            raise peewee.OperationalError("database or disk is full")
        return commit()

    def release_unless_full(leased: Any) -> None:
        if is_full[0]:
            raise peewee.OperationalError("database or disk is full")
        release(leased)

    def fills_up(_page: int) -> None:
        is_full[0] = True

    monkeypatch.setattr(database.obj, "commit", commit_unless_full)
    monkeypatch.setattr(lists, "release", release_unless_full)
    monkeypatch.setattr("models.db.time", SimpleNamespace(sleep=lambda _seconds: None))
    esi.meanwhile = fills_up
    for tries in range(4):
        with pytest.raises(peewee.OperationalError):
            deliver(monkeypatch, user, message)
        message = RunningMessage(message.id, {**message.options, "retries": tries + 1})
    is_full[0], esi.meanwhile = False, lambda _page: None
    assert MailList.get().leased_until is not None, "the list could not be given back"
    assert not deliver(monkeypatch, user, message)
    assert listed() == {1, 2} and SyncRun.get().walked == 1


# Runs that nobody goes on with.


def test_disconnecting_while_a_routine_sync_waits_ends_its_run(esi: Esi) -> None:
    user = pilot()

    def away(_page: int) -> None:
        raise errors.Downtime("/path", "away", retry_after=30.0)

    esi.meanwhile = away
    user_polls.hold(user.id, 900)
    with pytest.raises(Retry):
        sync_user(user.id, is_routine=True)
    accounts.disconnect(user.id)
    sync_user(user.id, is_routine=True)
    run = SyncRun.get()
    assert run.status == "failed" and run.finished_at is not None


def test_the_sweep_ends_runs_whose_pages_nobody_reads(esi: Esi) -> None:
    gone, stays, was_director, director = (pilot(number) for number in range(4))
    CorporationFeed.create(corporation_id=CORPORATION, user_id=director.id, next_sync_at=utcnow())
    ended = [runs.open_run(gone.id), runs.open_run(was_director.id, CORPORATION_LIST)]
    kept = [runs.open_run(stays.id), runs.open_run(director.id, CORPORATION_LIST), runs.open_run(was_director.id)]
    User.update(status=DISABLED).where(User.id == gone.id).execute()
    runs.fail_abandoned()
    assert [run_of(number).status for number in ended] == ["failed"] * 2
    assert [run_of(number).finished_at for number in kept] == [None] * 3


def test_runs_that_stay_open_keep_no_old_run_from_being_deleted(esi: Esi) -> None:
    old = utcnow() - timedelta(days=20)
    for number in range(5):
        SyncRun.create(user_id=number, started_at=old)
    SyncRun.create(user_id=9, started_at=old, finished_at=old)
    assert runs.prune(7 * 86_400, window=5) == 1
    assert SyncRun.select().count() == 5


def test_a_sync_that_ends_after_a_disconnect_schedules_no_poll(esi: Esi) -> None:
    user = pilot()
    esi.meanwhile = lambda _page: accounts.disconnect(user.id)
    sync_user(user.id)
    assert User.get_by_id(user.id).next_sync_at is None


def test_a_process_forgets_runs_that_others_ended(esi: Esi, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr("killsync.sync.progress.time.monotonic", lambda: clock[0])
    one = progress.RunProgress()
    for number in range(300):
        clock[0] += 60.0
        one.add({number: (1, 2)})
    kept = max(len(value) for value in vars(one).values() if isinstance(value, dict))
    assert kept < 20


# Accounts that are deleted.


def nothing_is_left_of(user: User) -> None:
    for model in (UserKillmail, SyncRun, MailList, Membership):
        assert not model.select().where(model.user_id == user.id).exists(), model
    assert not User.select().exists() and not Account.select().exists()
    assert not ListPage.select().exists()


def test_nothing_is_written_for_an_account_that_was_deleted_while_a_page_was_on_its_way(esi: Esi) -> None:
    user = pilot()
    esi.meanwhile = lambda _page: accounts.delete_account(user.account_id)
    sync_user(user.id)
    nothing_is_left_of(user)


@pytest.mark.parametrize("step", ["ledger", "page", "end"])
def test_a_deletion_beside_the_transaction_of_a_page_leaves_nothing(
    esi: Esi, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    user = pilot()
    deletions: list[threading.Thread] = []

    def then_delete(function: Callable[..., Any]) -> Callable[..., Any]:
        def work(*given: Any, **more: Any) -> Any:
            if not deletions:
                deletions.append(elsewhere(lambda: accounts.delete_account(user.account_id)))
                time.sleep(0.3)
            return function(*given, **more)

        return work

    module, name = {"ledger": (ledger, "record_page"), "page": (lists, "store_page"), "end": (runs, "mark_pages_read")}[
        step
    ]
    monkeypatch.setattr(module, name, then_delete(getattr(module, name)))
    sync_user(user.id)
    deletions[0].join()
    nothing_is_left_of(user)


def test_an_account_deleted_before_its_list_is_leased_or_its_run_opened_stays_deleted(
    esi: Esi, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = pilot()
    lease = lists.lease

    def delete_first(*given: Any) -> Any:
        accounts.delete_account(user.account_id)
        return lease(*given)

    monkeypatch.setattr(lists, "lease", delete_first)
    with pytest.raises(Retry):
        sync_user(user.id)
    sync_user(user.id)
    assert not directors.join(user.id, CORPORATION, may_direct=True)
    with pytest.raises(runs.UserGone):
        request_sync(user.id, "test")
    nothing_is_left_of(user)


def test_the_next_director_goes_on_where_a_deleted_one_stopped(esi: Esi) -> None:
    first, second = pilot(1), pilot(2)
    walked_list(first.id, CORPORATION_LIST, CORPORATION)
    CorporationFeed.create(corporation_id=CORPORATION, user_id=first.id, next_sync_at=utcnow())
    before = MailList.get(MailList.kind == CORPORATION_LIST)
    ListPage.create(list_id=before.id, page=1, etag="etag")
    accounts.delete_account(first.account_id)
    attempt = lease_list(second.id, CORPORATION_LIST, CORPORATION, RunningMessage())
    assert attempt.leased is not None and MailList.get_by_id(attempt.leased.list_id).walked_at == before.walked_at
    assert lists.page_state(attempt.leased.list_id, 1).etag == "etag"
    assert not MailList.select().where(MailList.user_id == first.id).exists()


# Logins.


def login(character_id: int = 9001, scopes: str = "") -> NewLogin:
    return NewLogin(character_id, "Pilot", "owner", scopes, "access", "refresh", utcnow() + timedelta(minutes=20))


@ON_POSTGRES
def test_two_first_logins_of_one_character_at_once_are_one_user_of_one_account(
    esi: Esi, monkeypatch: pytest.MonkeyPatch
) -> None:
    create, together = Account.create, threading.Barrier(2)

    def create_slowly(*given: Any, **more: Any) -> Any:
        # Where the old order of statements let both believe that they are the first.
        try:
            together.wait(1.0)
        except threading.BrokenBarrierError:
            time.sleep(0.1)
        return create(*given, **more)

    monkeypatch.setattr(Account, "create", create_slowly)
    logged_in: list[tuple[int, int]] = []
    for thread in [elsewhere(lambda: logged_in.append(accounts.log_in(login(), None))) for _ in range(2)]:
        thread.join()
    assert len(logged_in) == 2 and logged_in[0] == logged_in[1]
    assert (User.select().count(), Account.select().count()) == (1, 1)


def test_a_login_has_the_corporations_list_looked_at_at_once(esi: Esi) -> None:
    user_id, account_id = accounts.log_in(login(scopes=CORPORATION_SCOPE), None)

    def is_looked_at() -> bool:
        user = User.get_by_id(user_id)
        if not directors.wants_affiliation(user_id, user.character_id, user.scopes):
            return False
        return directors.join(user_id, CORPORATION, may_direct=CORPORATION_SCOPE in user.scopes)

    assert is_looked_at() and directors.director_of(CORPORATION) == user_id
    assert not is_looked_at(), "once a day otherwise"
    accounts.disconnect(user_id)
    assert directors.director_of(CORPORATION) is None, "nobody reads it"
    accounts.log_in(login(scopes=CORPORATION_SCOPE), account_id)
    assert is_looked_at() and directors.director_of(CORPORATION) == user_id, "the Director is back"
    directors.record_refusal(CORPORATION, user_id)
    assert directors.director_of(CORPORATION) is None and not is_looked_at()
    accounts.log_in(login(scopes=CORPORATION_SCOPE), account_id)
    assert is_looked_at(), "who logs in again may have got the role"


def test_a_member_who_grants_the_scope_later_is_tried_at_once(esi: Esi) -> None:
    user_id, account_id = accounts.log_in(login(), None)
    time.sleep(0.005)  # SQLite's clock has milliseconds
    assert not directors.join(user_id, CORPORATION, may_direct=False)
    assert not directors.wants_affiliation(user_id, 9001, CORPORATION_SCOPE)
    accounts.log_in(login(scopes=CORPORATION_SCOPE), account_id)
    assert directors.wants_affiliation(user_id, 9001, CORPORATION_SCOPE)
    assert directors.join(user_id, CORPORATION, may_direct=True)


def test_a_list_whose_director_left_is_taken_by_the_next_who_logs_in(esi: Esi) -> None:
    first, _ = accounts.log_in(login(scopes=CORPORATION_SCOPE), None)
    assert directors.join(first, CORPORATION, may_direct=True)
    corporation_polls.schedule_next(CORPORATION, utcnow() + timedelta(hours=6))
    accounts.disconnect(first)
    second, _ = accounts.log_in(login(9002, scopes=CORPORATION_SCOPE), None)
    assert directors.join(second, CORPORATION, may_direct=True)
    assert directors.director_of(CORPORATION) == second
    assert corporation_polls.claim_due(5, 900.0) == [CORPORATION]


# The ledger: whose answer counts.


def enter(*numbers: int) -> None:
    user = pilot()
    ledger.record_page(user.id, None, [(number, digest(number)) for number in numbers], ledger.FRESH)


def test_a_refused_old_hash_does_not_delay_the_new_one(esi: Esi) -> None:
    enter(1, 2)
    ledger.claim(10, backlog=False)
    old, other = ledger.pending([1, 2])
    ledger.record_page(1, None, [(1, digest(1, salt=7))], ledger.FRESH)
    assert not ledger.record_refusal(old, "422")
    ledger.release([old], 3600.0)
    ledger.record_failure(old, "not JSON", 3600.0)
    assert ledger.claim(10, backlog=False) == [1], "the new hash is asked for at once"
    row = KillmailRef.get_by_id(1)
    assert (row.attempts, row.last_error, row.refused_at) == (0, None, None)
    ledger.record_refusal(other, "422")
    KillmailRef.update(refused_at=utcnow() - timedelta(hours=3)).where(KillmailRef.killmail_id == 2).execute()
    assert ledger.record_refusal(other, "422") and KillmailRef.get_by_id(2).state == INVALID


def test_a_slow_worker_does_not_free_what_another_holds(esi: Esi) -> None:
    enter(1, 2)
    ledger.claim(10, backlog=False)
    slow = ledger.pending([1, 2])
    KillmailRef.update(due_at=utcnow() - timedelta(seconds=1)).where(KillmailRef.killmail_id == 1).execute()
    time.sleep(0.01)
    assert ledger.claim(10, backlog=False) == [1], "its claim ran out"
    ledger.release(slow, -1.0)
    ledger.record_failure(slow[0], "not JSON", -1.0)
    assert ledger.claim(10, backlog=False) == [2], "what it still holds itself it may free"


def test_a_worker_whose_message_came_again_puts_nothing_back(esi: Esi) -> None:
    enter(1, 2)
    ledger.claim(10, backlog=False)
    first = ledger.pending([1, 2])
    time.sleep(0.01)  # SQLite counts milliseconds
    second = ledger.pending([1, 2], taken_over=True)
    assert [ref.killmail_id for ref in second] == [1, 2]
    ledger.release(first, -1.0)
    ledger.record_failure(first[0], "not JSON", -1.0)
    assert ledger.claim(10, backlog=False) == [], "the copy that came again holds them"
    assert KillmailRef.get_by_id(1).attempts == 0
    ledger.release(second, -1.0)
    assert ledger.claim(10, backlog=False) == [2, 1]


def test_a_submitted_killmail_is_due_by_the_databases_clock(esi: Esi) -> None:
    with time_machine.travel(utcnow() + timedelta(minutes=10), tick=True):
        ledger.add_submitted(1, digest(1))
        user = pilot()
        held = lease_list(user.id, CHARACTER_LIST, user.character_id, RunningMessage())
        assert held.leased is not None
    assert ledger.claim(10, backlog=False) == [1]
    with time_machine.travel(utcnow() - timedelta(minutes=10), tick=True):
        ledger.add_submitted(2, digest(2), proven=True)
        other = lease_list(user.id, CHARACTER_LIST, user.character_id, RunningMessage())
        assert other.leased is None and other.held_seconds < 160
    assert ledger.claim(10, backlog=False) == [], "who has it in hand saves it first"


def test_what_was_paid_for_is_stored_when_the_rest_of_a_batch_cannot_be_put_back(
    against: Any, simulated: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from killsync.esi.client import shared
    from killsync.killmails import fetch

    handle = simulated(kills=(30,))
    client = shared(against(handle))
    refs = [(kill.killmail_id, kill.killmail_hash) for kill in list(handle.simulator.universe.kills.values())[:6]]
    take_some = client.rate_limit.take_some
    monkeypatch.setattr(client.rate_limit, "take_some", lambda bucket, tokens, number, **how: take_some(
        bucket, tokens, number - 2, **how))  # fmt: skip

    def fail(*_given: Any) -> None:
        raise RuntimeError("not stored")

    monkeypatch.setattr(ledger, "release", fail)
    with connection():
        user = pilot()
        ledger.record_page(user.id, None, refs, ledger.FRESH)
        with pytest.raises(RuntimeError):
            fetch.fetch([number for number, _ in refs])
        assert ledger_figures.counts() == {FETCHED: 4, "pending": 2}


# A commit whose answer was lost.


@ON_POSTGRES
def test_a_counter_is_added_to_once_though_the_answer_to_the_commit_was_lost(
    esi: Esi, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = pilot()
    run_id = runs.open_run(user.id)
    for number in (1, 2):
        with monkeypatch.context() as patch:
            lose_the_answer_of_a_commit(patch, 1)
            if number == 1:
                runs.add_to_run(run_id, esi_requests=1, esi_tokens=2)
            else:
                progress.RunProgress().add({run_id: (1, 2)})
        run = run_of(run_id)
        assert (run.esi_requests, run.esi_tokens) == (number, 2 * number)


@ON_POSTGRES
def test_a_tick_knows_whom_it_claimed_though_the_answer_to_the_commit_was_lost(
    esi: Esi, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = pilot()
    CorporationFeed.create(corporation_id=CORPORATION, user_id=user.id, next_sync_at=utcnow())
    with monkeypatch.context() as patch:
        lose_the_answer_of_a_commit(patch, 1)
        assert [each.user_id for each in user_polls.claim_due_users(5, 900.0)] == [user.id]
    lose_the_answer_of_a_commit(monkeypatch, 1)
    assert corporation_polls.claim_due(5, 900.0) == [CORPORATION]


@ON_POSTGRES
@pytest.mark.parametrize(
    "what", ["figures", "usage", "tokens", "claim", "webhook", "new killmail", "rows of the ledger"]
)
def test_nothing_counts_twice_though_the_answer_to_the_commit_was_lost(
    esi: Esi, monkeypatch: pytest.MonkeyPatch, what: str, settings: Any
) -> None:
    from killsync.esi import usage
    from killsync.esi.clock import Clock
    from killsync.esi.rate_limit.store import BucketStore
    from killsync.esi.rate_limit.token_bucket import TokenBucket
    from killsync.killmails.store import save_killmail
    from killsync.observability import counters
    from killsync.webhooks import deliveries, queries
    from models.esi import EsiUsage
    from models.observability import Tally
    from models.webhooks import Tracker, Webhook, WebhookDelivery
    from tests.support.web_server import new_universe

    account = Account.create().id
    made = queries.create(account, "mine", "json", "url", "hint", None)
    tracker_id = Tracker.insert(webhook_id=made, name="mine", wants="{}").execute()
    WebhookDelivery.insert(webhook_id=made, tracker_id=tracker_id, killmail_id=1).execute()
    store, empty = BucketStore(Clock()), TokenBucket(limit=100, window=900.0)

    def take(bucket: TokenBucket, _breaker: Any, moment: float) -> float:
        return bucket.take(moment, 5, backlog=False, reserve=0)

    store.change("bucket", empty, [take])
    universe = new_universe(kills=(5,))
    kill = next(iter(universe.kills.values()))
    ledger.add_submitted(kill.killmail_id, kill.killmail_hash)
    lose_the_answer_of_a_commit(monkeypatch, 1)
    if what == "figures":
        counters._write([("2026-01-01 00:00:00+00:00", "name", "", 3)])
        assert Tally.get().number == 3
    elif what == "usage":
        usage._write([("2026-01-01 00:00:00+00:00", "route", "200", 1, 2)])
        assert (EsiUsage.get().requests, EsiUsage.get().tokens) == (1, 2)
    elif what == "tokens":
        assert store.change("bucket", empty, [take]) == [0.0]
        bucket, _, moment = store.read("bucket", empty)
        assert bucket.used(moment) == 10
    elif what == "claim":
        assert deliveries.claim_due(5, 60.0) == [made]
    elif what == "webhook":
        assert queries.create(account, "another", "json", "url", "hint", None) is not None
        assert Webhook.select().count() == 2
    elif what == "new killmail":
        assert save_killmail(universe.body(kill.killmail_id), kill.killmail_hash).is_new
    else:
        assert ledger.claim(5, backlog=False) == [kill.killmail_id]


@ON_POSTGRES
def test_work_whose_transaction_the_server_did_not_commit_is_done_again(
    esi: Esi, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = pilot()
    run_id = runs.open_run(user.id)
    commit, tries = database.obj.commit, []

    def break_off() -> Any:
        tries.append(1)
        if len(tries) == 1:
            database.obj.connection().close()
            raise peewee.OperationalError("the connection broke")
        return commit()

    monkeypatch.setattr(database.obj, "commit", break_off)
    runs.add_to_run(run_id, esi_requests=1)
    assert run_of(run_id).esi_requests == 1 and len(tries) == 2


@ON_POSTGRES
@pytest.mark.parametrize("commit", range(1, 7))
def test_a_lost_answer_at_any_commit_of_a_sync_keeps_it_from_no_page(
    esi: Esi, monkeypatch: pytest.MonkeyPatch, commit: int
) -> None:
    user = pilot()
    esi.pages = [[11, 12], [9, 10], [1]]
    lose_the_answer_of_a_commit(monkeypatch, commit)
    sync_user(user.id)
    run = SyncRun.get()
    assert listed() == {1, 9, 10, 11, 12} and esi.asked == [1, 2, 3]
    assert (run.pages, run.found, run.esi_requests, run.walked) == (3, 5, 3, 1)


def test_the_corporations_list_is_recorded_as_its_own(esi: Esi) -> None:
    user = pilot(scopes=CORPORATION_SCOPE)
    assert directors.join(user.id, CORPORATION, may_direct=True)
    corporations.sync_corporation(CORPORATION)
    assert {row.killmail_id for row in CorporationKillmail.select()} == {1, 2} and listed() == set()
    assert in_transaction(lambda: MailList.select().where(MailList.kind == CORPORATION_LIST).count()) == 1
