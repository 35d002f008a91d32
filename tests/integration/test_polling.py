"""Whose turn it is, on either database: order, claims, evidence from others' lists, messages that were overtaken."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from dramatiq.errors import Retry

from killsync.sync import evidence, lists, runs, user_polls
from killsync.sync.characters import request_sync, sync_user
from killsync.sync.held_list import retry_delay
from models import connection
from models.db import database
from models.fields import from_any, to_text, utcnow
from models.sql import rows, run
from models.sync import CHARACTER_LIST


def enter(number: int, *, due: float, priority: int = 0, polled: float | None = None) -> int:
    """A user whose turn is in *due* seconds; its id."""
    now = utcnow()
    run(
        'INSERT INTO "user" (character_id, character_name, priority, next_sync_at, last_killmail_sync_at) '
        "VALUES (%s, %s, %s, %s, %s)",
        (9000 + number, f"Pilot {number}", priority, to_text(now + timedelta(seconds=due)),
         None if polled is None else to_text(now - timedelta(seconds=polled))),
    )  # fmt: skip
    return int(rows('SELECT id FROM "user" WHERE character_id = %s', (9000 + number,))[0][0])


def planned(user_id: int) -> float:
    """Seconds until the user's turn."""
    moment = from_any(rows('SELECT next_sync_at FROM "user" WHERE id = %s', (user_id,))[0][0])
    assert moment is not None
    return (moment - utcnow()).total_seconds()


def test_priority_goes_first_then_who_has_waited_longest(settings: Any) -> None:
    with connection():
        late, later = enter(1, due=-50), enter(2, due=-500)
        vip, second = enter(3, due=-1, priority=7), enter(4, due=-90, priority=1)
        enter(5, due=60)
        order = [user_polls.claim_due_users(1, 900)[0].user_id for _ in range(4)]
        assert order == [vip, second, later, late]
        assert user_polls.claim_due_users(10, 900) == [], "nobody twice"
        assert user_polls.count_due(0.0) == user_polls.DueUsers(0, 0)


def test_due_and_late_users_are_counted_over_all_priorities(settings: Any) -> None:
    with connection():
        for number, due, priority in ((1, -500, 0), (2, -10, 0), (3, -500, 3), (4, 100, 0)):
            enter(number, due=due, priority=priority)
        run("UPDATE \"user\" SET status = 'needs_login' WHERE character_id = 9001")
        assert user_polls.count_due(120.0) == user_polls.DueUsers(2, 1)


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_ticks_at_the_same_time_share_the_due_users_out(settings: Any) -> None:
    with connection():
        for number in range(400):
            enter(number, due=-number)
    taken: list[int] = []

    def tick() -> None:
        with connection():
            while claimed := user_polls.claim_due_users(20, 900):
                taken.extend(user.user_id for user in claimed)

    threads = [threading.Thread(target=tick) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == len(set(taken)) == 400


def killmail(age: float, *characters: int) -> dict[str, Any]:
    """As much of a killmail as evidence needs."""
    moment = (datetime.now(UTC) - timedelta(seconds=age)).strftime("%Y-%m-%dT%H:%M:%SZ")
    victim, *attackers = characters
    return {
        "killmail_id": 1, "killmail_time": moment, "victim": {"character_id": victim},
        "attackers": [{"character_id": each} for each in attackers] + [{"faction_id": 500010}],
    }  # fmt: skip


def test_a_character_on_anothers_fresh_killmail_is_polled_sooner(settings: Any) -> None:
    with connection():
        quiet, soon, elsewhere = (
            enter(1, due=5 * 3600, polled=3600),
            enter(2, due=1, polled=600),
            enter(3, due=5 * 3600),
        )
        fresh = killmail(60, 9001, 9002, 777)
        assert evidence.seen([fresh]) == 1
        assert planned(quiet) < 900 and planned(soon) < 2 and planned(elsewhere) > 4 * 3600
        before = planned(quiet)
        assert evidence.seen([fresh]) == 0, "the same evidence again moves nothing"
        assert planned(quiet) == pytest.approx(before, abs=2)


def test_evidence_leaves_alone_who_was_just_asked_or_is_being_asked(settings: Any) -> None:
    with connection():
        just, under_way = enter(1, due=5 * 3600, polled=0), enter(2, due=5 * 3600)
        user_polls.hold(under_way, 900)
        evidence.seen([killmail(5, 9001, 9002)])
        assert planned(just) >= settings.sync_interval_seconds - 2, "ESI would answer the same from its cache"
        assert 880 < planned(under_way) <= 900


def test_history_and_strangers_cost_nothing(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    statements = []
    with connection():
        quiet = enter(1, due=5 * 3600)
        execute = database.obj.execute_sql
        monkeypatch.setattr(
            database.obj, "execute_sql", lambda *given, **more: (statements.append(given), execute(*given, **more))[1]
        )
        assert evidence.seen([killmail(3 * 86_400, 9001)]) == 0 and statements == []
        assert evidence.seen([killmail(60, 555, 556)]) == 0 and len(statements) == 1, "one look-up when nobody is ours"
    with connection():
        assert planned(quiet) > 4 * 3600


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_saves_of_one_fight_at_once_neither_wait_nor_fail(settings: Any) -> None:
    with connection():
        pilots = [9000 + number for number in range(120) if enter(number, due=5 * 3600)]
    problems: list[BaseException] = []

    def save(order: int) -> None:
        try:
            with connection():
                for _ in range(5):
                    evidence.seen([killmail(10, *(pilots if order % 2 else reversed(pilots)))])
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=save, args=(number,)) for number in range(6)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == [] and time.monotonic() - began < 30
    with connection():
        moved = [planned(user_id) for (user_id,) in rows('SELECT id FROM "user"')]
    assert max(moved) < 5 * 3600 - 60 and max(moved) - min(moved) > 300, "all of them sooner, not all at once"


def test_a_routine_message_that_was_overtaken_asks_nothing(settings: Any, against: Any, simulated: Any) -> None:
    handle = simulated(kills=(3,))
    against(handle)
    with connection():
        user_id = enter(1, due=-5)
        assert [each.user_id for each in user_polls.claim_due_users(5, 900)] == [user_id]
        user_polls.record_sync(user_id, utcnow() + timedelta(hours=1))
        sync_user(user_id, is_routine=True)
        assert rows("SELECT count(*) FROM sync_run") == [(0,)]
        assert planned(user_id) > 3500
    assert handle.call(lambda simulator: sum(simulator.esi.answers.values())) == 0


def test_a_wish_for_a_sync_keeps_the_tick_away_from_the_user(settings: Any) -> None:
    with connection():
        user_id = enter(1, due=-5)
        request_sync(user_id, "test")
        assert user_polls.claim_due_users(5, 900) == []
        assert planned(user_id) > 800


def test_old_runs_are_deleted_and_others_kept(settings: Any) -> None:
    with connection():
        user_id = enter(1, due=5)
        for days, ends in ((20, True), (20, False), (8, True), (6, True)):
            moment = to_text(utcnow() - timedelta(days=days))
            run(
                "INSERT INTO sync_run (user_id, started_at, finished_at) VALUES (%s, %s, %s)",
                (user_id, moment, moment if ends else None),
            )
        assert runs.prune(7 * 86_400, window=1) == 1 and runs.prune(7 * 86_400) == 1
        assert [number for (number,) in rows("SELECT id FROM sync_run ORDER BY id")] == [2, 4]


def test_a_message_for_a_list_that_is_being_walked_comes_back_soon_and_then_less_often(settings: Any) -> None:
    with connection():
        user_id = enter(1, due=0)
        held = lists.lease(user_id, CHARACTER_LIST, 9001, lists.Copy("another"), 150)
        assert held.leased is not None
        with pytest.raises(Retry) as put_back:
            sync_user(user_id)
        assert put_back.value.delay == 1000
        assert [retry_delay(150.0, tries) for tries in (0, 1, 2, 3, 4, 50)] == [1, 2, 4, 8, 8, 8]
        assert retry_delay(3.0, 9) == 3
        assert rows("SELECT count(*) FROM sync_run") == [(0,)], "no run of its own for one that waits"
