"""Two workers at once: one is paused before one of its calls to the database or the broker while another runs, then goes on.

Real functions on PostgreSQL, each worker in a thread with a connection of its own. A few points of each pair are taken at
random, others each time; `--interleavings all` takes each, `--interleavings SEED` those of a seed that was printed.
"""

from __future__ import annotations

import random
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from types import SimpleNamespace
from typing import Any

import dramatiq
import pytest
from dramatiq.errors import Retry

from killsync.accounts import accounts
from killsync.accounts.accounts import NewLogin
from killsync.broker.running import RunningMessage
from killsync.esi.errors import Cost
from killsync.esi.responses import Detail, ListAnswer
from killsync.killmails import dispatch, fetch
from killsync.scheduling import enqueue
from killsync.settings import KILLMAIL_SCOPE, Settings
from killsync.sso import refresh
from killsync.sso.vault import Vault
from killsync.sync import characters, corporations, list_sync, progress, runs
from killsync.webhooks import matching
from models import connection
from models.db import database
from models.fields import utcnow
from models.killmails import PENDING, KillmailRef, UserKillmail
from models.sql import rows, run
from models.sync import CHARACTER_LIST, MailList, SyncRun
from models.users import ACTIVE, User

PAGE = 3
ONE, OTHER = 9001, 9002
#: What the lists name, newest first: three pages of one, two of the other; some killmails are on both.
LISTS = {ONE: [30, 29, 28, 27, 26, 25, 12, 11, 10], OTHER: [31, 29, 27, 25, 12]}
#: Walked before: known and stored.
OLD = [10, 11, 12]
#: A pause ends when the other worker waits for a lock, after this at the latest, seconds.
LONGEST_PAUSE = 1.0
#: Nobody waits for so long but in a deadlock, seconds.
DEADLOCK = 15.0
#: What random points of all pairs may take together, seconds.
BUDGET = 14.0
TABLES = (
    "involved_attacker", "involved_victim", "involved_both", "attacker", "victim", "killmail_item", "killmail_body",
    "killmail_log", "tally", "lease", "membership", "list_page", "mail_list", "sync_run", "user_killmail", "killmail_ref", "killmail",
    "log_reader", '"user"', "account",
)  # fmt: skip
#: What a worker may end with: its message comes back, or names somebody who is gone.
EXPECTED = (Retry, runs.UserGone)


def digest(number: int) -> str:
    return f"{number:040x}"


def body(number: int) -> dict[str, Any]:
    parties = [ONE, OTHER] if number in LISTS[ONE] and number in LISTS[OTHER] else [ONE, 9999]
    return {
        "killmail_id": number,
        "killmail_time": (datetime.now(UTC) - timedelta(minutes=60 - number)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "solar_system_id": 30004759,
        "victim": {"character_id": parties[0], "corporation_id": 98_000_001, "damage_taken": 9, "ship_type_id": 587},
        "attackers": [
            {"character_id": parties[1], "corporation_id": 98_000_002, "damage_done": 9, "final_blow": True,
             "security_status": 0.5, "ship_type_id": 587, "weapon_type_id": 3178},
        ],
    }  # fmt: skip


class Pause:
    """Where the first worker stops: before its call of that number. Other threads are not counted."""

    def __init__(self, at: int | None) -> None:
        self.at = at
        self.thread: threading.Thread | None = None
        self.calls = 0
        self.reached, self.over = threading.Event(), threading.Event()

    def point(self) -> None:
        if threading.current_thread() is not self.thread:
            return
        self.calls += 1
        if self.calls == self.at:
            self.reached.set()
            assert self.over.wait(DEADLOCK), "the pause has no end"


class World:
    """ESI, the SSO and the broker, and the workers that ask them."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.vault = settings, Vault(settings.secret_keys)
        self.pause = Pause(None)
        self.queue: list[Any] = []
        self.clock = SimpleNamespace(here=lambda seconds: seconds)
        self._local = threading.local()

    # What Killsync asks.

    def killmail_list(self, _kind: str, subject_id: int, _token: str, page: int, **context: Any) -> ListAnswer:
        ids = LISTS[subject_id]
        pages = -(-len(ids) // PAGE)
        refs = [(number, digest(number)) for number in ids[(page - 1) * PAGE : page * PAGE]]
        mark = repr(refs)
        if context.get("etag") == mark:
            return ListAnswer([], None, mark, None, None, True, False, Cost(1, 1))
        return ListAnswer(refs, pages, mark, None, None, False, page > pages, Cost(1, 2))

    def killmails(self, refs: Sequence[tuple[int, str]], **_more: Any) -> Iterator[list[Detail]]:
        middle = len(refs) // 2
        for part in (refs[:middle], refs[middle:]):
            yield [Detail(number, body(number), Cost(1, 2)) for number, _ in part]  # type: ignore[arg-type]

    def room(self) -> Any:
        return SimpleNamespace(fresh=200, backlog=100, wait=1.0)

    def refresh(self, _settings: Settings, token: str, keep: Callable[[str], None]) -> Any:
        character_id = int(token.split()[-1])
        keep(f"refresh token of {character_id}")
        claims = SimpleNamespace(character_id=character_id, owner="owner", scopes=(KILLMAIL_SCOPE,), expires_at=later())
        return SimpleNamespace(claims=claims, access_token="access token")

    def enqueue(self, message: Any, *, delay: int | None = None) -> Any:
        self.pause.point()
        self.queue.append(message)
        return message

    def running_message(self) -> RunningMessage:
        message: RunningMessage = getattr(self._local, "message", RunningMessage())
        return message

    # What happens.

    def deliver(self, message: RunningMessage, work: Callable[[], Any]) -> None:
        self._local.message = message
        try:
            work()
        finally:
            del self._local.message

    def log_in(self, character_id: int) -> int:
        token = self.vault.encrypt(f"refresh token of {character_id}")
        # Its access token is about to end, so that each sync refreshes it.
        login = NewLogin(character_id, "Pilot", "owner", KILLMAIL_SCOPE, self.vault.encrypt("old"), token, utcnow())
        return accounts.log_in(login, None)[0]

    def drain(self) -> None:
        """Work off what is in the broker; messages about names and webhooks have tests of their own."""
        for _ in range(100):
            if not self.queue:
                return
            message = self.queue.pop(0)
            if message.actor_name not in ("sync_user_killmails", "fetch_killmails", "dispatch_killmails"):
                continue
            work = partial(dramatiq.get_broker().get_actor(message.actor_name).fn, *message.args, **message.kwargs)
            try:
                self.deliver(RunningMessage(message.message_id), work)
            except Retry:
                pass_time()
                self.queue.append(message)
            except runs.UserGone:
                pass
        raise AssertionError(f"messages go round: {self.queue}")


def later() -> datetime:
    return utcnow() + timedelta(minutes=20)


def pass_time() -> None:
    """An hour passes: whoever had a lease, a claim or a turn has it no more."""
    run("UPDATE mail_list SET leased_until = leased_until - interval '1 hour'")
    run("UPDATE \"user\" SET claimed_until = claimed_until - interval '1 hour'")
    run("UPDATE killmail_ref SET due_at = due_at - interval '1 hour' WHERE state = 'pending' AND due_at > '2001-01-01'")
    run("UPDATE lease SET until = until - interval '1 hour'")
    dispatch._dispatcher.renew()


# The first worker: what there is before, and what it does.


def _a_poll(world: World, user_id: int) -> Callable[[], None]:
    """A poll that finds two pages of news before the old page, with a refresh before the first."""
    return lambda: world.deliver(RunningMessage("the message"), lambda: characters.sync_user(user_id))


def _killmails(world: World, user_id: int) -> Callable[[], None]:
    """A message of killmails, sent after a poll."""
    characters.sync_user(user_id)
    world.queue.clear()
    return lambda: world.deliver(RunningMessage("the message"), lambda: fetch.fetch(news()))


def news() -> list[int]:
    return [number for number in LISTS[ONE] if number not in OLD]


FIRST = {"a poll": _a_poll, "killmails": _killmails}


# The second one. It has the number of the first one's user and of another whose list shares killmails with that one's.


def _delivered_again(world: World, one: int, _other: int) -> None:
    """The broker has lost the first worker and gives its message to this one."""
    again = RunningMessage("the message", {}, redelivered=True)
    world.deliver(again, lambda: characters.sync_user(one))
    world.deliver(again, lambda: fetch.fetch(news()))


def _taken_over(world: World, one: int, _other: int) -> None:
    """The first worker has not been heard of for an hour."""
    pass_time()
    world.deliver(RunningMessage("a later message"), lambda: characters.sync_user(one))
    dispatch.dispatch()
    world.deliver(RunningMessage("more"), lambda: fetch.fetch(news()))


def _another_list(world: World, _one: int, other: int) -> None:
    world.deliver(RunningMessage("another message"), lambda: characters.sync_user(other))
    dispatch.dispatch()
    world.deliver(RunningMessage("more"), lambda: fetch.fetch(LISTS[OTHER]))


def _deletion(_world: World, one: int, _other: int) -> None:
    accounts.delete_account(User.get_by_id(one).account_id)


def _disconnected(_world: World, one: int, _other: int) -> None:
    accounts.disconnect(one)


def _login(world: World, _one: int, _other: int) -> None:
    characters.request_sync(world.log_in(ONE), "a login")


def _tick(_world: World, _one: int, _other: int) -> None:
    enqueue.enqueue_due_users()
    dispatch.dispatch()


SECOND = {
    "the same message again": _delivered_again, "a worker that takes over": _taken_over, "another list": _another_list,
    "a deletion": _deletion, "a disconnection": _disconnected, "a login": _login, "a tick": _tick,
}  # fmt: skip


def begin(world: World) -> tuple[int, int]:
    """Two pilots whose lists were walked when they named the old killmails alone; the numbers of their users."""
    for table in TABLES:
        run(f"DELETE FROM {table}")
    for per_process in (dispatch._dispatcher, progress.shared, matching._announcer):
        per_process.renew()
    world.queue.clear()
    world.pause = Pause(None)
    ids = [world.log_in(character_id) for character_id in (ONE, OTHER)]
    for user_id, character_id in zip(ids, (ONE, OTHER), strict=True):
        walked = {"next_page": None, "walked_at": utcnow()}
        MailList.create(user_id=user_id, kind=CHARACTER_LIST, subject_id=character_id, **walked)
    for number in OLD:
        KillmailRef.create(killmail_id=number, killmail_hash=digest(number), fetch_priority=2)
        UserKillmail.create(user_id=ids[0], killmail_id=number)
    fetch.fetch(OLD)
    return ids[0], ids[1]


def play(world: World, first: str, second: str, at: int | None) -> int:
    """Pause the first worker before its call of that number (None: nowhere) while the second runs; how many calls it made."""
    one, other = begin(world)
    work = FIRST[first](world, one)
    problems: list[BaseException] = []

    def working(work: Callable[[], Any]) -> None:
        try:
            with connection():
                work()
        except EXPECTED:
            pass
        except BaseException as error:
            problems.append(error)

    world.pause = pause = Pause(at)
    pause.thread = a = threading.Thread(target=working, args=(work,), daemon=True)
    b = threading.Thread(target=working, args=(lambda: SECOND[second](world, one, other),), daemon=True)
    a.start()
    if at is not None:
        while not pause.reached.wait(0.02) and a.is_alive():
            pass
        assert pause.reached.is_set(), f"it ended after {pause.calls} calls: {problems}"
        b.start()
        _until_done_or_waiting(b)
        pause.over.set()
        b.join(DEADLOCK)
        assert not b.is_alive(), f"the second worker waits for ever: {_where(b)}; the first: {_where(a)}"
    a.join(DEADLOCK)
    assert not a.is_alive(), f"the first worker waits for ever: {_where(a)}"
    if problems:
        raise problems[0]
    settle(world)
    check()
    return pause.calls


def _until_done_or_waiting(thread: threading.Thread) -> None:
    """Until the thread has ended, or waits for a lock that the paused worker has."""
    waiting = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' "
        "AND pid <> pg_backend_pid()"
    )
    until = time.monotonic() + LONGEST_PAUSE
    thread.join(0.1)
    while thread.is_alive() and time.monotonic() < until and rows(waiting) == [(0,)]:
        thread.join(0.02)


def _where(thread: threading.Thread) -> str:
    """Where a thread stands, and what the database's sessions do."""
    frame = sys._current_frames().get(thread.ident or 0)
    stack = [f"{each.name}:{each.lineno}" for each in traceback.extract_stack(frame)[-12:]] if frame else ["ended"]
    sessions = "SELECT pid, state, wait_event, pg_blocking_pids(pid), left(query, 90) FROM pg_stat_activity "
    return f"{' > '.join(stack)} {rows(sessions + 'WHERE datname = current_database() AND pid <> pg_backend_pid()')}"


def settle(world: World) -> None:
    """No fault any more: what is under way ends, everybody is polled once, and the sweep has its turn."""
    pass_time()
    world.drain()
    User.update(next_sync_at=utcnow(), claimed_until=None).where(User.status == ACTIVE).execute()
    enqueue.enqueue_due_users()
    world.drain()
    pass_time()
    while dispatch.dispatch():
        world.drain()
    progress.shared().settle(runs.unsettled_runs())
    runs.fail_abandoned()


def check() -> None:
    """What has to hold whatever the order was."""
    users = {user.id: user for user in User.select()}
    for user in users.values():
        known = sorted(row.killmail_id for row in UserKillmail.select().where(UserKillmail.user_id == user.id))
        listed = sorted(LISTS[user.character_id])
        assert known == listed or user.status != ACTIVE, f"{user.character_id}: {known} of {listed} are known"
        assert user.status != ACTIVE or (user.next_sync_at is not None and user.claimed_until is None), (
            "never polled again"
        )
    for table in ("user_killmail", "sync_run", "mail_list"):
        left = {number for (number,) in rows(f"SELECT user_id FROM {table}")} - set(users)
        assert not left, f"{table} has rows of a deleted user"
    named = set(rows("SELECT killmail_id FROM user_killmail"))
    ledger = set(rows("SELECT killmail_id FROM killmail_ref"))
    assert named <= ledger, "named, and not in the ledger"
    pending = KillmailRef.select().where(KillmailRef.state == PENDING)
    assert not list(pending), f"still pending: {[ref.killmail_id for ref in pending]}"
    stored = rows(
        "SELECT killmail_id, (SELECT count(*) FROM attacker a WHERE a.killmail_id = k.killmail_id) FROM killmail k"
    )
    assert {(number,) for number, _ in stored} == ledger, "listed, and not stored"
    assert {number for _, number in stored} == {1}, "stored twice"
    told = rows("SELECT killmail_id, count(*) FROM killmail_log GROUP BY killmail_id")
    assert sorted(told) == sorted((number, 1) for number, _ in stored), f"each is told of once: {sorted(told)}"
    assert not MailList.select().where(MailList.leased_until.is_null(False)).exists(), "a list is still leased"
    assert not rows("SELECT name FROM lease WHERE name LIKE 'refresh%%'"), "a refresh holds its place"
    open_runs = [(each.id, each.status, each.walked) for each in SyncRun.select().where(SyncRun.finished_at.is_null())]
    assert not open_runs, f"runs without an end: {open_runs}"


@pytest.fixture
def world(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    made = World(settings)
    for module in (list_sync, fetch, dispatch):
        monkeypatch.setattr(module, "shared", lambda _settings: made)
    for asking in (characters, fetch):
        monkeypatch.setattr(asking, "running_message", made.running_message)
    monkeypatch.setattr(corporations, "after_sync_of", lambda _user: None)
    monkeypatch.setattr(refresh.login, "refresh", made.refresh)
    monkeypatch.setattr(refresh, "http_session", SimpleNamespace(run=lambda tokens: tokens))
    monkeypatch.setattr(dramatiq.get_broker(), "enqueue", made.enqueue)
    execute, commit = database.obj.execute_sql, database.obj.commit

    def executing(*given: Any, **more: Any) -> Any:
        made.pause.point()
        return execute(*given, **more)

    def committing() -> Any:
        made.pause.point()
        return commit()

    monkeypatch.setattr(database.obj, "execute_sql", executing)
    monkeypatch.setattr(database.obj, "commit", committing)
    with connection():
        yield made


@pytest.mark.timeout(3600)  # for all points; those of a seed or at random are bounded
@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_two_workers_do_no_harm_wherever_one_is_paused(world: World, request: pytest.FixtureRequest) -> None:
    chosen = request.config.option.interleavings
    seed = random.SystemRandom().randrange(1_000_000) if chosen in (None, "all") else int(chosen)
    calls = {first: play(world, first, "a tick", None) for first in FIRST}
    assert all(number > 20 for number in calls.values()), calls
    points = [(first, second, at) for first in FIRST for second in SECOND for at in range(1, calls[first] + 1)]
    if chosen != "all":
        random.Random(seed).shuffle(points)
    until = time.monotonic() + BUDGET
    played: set[str] = set()
    failed: list[str] = []
    done = 0
    for first, second, at in points:
        if chosen is None and time.monotonic() > until:
            break
        try:
            play(world, first, second, at)
        except Exception as error:
            failed.append(
                f"{first}, paused before call {at} of {calls[first]} by {second}: {type(error).__name__}: {error}"
            )
            if chosen != "all":
                break
        played.add(f"{first}, {second}")
        done += 1
    print(
        f"--interleavings {seed}: {done} of {len(points)} points, in all pairs: {len(played) == len(FIRST) * len(SECOND)}"
    )
    assert not failed, f"--interleavings {seed}: " + "\n".join(failed)
