"""A corporation's list by one Director: who is tried, who takes over, and what its members are spared."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest_asyncio
from rich.console import Console

from killsync.cli.status import screen
from killsync.observability.overview import gather
from killsync.sync import corporations as actor
from killsync.sync.characters import request_sync
from models import connection
from models.fields import from_any, utcnow
from models.sql import rows, run
from simulator import Handle
from tests.support.embedded import embedded
from tests.support.player import Player

CORPORATION = 98_000_001


class Place:
    """An embedded Killsync. The first six pilots are in one corporation; the first and the third are its Directors."""

    def __init__(self, url: str, handle: Handle) -> None:
        self.url, self.handle = url, handle
        self.pilots = list(handle.simulator.universe.characters)[:6]

    async def log_in(self, position: int, **query: str) -> int:
        """Log a pilot in and wait for the first sync; the user's id."""
        async with Player(self.url) as player:
            assert (await player.log_in(self.pilots[position], **query)).status == 302
        user_id = self.sql('SELECT id FROM "user" WHERE character_id = %s', self.pilots[position])[0][0]
        await self.settled(user_id)
        return int(user_id)

    async def settled(self, user_id: int) -> None:
        await self.until(
            lambda: self.sql(
                "SELECT count(*) FROM sync_run WHERE user_id = %s AND kind = 'character' AND status = 'succeeded'", user_id
            )[0][0] and not self.sql("SELECT 1 FROM sync_run WHERE finished_at IS NULL"),
            "the sync ends",
        )  # fmt: skip

    async def until(self, holds: Callable[[], Any], what: str, seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < deadline, (what, self.sql("SELECT * FROM sync_run"))
            await asyncio.sleep(0.1)

    def sql(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with connection():
            return rows(statement, values)

    def change(self, statement: str, *values: Any) -> None:
        with connection():
            run(statement, values)

    def answers(self, status: int) -> int:
        """How often the corporation's list was answered with *status*."""
        found: int = self.handle.call(lambda simulator: simulator.esi.answers["corp-killmail", status])
        return found

    def reader(self) -> tuple[Any, ...]:
        """(user who reads the list, whether it works)."""
        found = self.sql(
            "SELECT user_id, works_until IS NOT NULL FROM corporation_feed WHERE corporation_id = %s", CORPORATION
        )
        return found[0] if found else ("no corporation yet",)

    def status(self, user_id: int) -> str:
        return str(self.sql('SELECT status FROM "user" WHERE id = %s', user_id)[0][0])

    async def sync(self, user_id: int) -> None:
        """A person's wish for a sync, when ESI's cache has run out."""
        self.handle.call(lambda simulator: simulator.drop_caches())
        self.change("UPDATE list_page SET expires_at = NULL")
        with connection():
            request_sync(user_id, "test")
        await asyncio.sleep(0.3)
        await self.settled(user_id)


@pytest_asyncio.fixture
async def place(against: Any, simulated: Any) -> AsyncIterator[Place]:
    handle = simulated(kills=(8, 6, 5, 4), characters=30, list_cache_seconds=1.0)
    async with embedded(against(handle)) as url:
        yield Place(url, handle)


async def test_one_director_reads_the_list_for_all_and_members_are_asked_rarely(place: Place) -> None:
    member = await place.log_in(1)
    director = await place.log_in(0, scopes="corporation")
    await place.until(lambda: place.reader() == (director, True), "the list works")
    listed = place.handle.call(lambda sim: dict(sim.universe.listed("corporation", CORPORATION, sim.clock.now())))
    await place.until(lambda: place.sql("SELECT count(*) FROM killmail")[0][0] >= len(listed), "all is stored")
    await place.until(
        lambda: (
            ("corporation", "succeeded") in place.sql("SELECT kind, status FROM sync_run WHERE user_id = %s", director)
        ),
        "the corporation's run ends",
    )
    own = {number for (number,) in place.sql("SELECT killmail_id FROM user_killmail")}
    assert set(listed) - own, "the corporation's list names what no member's list named"
    assert {number for (number,) in place.sql("SELECT killmail_id FROM corporation_killmail")} == set(listed)

    await place.sync(member)
    await place.until(
        lambda: place.sql("SELECT corporation_id FROM membership WHERE user_id = %s", member) == [(CORPORATION,)],
        "the member is known as one",
    )
    await place.sync(member)
    due = from_any(place.sql('SELECT next_sync_at FROM "user" WHERE id = %s', member)[0][0])
    assert due is not None and (due - utcnow()).total_seconds() > 5 * 3600, "just logged in, yet asked at the ceiling"

    second = await place.log_in(2, scopes="corporation")
    assert place.reader() == (director, True) and place.answers(403) == 0
    assert not place.sql("SELECT 1 FROM sync_run WHERE user_id = %s AND kind = 'corporation'", second)
    everything = gather().as_dict()
    (shown,) = everything["corporations"]
    assert (shown["corporation_id"], shown["members"], bool(shown["works"])) == (CORPORATION, 3, True)
    name = place.sql('SELECT character_name FROM "user" WHERE id = %s', director)[0][0]
    assert shown["director"] == name
    told = Console(record=True, width=140, file=io.StringIO())
    told.print(screen(everything))
    text = told.export_text()
    assert "Corporation lists" in text and name in text and "Read by" in text


async def test_a_403_takes_the_next_director_and_hurts_nobody(place: Place) -> None:
    first = await place.log_in(0, scopes="corporation")
    await place.until(lambda: place.reader() == (first, True), "the list works")
    second = await place.log_in(2, scopes="corporation")
    place.handle.call(lambda sim: setattr(sim.universe.characters[place.pilots[0]], "is_director", False))
    await place.sync(first)
    await place.until(lambda: place.reader() == (second, True), "the other Director reads it")
    assert place.answers(403) == 1
    assert (place.status(first), place.status(second)) == ("active", "active")
    runs = place.sql("SELECT kind, status FROM sync_run WHERE user_id = %s ORDER BY id DESC LIMIT 2", first)
    assert sorted(runs) == [("character", "succeeded"), ("corporation", "failed")]
    reads = place.answers(200)
    place.handle.call(lambda sim: sim.new_kill(place.pilots[3]))
    await place.sync(second)
    await place.until(
        lambda: place.answers(200) > reads, "a Director's wish for a sync asks for the corporation's list"
    )
    assert place.answers(403) == 1


async def test_a_user_without_the_role_is_tried_once_a_day(place: Place) -> None:
    hopeful = await place.log_in(1, scopes="corporation")
    await place.until(lambda: place.reader() == (None, False), "nobody can read it")
    for _ in range(2):
        await place.sync(hopeful)
    with connection():
        actor.send(CORPORATION)
    await asyncio.sleep(0.5)
    assert place.answers(403) == 1 and place.status(hopeful) == "active"
    place.change("UPDATE membership SET refused_at = '2026-01-01 00:00:00.000000+00:00'")
    place.handle.call(lambda sim: setattr(sim.universe.characters[place.pilots[1]], "is_director", True))
    with connection():
        actor.send(CORPORATION)
    await place.until(lambda: place.reader() == (hopeful, True), "the role was given meanwhile")


async def test_when_the_last_director_goes_members_are_asked_themselves_again(place: Place) -> None:
    director = await place.log_in(0, scopes="corporation")
    await place.until(lambda: place.reader() == (director, True), "the list works")
    member = await place.log_in(1)
    await place.sync(member)
    await place.sync(member)
    place.handle.call(lambda sim: sim.sso.revoke_character(place.pilots[0]))
    place.change('UPDATE "user" SET expires_at = NULL WHERE id = %s', director)
    place.change("UPDATE list_page SET expires_at = NULL")
    with connection():
        actor.send(CORPORATION)
    await place.until(lambda: place.reader() == (None, False), "nobody can read it")
    due = from_any(place.sql('SELECT next_sync_at FROM "user" WHERE id = %s', member)[0][0])
    assert due is not None and (due - utcnow()).total_seconds() <= 3600
    assert place.status(director) == "needs_login", "because the SSO said so, not the list"


async def test_a_director_who_changes_corporation_hands_the_list_on(place: Place) -> None:
    first = await place.log_in(0, scopes="corporation")
    second = await place.log_in(2, scopes="corporation")
    await place.until(lambda: place.reader() == (first, True), "the list works")
    place.handle.call(lambda sim: setattr(sim.universe.characters[place.pilots[0]], "corporation_id", CORPORATION + 1))
    place.change("UPDATE membership SET checked_at = '2026-01-01 00:00:00.000000+00:00'")
    # His own sync finds that he has moved; the list he left is due at once, and anybody's tick takes it.
    await place.sync(first)
    await place.until(
        lambda: place.sql("SELECT corporation_id FROM membership WHERE user_id = %s", first) == [(CORPORATION + 1,)],
        "the move is known",
    )
    with connection():
        actor.send(CORPORATION)
    await place.until(lambda: place.reader() == (second, True), "the other Director reads it")
    assert place.status(first) == "active"
