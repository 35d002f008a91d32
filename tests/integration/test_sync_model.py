"""A model of the sync: logins, polls, kills, cuts, copies of messages, deletions, clocks that jump, and a worker that dies, or a
database or broker that breaks off, at any of its steps. Hypothesis looks for an order of these that loses something.

What has to hold, whatever happened: after the last fault the next poll has everything that the lists name stored or due, no
lease runs for ever, no run stays open whose pages nobody reads, and of a deleted account nothing is left.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import hypothesis
import peewee
import pytest
from dramatiq.errors import ConnectionClosed, Retry
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from killsync.accounts import accounts
from killsync.broker.running import RunningMessage
from killsync.esi import errors
from killsync.esi.errors import Cost
from killsync.esi.responses import ListAnswer
from killsync.killmails import dispatch
from killsync.names import batching
from killsync.scheduling import enqueue
from killsync.sync import characters, corporations, held_list, list_sync, poll_table, progress, runs
from killsync.sync.held_list import LEASE_SECONDS
from models import connection
from models.db import database
from models.fields import utcnow
from models.killmails import KillmailRef, UserKillmail
from models.sql import run
from models.sync import ListPage, MailList, SyncRun
from models.users import ACTIVE, Account, User

ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
PAGE = 3
#: Every column that holds a moment by which something is decided.
MOMENTS = {
    "user": ("next_sync_at", "claimed_until", "last_killmail_sync_at", "logged_in_at"),
    "mail_list": ("leased_until", "walked_at"),
    "killmail_ref": ("due_at", "sent_at"),
    "lease": ("until",),
}


class Killed(BaseException):
    """SIGKILL: nothing of the process runs any more, no `finally` either."""


@dataclass
class Sent:
    """A message in the broker."""

    message_id: str
    user_id: int
    run_id: int | None
    is_routine: bool
    options: dict[str, Any] = field(default_factory=dict)
    redelivered: bool = False

    def copy(self, *, redelivered: bool) -> Sent:
        return Sent(self.message_id, self.user_id, self.run_id, self.is_routine, dict(self.options), redelivered)


@dataclass
class Trouble:
    """What goes wrong at a worker's step of that number, counting its statements, commits, sends and requests."""

    at: int
    kind: str


TROUBLES = st.one_of(
    st.none(),
    st.builds(Trouble, st.integers(1, 70), st.sampled_from(["killed", "killed after", "database", "database away"])),
)
#: What happens while a page is on its way to a worker.
MEANWHILE = st.sampled_from(
    ["nothing"] * 2 + ["cut"] * 3 + ["copy"] * 2 + ["delete", "disconnect", "kills", "lease runs out", "away"]
)


@dataclass
class Delivery:
    """How the delivery of a message goes: what happens while *page* is on its way, and what fails."""

    trouble: Trouble | None
    meanwhile: str
    page: int
    broker_away: bool
    ack_lost: bool


SELDOM = st.sampled_from([False, False, False, True])
DELIVERIES = st.builds(Delivery, TROUBLES, MEANWHILE, st.sampled_from([1, 2, 2, 3]), SELDOM, SELDOM)


class World:
    """Lists, a broker, and workers whose every step can fail."""

    def __init__(self) -> None:
        self.lists: dict[int, list[int]] = {}
        self.queue: list[Sent] = []
        self.current: Sent | None = None
        self.is_broker_away = False
        self.meanwhile: tuple[int, Callable[[], None]] | None = None
        self._trouble: Trouble | None = None
        self._steps = 0
        self._is_dead = self._is_away = False
        #: Pages that ESI was asked for.
        self.asked = 0
        #: The monotonic clock.
        self.clock = 0.0
        self._ids = itertools.count(1)
        self._messages = itertools.count(1)

    # What Killsync asks.

    def step(self, work: Callable[[], Any]) -> Any:
        """One step of whoever works now."""
        if self._is_dead:
            raise Killed
        if self._is_away:
            raise peewee.OperationalError("the database does not answer")
        trouble = self._trouble
        if trouble is None:
            return work()
        self._steps += 1
        if self._steps != trouble.at:
            return work()
        if trouble.kind == "killed after":
            work()
        take_back()
        if trouble.kind.startswith("database"):
            # For a moment, or until whoever works now has ended.
            self._is_away = trouble.kind == "database away"
            raise peewee.OperationalError("the connection broke")
        self._is_dead = True
        raise Killed

    def killmail_list(self, _kind: str, subject_id: int, _token: str, page: int, **context: Any) -> ListAnswer:
        return self.step(lambda: self._list(subject_id, page, context.get("etag")))

    def _list(self, subject_id: int, page: int, etag: str | None) -> ListAnswer:
        self.asked += 1
        if self.meanwhile is not None and self.meanwhile[0] == page:
            _, happen = self.meanwhile
            self.meanwhile = None
            happen()
        ids = self.lists[subject_id]
        pages = max(1, -(-len(ids) // PAGE))
        refs = [(number, digest(number)) for number in ids[(page - 1) * PAGE : page * PAGE]]
        mark = hashlib.sha256(repr((refs, pages)).encode()).hexdigest()[:12]
        if etag == mark:
            return ListAnswer([], None, mark, None, None, True, False, Cost(1, 1))
        return ListAnswer(refs, pages, mark, None, None, False, page > pages, Cost(1, 2))

    def send(self, _actor: str, *_given: Any, user_id: int = 0, run_id: int | None = None, is_routine: bool = False,
             **_more: Any) -> None:  # fmt: skip
        def sending() -> None:
            if self.is_broker_away:
                raise ConnectionClosed(OSError("away"))
            if _actor == "sync_user_killmails":
                self.queue.append(Sent(f"message {next(self._messages)}", user_id, run_id, is_routine))

        self.step(sending)

    # What happens.

    def new_kills(self, subject_id: int, number: int) -> None:
        self.lists[subject_id][:0] = sorted((next(self._ids) for _ in range(number)), reverse=True)

    def work(self, work: Callable[[], None], trouble: Trouble | None) -> bool:
        """A process does *work*; False when it was killed."""
        before = self._trouble, self._steps, self._is_dead, self._is_away
        self._trouble, self._steps, self._is_dead, self._is_away = trouble, 0, False, False
        try:
            with connection():
                work()
        except Killed:
            take_back()
            held = database.obj._state.conn
            database.obj._state.reset()
            if held is not None:
                held.close()
            return False
        finally:
            self._trouble, self._steps, self._is_dead, self._is_away = before
        return True

    def deliver(self, sent: Sent, trouble: Trouble | None = None, *, ack_lost: bool = False) -> None:
        """A worker takes a message; what becomes of it."""
        options = dict(sent.options)
        outer, self.current = self.current, sent
        message = RunningMessage(sent.message_id, options, sent.redelivered)
        comes_back = False

        def process() -> None:
            nonlocal comes_back
            try:
                CURRENT.append(message)
                characters.sync_user(sent.user_id, sent.run_id, is_routine=sent.is_routine)
            except (Retry, peewee.OperationalError, ConnectionClosed, runs.UserGone):
                comes_back = True
            finally:
                CURRENT.pop()

        is_alive = self.work(process, trouble)
        self.current = outer
        if is_alive and comes_back:
            self.queue.append(
                Sent(
                    sent.message_id,
                    sent.user_id,
                    sent.run_id,
                    sent.is_routine,
                    {**options, "retries": options.get("retries", 0) + 1},
                )
            )
        if not is_alive or ack_lost:
            self.queue.append(sent.copy(redelivered=True))


CURRENT: list[RunningMessage] = []


def take_back() -> None:
    """The server takes back what this connection has begun and not committed."""
    held = database.obj._state.conn
    if held is not None:
        held.rollback()


def digest(number: int) -> str:
    return f"{number:040x}"


def pass_time(seconds: float) -> None:
    """As if so much time had passed: every moment lies so much further back."""
    for table, columns in MOMENTS.items():
        for column in columns:
            back = f"strftime('%Y-%m-%d %H:%M:%f000+00:00', {column}, '-{seconds} seconds')"
            run(f"UPDATE \"{table}\" SET {column} = {back} WHERE {column} > '2001'")


class SyncModel(RuleBasedStateMachine):
    """See above."""

    def __init__(self) -> None:
        super().__init__()
        self.world = WORLD[0]
        self.world.__init__()  # type: ignore[misc]
        for table in (UserKillmail, SyncRun, ListPage, MailList, KillmailRef, User, Account):
            table.delete().execute()
        run("DELETE FROM lease")
        dispatch._dispatcher().__init__()  # type: ignore[misc]
        progress.shared().__init__()  # type: ignore[misc]
        self.characters = itertools.count(9001)
        #: What another worker had decided when it gave the list back that it had taken over from the one that works now.
        self.taken_over: list[Any] | None = None

    def users(self) -> list[User]:
        return list(User.select().order_by(User.id))

    @initialize(kills=st.integers(0, 10))
    def begin(self, kills: int) -> None:
        self.log_in(kills)
        enqueue.enqueue_due_users()
        self._drain()

    @precondition(lambda self: len(self.users()) < 2)
    @rule(kills=st.integers(0, 10))
    def log_in(self, kills: int) -> None:
        number = next(self.characters)
        self.world.lists[number] = []
        self.world.new_kills(number, kills)
        account = Account.create()
        User.create(character_id=number, character_name="Pilot", account_id=account.id, next_sync_at=utcnow())

    @rule(kills=st.sampled_from([0, 0, 1, PAGE, 2 * PAGE]), ended=DELIVERIES, data=st.data())
    def poll(self, kills: int, ended: Delivery, data: Any) -> None:
        """News for somebody, a tick without any fault, and a delivery."""
        if kills and self.users():
            self.kills(kills, data)
        self.tick(None, False, True)
        if self.world.queue:
            self.deliver(ended, data)

    # Twice, since this is what happens most.
    poll_again = rule(kills=st.sampled_from([0, 0, 1, PAGE, 2 * PAGE]), ended=DELIVERIES, data=st.data())(
        lambda self, kills, ended, data: self.poll(kills, ended, data)
    )

    @precondition(lambda self: self.users())
    @rule(number=st.sampled_from([1, 2, PAGE, 2 * PAGE]), data=st.data())
    def kills(self, number: int, data: Any) -> None:
        self.world.new_kills(data.draw(st.sampled_from(self.users())).character_id, number)

    @rule(seconds=st.sampled_from([1, 30, 200, 1000, 4000]))
    def time_passes(self, seconds: int) -> None:
        self.world.clock += seconds
        pass_time(seconds)

    @rule(trouble=TROUBLES, away=st.booleans(), due=st.booleans())
    def tick(self, trouble: Trouble | None, away: bool, due: bool) -> None:
        if due:
            User.update(next_sync_at=utcnow()).where(User.status == ACTIVE, User.claimed_until.is_null()).execute()
        self.world.is_broker_away = away
        with contextlib.suppress(ConnectionClosed, peewee.OperationalError):
            self.world.work(enqueue.enqueue_due_users, trouble)
        self.world.is_broker_away = False

    @precondition(lambda self: self.users())
    @rule(trouble=TROUBLES, away=st.booleans(), data=st.data())
    def wish(self, trouble: Trouble | None, away: bool, data: Any) -> None:
        user = data.draw(st.sampled_from(self.users()))
        if user.status != ACTIVE:
            return
        self.world.is_broker_away = away
        with contextlib.suppress(ConnectionClosed, peewee.OperationalError):
            self.world.work(lambda: characters.request_sync(user.id, "a test"), trouble)
        self.world.is_broker_away = False

    @precondition(lambda self: self.world.queue)
    @rule(ended=DELIVERIES, data=st.data())
    def deliver(self, ended: Delivery, data: Any) -> None:
        sent = self.world.queue.pop(data.draw(st.integers(0, len(self.world.queue) - 1)))
        self.world.meanwhile = (ended.page, lambda: self._happen(ended.meanwhile, sent))
        self.world.is_broker_away = ended.broker_away
        self.taken_over = None
        self.world.deliver(sent, ended.trouble, ack_lost=ended.ack_lost)
        if self.taken_over is not None:
            assert self.taken_over == self._decided(), "a worker that was taken over changed what the other had done"
        self.world.meanwhile = None
        self.world.is_broker_away = False

    def _decided(self) -> list[Any]:
        """What workers decide of lists, runs and turns."""
        return [
            list(MailList.select(MailList.id, MailList.next_page, MailList.walked_at, MailList.leased_by).tuples()),
            list(ListPage.select().order_by(ListPage.list_id, ListPage.page).tuples()),
            list(User.select(User.id, User.next_sync_at, User.claimed_until).order_by(User.id).tuples()),
            list(SyncRun.select(SyncRun.id, SyncRun.status, SyncRun.walked, SyncRun.pages, SyncRun.found).tuples()),
            sorted(UserKillmail.select(UserKillmail.user_id, UserKillmail.killmail_id).tuples()),
        ]

    def _happen(self, what: str, sent: Sent) -> None:
        user = User.get_or_none(User.id == sent.user_id)
        if what == "cut":
            raise errors.NoToken("/path", "no token", retry_after=30.0)
        if what == "away":
            raise errors.Downtime("/path", "away", retry_after=60.0)
        if what == "copy":
            # The worker has lost the broker, which gives the message to another.
            before = self.world.asked
            self.world.deliver(sent.copy(redelivered=True))
            if self.world.asked > before:
                self.taken_over = self._decided()
        elif what == "delete" and user is not None:
            accounts.delete_account(user.account_id)
        elif what == "disconnect":
            accounts.disconnect(sent.user_id)
        elif what == "kills" and user is not None:
            self.world.new_kills(user.character_id, 4)
        elif what == "lease runs out":
            pass_time(LEASE_SECONDS + 50)
            for other in [each for each in self.world.queue if each.user_id == sent.user_id][:1]:
                self.world.queue.remove(other)
                self.world.deliver(other)

    @precondition(lambda self: self.users())
    @rule(data=st.data())
    def delete(self, data: Any) -> None:
        accounts.delete_account(data.draw(st.sampled_from(self.users())).account_id)

    def teardown(self) -> None:
        self._settle()
        users = self.users()
        there = [user.id for user in users]
        for model in (UserKillmail, SyncRun, MailList):
            left = {row.user_id for row in model.select(model.user_id)} - set(there)
            assert not left, f"{model.__name__} of deleted users {left}"
        for user in users:
            if user.status != ACTIVE:
                continue
            named = set(self.world.lists[user.character_id])
            known = {row.killmail_id for row in UserKillmail.select().where(UserKillmail.user_id == user.id)}
            assert named == known, f"not known after the next poll: {sorted(named - known)}"
            assert user.next_sync_at is not None and user.claimed_until is None, "nobody polls this user again"
        ledger = {row.killmail_id for row in KillmailRef.select(KillmailRef.killmail_id)}
        assert {row.killmail_id for row in UserKillmail.select()} <= ledger
        # A lease that a dead worker left ends by its own time; who disconnected is not polled, so nobody gives theirs back.
        polled = [user.id for user in users if user.status == ACTIVE]
        leased = MailList.select().where(MailList.leased_until.is_null(False), MailList.user_id.in_(polled))
        assert not leased.exists(), "a list is still leased"
        open_runs = [row.id for row in SyncRun.select().where(SyncRun.finished_at.is_null(), SyncRun.walked == 0)]
        assert not open_runs, f"runs that nobody goes on with: {open_runs}"

    def _settle(self) -> None:
        """No faults any more: what is under way ends, then everybody is polled once."""
        world = self.world
        pass_time(LEASE_SECONDS + 50)
        self._drain()
        User.update(next_sync_at=utcnow()).where(User.status == ACTIVE).execute()
        enqueue.enqueue_due_users()
        self._drain()
        runs.fail_abandoned()
        assert not world.queue

    def _drain(self) -> None:
        for _ in range(60):
            if not self.world.queue:
                return
            self.world.deliver(self.world.queue.pop(0))
        raise AssertionError(f"messages go round: {self.world.queue}")


WORLD: list[World] = []


@pytest.fixture
def world(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    made = World()
    WORLD[:] = [made]
    monkeypatch.setattr(list_sync, "shared", lambda _settings: made)
    monkeypatch.setattr(list_sync, "access_token", lambda _user_id, **_more: "token")
    monkeypatch.setattr(corporations, "after_sync_of", lambda _user: None)
    monkeypatch.setattr(characters, "running_message", lambda: CURRENT[-1])
    for module in (dispatch, characters):
        monkeypatch.setattr(module, "send", made.send)
    monkeypatch.setattr("models.db.time", SimpleNamespace(sleep=lambda _seconds: None))
    # What is looked at again after a while is looked at by the model's clock: on a busy machine there would be other statements.
    for module in (batching, dispatch, held_list, poll_table, progress):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: made.clock))
    execute, commit = database.obj.execute_sql, database.obj.commit
    monkeypatch.setattr(database.obj, "execute_sql", lambda *given, **more: made.step(lambda: execute(*given, **more)))
    monkeypatch.setattr(database.obj, "commit", lambda: made.step(commit))
    with connection():
        yield made


@ON_SQLITE
def test_nothing_is_lost_in_any_order_of_things(world: World) -> None:
    run_state_machine_as_test(
        SyncModel,
        settings=hypothesis.settings(
            max_examples=EXAMPLES, stateful_step_count=12, deadline=None, database=None, derandomize=True,
            suppress_health_check=list(hypothesis.HealthCheck),
        ),
    )  # fmt: skip


#: About ten seconds. The same ones each time, so that a change that breaks something is what turns this red; for a search of other
#: orders set `derandomize` to False and let it run for some hundreds.
EXAMPLES = 100
