"""What a sync does when ESI's lists and names misbehave: it waits, goes on, or ends with its reason; the worker lives."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio

from killsync.sync import due as polling
from killsync.sync import runs
from killsync.sync.characters import request_sync
from models import connection
from models.fields import to_text, utcnow
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
                row = runs.run_row(run_id) or {}
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
    assert row["status"] == "failed" and "403" in row["error"]
    with connection():
        assert rows('SELECT status FROM "user"') == [("active",)]


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
        assert polling.claim_due_users(5, 900) == []
    place.handle.call(lambda simulator: setattr(simulator, "is_down", False))
    await place.until(row["id"], lambda row: row["finished_at"] is not None, 60)
    with connection():
        assert rows('SELECT claimed_until FROM "user"') == [(None,)], "its end plans the next turn"
