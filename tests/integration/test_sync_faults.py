"""What a sync does when ESI's lists and names misbehave: it waits, goes on, or ends with its reason; the worker lives."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import dramatiq
import pytest
import pytest_asyncio
from dramatiq.errors import Retry

from killsync.broker.queues import USER_KILLMAILS
from killsync.broker.running import RunningMessage
from killsync.esi.client import EsiClient
from killsync.killmails import urgency
from killsync.sync import lists, run_queries, runs, user_polls
from killsync.sync.characters import request_sync, sync_user
from models import connection
from models.fields import from_any, to_text, utcnow
from models.sql import rows, run
from simulator import Handle
from simulator.faults import Fault
from tests.support.embedded import embedded
from tests.support.player import Player
from tests.support.process import change_settings

ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@dataclass
class Place:
    """An embedded Killsync whose first pilot is logged in and synced."""

    player: Player
    handle: Handle
    user_id: int

    def fault(self, path: str, kind: str, **how: Any) -> None:
        self.handle.call(lambda simulator: simulator.faults.append(Fault(path, kind, **how)))

    def news(self) -> int:
        """A new kill that the next poll can see; its id."""

        def happen(simulator: Any) -> int:
            kill = simulator.new_kill(simulator.universe.demo_characters[0].character_id)
            simulator.drop_caches()
            return int(kill.killmail_id)

        number = self.handle.call(happen)
        with connection():
            run("UPDATE list_page SET expires_at = NULL")
        return number

    async def sync(self) -> dict[str, Any]:
        """Ask for a sync; its run when it has ended or waits."""
        with connection():
            run_id = request_sync(self.user_id, "test")
        return await self.until(run_id, lambda row: row["finished_at"] is not None or row["status"] == "waiting")

    async def until(self, run_id: int, holds: Callable[[dict[str, Any]], bool], seconds: float = 30) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        while True:
            with connection():
                row = run_queries.run_row(run_id) or {}
            if holds(row):
                return row
            assert time.monotonic() < deadline, row
            await asyncio.sleep(0.1)

    async def is_stored(self, killmail_id: int, seconds: float = 30) -> bool:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with connection():
                if rows("SELECT 1 FROM killmail WHERE killmail_id = %s", (killmail_id,)):
                    return True
            await asyncio.sleep(0.1)
        return False


@pytest_asyncio.fixture
async def place(against: Callable[..., Any], simulated: Callable[..., Handle]) -> AsyncIterator[Place]:
    handle = simulated(kills=(12, 5, 3), list_cache_seconds=1.0)
    async with embedded(against(handle)) as url, Player(url) as player:
        pilot = handle.simulator.universe.demo_characters[0].character_id
        assert (await player.log_in(pilot)).status == 302
        with connection():
            user_id = rows('SELECT id FROM "user"')[0][0]
        made = Place(player, handle, user_id)
        await made.until(1, lambda row: row["status"] == "succeeded")
        yield made


PASSING = [
    {"kind": "html", "status": 502},
    {"kind": "status", "status": 503},
    {"kind": "cut"},
    {"kind": "reset"},
    {"kind": "not json"},
    {"kind": "no headers 429"},
]


@ON_SQLITE
@pytest.mark.parametrize("fault", PASSING, ids=lambda fault: f"{fault['kind']}")
async def test_a_list_that_cannot_be_had_now_is_asked_for_again_by_itself(place: Place, fault: dict[str, Any]) -> None:
    number = place.news()
    place.fault("/characters/*/killmails/recent", **fault, count=1)
    row = await place.sync()
    assert row["status"] == "waiting" and row["error"], "the run says why it waits"
    row = await place.until(row["id"], lambda row: row["finished_at"] is not None)
    assert (row["status"], row["saved"]) == ("succeeded", 1)
    assert await place.is_stored(number)


@ON_SQLITE
@pytest.mark.parametrize("kind", ["error object", "content type", "string ids", "redirect", "big"])
async def test_a_list_that_makes_no_sense_is_tried_again_and_then_told_of(
    place: Place, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("killsync.sync.list_sync.MOST_MALFORMED", 0)
    number = place.news()
    place.fault("/characters/*/killmails/recent", kind, count=1)
    row = await place.sync()
    assert row["status"] == "failed" and "/killmails/recent" in row["error"]
    with connection():
        due = rows('SELECT next_sync_at FROM "user"')[0][0]
    assert due is not None, "the next poll is planned"
    row = await place.sync()
    assert row["status"] == "succeeded" and await place.is_stored(number), "the next sync has it"


@ON_SQLITE
async def test_waits_do_not_count_as_answers_that_make_no_sense(place: Place) -> None:
    number = place.news()
    place.fault("/characters/*/killmails/recent", "string ids", count=1)
    with connection():
        run_id = runs.open_run(place.user_id)
    carried = {"user_id": place.user_id, "run_id": run_id}
    waited_often = {"retries": 30, "max_retries": 50}
    message: Any = dramatiq.Message(USER_KILLMAILS, "sync_user_killmails", (), carried, waited_often)
    dramatiq.get_broker().enqueue(message)
    row = await place.until(run_id, lambda row: row["status"] == "waiting" or row["finished_at"] is not None)
    assert row["status"] == "waiting", row["error"]
    row = await place.until(run_id, lambda row: row["finished_at"] is not None)
    assert row["status"] == "succeeded" and await place.is_stored(number)


@ON_SQLITE
async def test_only_answers_that_make_no_sense_one_after_the_other_end_a_run(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = RunningMessage()
    monkeypatch.setattr("killsync.sync.characters.running_message", lambda: message)

    def tries(number: int) -> tuple[int, list[str]]:
        """The run, and what became of so many tries of one message, in this thread."""
        with connection():
            run_id = runs.open_run(place.user_id)
            ends = []
            for _ in range(number):
                with contextlib.suppress(Retry):
                    sync_user(place.user_id, run_id)
                ends.append((run_queries.run_row(run_id) or {})["status"])
            return run_id, ends

    place.news()
    place.fault("/characters/*/killmails/recent", "string ids", count=3)
    run_id, ends = await asyncio.to_thread(tries, 4)
    assert ends[:3] == ["waiting"] * 3
    # The next ones would join a run whose killmail is still being fetched.
    await place.until(run_id, lambda row: row["finished_at"] is not None)
    place.news()
    place.fault("/characters/*/killmails/recent", "string ids", count=4)
    _, ends = await asyncio.to_thread(tries, 4)
    assert ends == ["waiting"] * 3 + ["failed"], "a good answer in between starts anew"


async def test_a_worker_that_dies_while_it_remembers_a_page_forgets_nothing_of_the_next_page(
    against: Callable[..., Any], simulated: Callable[..., Handle], monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = simulated(kills=(12,), list_cache_seconds=1.0, page_size=5)
    pilot = handle.simulator.universe.demo_characters[0].character_id

    def happen(simulator: Any) -> list[int]:
        numbers = [simulator.new_kill(pilot).killmail_id for _ in range(8)]
        simulator.drop_caches()
        return numbers

    async with embedded(against(handle)) as url, Player(url) as player:
        assert (await player.log_in(pilot)).status == 302
        with connection():
            user_id = rows('SELECT id FROM "user"')[0][0]
        place = Place(player, handle, user_id)
        await place.until(1, lambda row: row["status"] == "succeeded")
        on_two_pages = handle.call(happen)
        with connection():
            run("UPDATE list_page SET expires_at = NULL")
        store_page, died = lists.store_page, []

        def die_once(list_id: int, page: int, state: lists.PageState) -> None:
            if not died:
                died.append(page)
                raise RuntimeError("the worker died")
            store_page(list_id, page, state)

        monkeypatch.setattr(lists, "store_page", die_once)
        row = await place.sync()
        row = await place.until(row["id"], lambda row: row["finished_at"] is not None)
        assert died == [1] and (row["status"], row["saved"]) == ("succeeded", 8)
        assert all([await place.is_stored(number) for number in on_two_pages])


async def test_a_list_that_was_taken_over_is_left_as_it_is(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.news()
    answered = lists.page_state

    def lose_the_lease(list_id: int, page: int) -> lists.PageState:
        run("UPDATE mail_list SET leased_by = 'another:worker'")
        return answered(list_id, page)

    monkeypatch.setattr(lists, "page_state", lose_the_lease)

    def sync() -> tuple[list[Any], list[Any]]:
        with connection():
            before = rows("SELECT etag, expires_at FROM list_page"), rows("SELECT count(*) FROM killmail_ref")
            sync_user(place.user_id)
            return before, (rows("SELECT etag, expires_at FROM list_page"), rows("SELECT count(*) FROM killmail_ref"))

    before, after = await asyncio.to_thread(sync)
    assert before == after
    with connection():
        assert rows("SELECT leased_by FROM mail_list") == [("another:worker",)]
        assert rows("SELECT esi_requests, pages FROM sync_run ORDER BY id DESC LIMIT 1") == [(1, 0)], (
            "what it spent counts"
        )


@ON_SQLITE
async def test_a_character_without_a_list_has_no_killmails(place: Place) -> None:
    place.news()
    place.fault("/characters/*/killmails/recent", "status", status=404, count=1)
    row = await place.sync()
    assert (row["status"], row["found"]) == ("succeeded", 0)


@ON_SQLITE
async def test_a_lost_key_ends_the_run_with_what_to_do_and_costs_no_login(
    place: Place,
) -> None:
    from killsync.settings import current
    from killsync.sso.vault import generate_key

    number = place.news()
    right = current().secret_keys
    change_settings(SECRET_KEYS=generate_key())
    row = await place.sync()
    assert row["status"] == "failed" and "SECRET_KEYS" in row["error"]
    with connection():
        assert rows('SELECT status FROM "user"') == [("active",)]
    change_settings(SECRET_KEYS=right)
    row = await place.sync()
    assert row["status"] == "succeeded" and await place.is_stored(number)


@ON_SQLITE
async def test_a_list_that_stays_forbidden_ends_the_run_and_not_the_login(place: Place) -> None:
    place.news()
    place.fault("/characters/*/killmails/recent", "status", status=403, count=2)
    row = await place.sync()
    assert row["status"] == "failed" and "403: forced by a fault" in row["error"], "with ESI's own words"
    with connection():
        ((status, due),) = rows('SELECT status, next_sync_at FROM "user"')
    assert status == "active"
    assert 600 < (from_any(due) - utcnow()).total_seconds() <= 900, "trouble that passes: again in a quarter of an hour"


@ON_SQLITE
async def test_a_list_that_fails_for_ever_while_all_else_is_answered_ends_its_run_and_waits_for_hours(
    place: Place,
) -> None:
    from killsync import settings as settings_module
    from killsync.esi.client import shared

    number = place.news()
    path = rows_of('SELECT character_id FROM "user"')[0][0]
    breaker = shared(settings_module.current()).rate_limit
    for _ in range(15):
        breaker.failed(f"/characters/{path}/killmails/recent")
        await asyncio.sleep(0.002)  # SQLite's clock has milliseconds, and no answer comes within one
        breaker.succeeded()
    place.fault("/characters/*/killmails/recent", "status", status=500, count=1)
    row = await place.sync()
    assert row["status"] == "failed" and "500" in row["error"]
    ((status, due),) = rows_of('SELECT status, next_sync_at FROM "user"')
    assert status == "active" and (from_any(due) - utcnow()).total_seconds() > 3600
    row = await place.sync()
    assert row["status"] == "succeeded" and await place.is_stored(number), "a wish asks at once"


@ON_SQLITE
async def test_a_killmail_that_fails_for_ever_lets_its_sync_end(place: Place) -> None:
    from killsync import settings as settings_module
    from killsync.esi.client import shared

    number = place.news()
    digest = place.handle.call(lambda simulator: simulator.universe.kills[number].killmail_hash)
    breaker = shared(settings_module.current()).rate_limit
    for _ in range(15):
        breaker.failed(f"/killmails/{number}/{digest}")
        breaker.succeeded()
    place.fault(f"/killmails/{number}/*", "status", status=500)
    row = await place.sync()
    row = await place.until(row["id"], lambda row: row["finished_at"] is not None)
    assert (row["status"], row["errors"]) == ("succeeded", 1)
    ((state, reason, due),) = rows_of(
        f"SELECT state, last_error, due_at FROM killmail_ref WHERE killmail_id = {number}"
    )
    assert state == "pending" and "500: forced by a fault" in reason
    assert (from_any(due) - utcnow()).total_seconds() > 3600


@ON_SQLITE
async def test_a_character_in_doubt_says_so_on_its_page_and_is_polled_when_the_doubt_ends(place: Place) -> None:
    place.news()
    with connection():
        run("UPDATE \"user\" SET expires_at = '2026-01-01 00:00:00.000000+00:00'")
    place.handle.call(lambda simulator: setattr(simulator.sso, "refuses", 1))
    row = await place.sync()
    assert row["status"] == "failed" and "asked again in 15 minutes" in row["error"], row["error"]
    ((status, due),) = rows_of('SELECT status, next_sync_at FROM "user"')
    assert status == "active" and 800 < (from_any(due) - utcnow()).total_seconds() <= 901
    async with place.player.browser.get(f"{place.player.url}/me") as answer:
        page = await answer.text()
    assert "access in doubt" in page and "it is asked again at" in page and "Log in again" in page
    with connection():
        run("UPDATE \"user\" SET doubted_until = '2026-01-01 00:00:00.000000+00:00'")
    row = await place.sync()
    assert row["status"] == "succeeded"
    async with place.player.browser.get(f"{place.player.url}/me") as answer:
        assert "in doubt" not in await answer.text()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_what_waits_for_longer_than_a_message_may_is_left_to_the_next_poll(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    from killsync.settings import Settings

    monkeypatch.setattr(Settings, "uses_memory_broker", property(lambda _settings: False))
    monkeypatch.setattr("killsync.broker.queues.MOST_DELAY_SECONDS", 2.0)
    number = place.news()
    place.fault("/characters/*/killmails/recent", "no headers 429", count=1)

    def sync() -> dict[str, Any]:
        with connection():
            run_id = runs.open_run(place.user_id)
            sync_user(place.user_id, run_id)
            return run_queries.run_row(run_id) or {}

    row = await asyncio.to_thread(sync)
    assert row["status"] == "waiting" and "429" in row["error"]
    ((due, claimed),) = rows_of('SELECT next_sync_at, claimed_until FROM "user"')
    assert claimed is None and 2.5 < (from_any(due) - utcnow()).total_seconds() < 4
    await asyncio.sleep(4)
    row = await asyncio.to_thread(sync)
    row = await place.until(row["id"], lambda row: row["finished_at"] is not None)
    assert row["status"] == "succeeded" and await place.is_stored(number), "the same run goes on"


def rows_of(statement: str) -> list[Any]:
    with connection():
        return rows(statement)


@ON_SQLITE
@pytest.mark.parametrize("fault", [*PASSING, {"kind": "error object"}, {"kind": "big"}, {"kind": "string ids"}],
                         ids=lambda fault: f"{fault['kind']}")  # fmt: skip
async def test_names_that_cannot_be_had_now_come_later_and_cost_no_killmail(
    place: Place, fault: dict[str, Any]
) -> None:
    from actors.enrichment import enrich_names

    with connection():
        run('UPDATE "character" SET name = NULL, retry_at = NULL')
    place.fault("/universe/names", **fault, count=1)
    enrich_names.send()
    number = place.news()
    row = await place.sync()
    row = await place.until(row["id"], lambda row: row["finished_at"] is not None)
    assert row["status"] == "succeeded" and await place.is_stored(number)
    deadline = time.monotonic() + 20
    while True:
        with connection():
            run('UPDATE "character" SET retry_at = NULL WHERE name IS NULL')
            unnamed = rows('SELECT count(*) FROM "character" WHERE name IS NULL')[0][0]
        if not unnamed:
            return
        assert time.monotonic() < deadline
        enrich_names.send()
        await asyncio.sleep(1)


@ON_SQLITE
async def test_a_sync_that_waits_is_not_sent_a_second_time(place: Place) -> None:
    place.news()
    place.handle.call(lambda simulator: setattr(simulator, "is_down", True))
    row = await place.sync()
    assert row["status"] == "waiting"
    with connection():
        claimed, waits = rows(
            'SELECT claimed_until, claimed_until > %s FROM "user"', (to_text(utcnow() + timedelta(seconds=600)),)
        )[0]
        assert claimed is not None and waits, "longer than the message stays away"
        assert user_polls.claim_due_users(5, 900) == []
    place.handle.call(lambda simulator: setattr(simulator, "is_down", False))
    await place.until(row["id"], lambda row: row["finished_at"] is not None, 60)
    with connection():
        assert rows('SELECT claimed_until FROM "user"') == [(None,)], "its end plans the next turn"


@ON_SQLITE
async def test_history_gives_way_to_a_poll_and_not_to_a_first_walk(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh: list[int] = []
    ask = EsiClient.killmail_list

    def look(client: EsiClient, *arguments: Any, **keywords: Any) -> Any:
        fresh.append(urgency.shared()._fresh)
        return ask(client, *arguments, **keywords)

    monkeypatch.setattr(EsiClient, "killmail_list", look)
    number = place.news()
    await place.sync()
    assert fresh == [1], "the poll itself"
    assert await place.is_stored(number)
    fresh.clear()
    with connection():
        run("UPDATE mail_list SET walked_at = NULL")
        run("UPDATE list_page SET expires_at = NULL")
    await place.sync()
    assert fresh and not any(fresh)
