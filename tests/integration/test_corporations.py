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
from killsync.sync import corporation_polls
from killsync.sync import corporations as actor
from killsync.sync.characters import request_sync
from models import connection
from models.fields import from_any, utcnow
from models.sql import rows, run
from simulator import Handle
from simulator.faults import Fault
from tests.support.embedded import embedded, has_syncs
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
            )[0][0] and not has_syncs() and not self.sql("SELECT 1 FROM sync_run WHERE finished_at IS NULL"),
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
    place.change('UPDATE "user" SET expires_at = NULL, refusals = 4 WHERE id = %s', director)
    place.change("UPDATE list_page SET expires_at = NULL")
    with connection():
        actor.send(CORPORATION)
    await place.until(lambda: place.reader() == (None, False), "nobody can read it")
    due = from_any(place.sql('SELECT next_sync_at FROM "user" WHERE id = %s', member)[0][0])
    assert due is not None and (due - utcnow()).total_seconds() <= 3600
    assert place.status(director) == "needs_login", "because the SSO said so, not the list"


async def test_a_director_in_doubt_leaves_the_list_to_the_others_at_once(place: Place) -> None:
    first = await place.log_in(0, scopes="corporation")
    await place.until(lambda: place.reader() == (first, True), "the list works")
    second = await place.log_in(2, scopes="corporation")
    place.handle.call(lambda sim: sim.sso.revoke_character(place.pilots[0]))
    place.change('UPDATE "user" SET expires_at = NULL WHERE id = %s', first)
    place.change("UPDATE list_page SET expires_at = NULL")
    with connection():
        actor.send(CORPORATION)
    await place.until(lambda: place.reader() == (second, True), "the other Director reads it")
    assert place.status(first) == "active", "one refusal is doubt, not proof"


async def test_directors_take_turns_and_a_wish_is_read_by_the_token_of_who_wished(place: Place) -> None:
    first = await place.log_in(0, scopes="corporation")
    await place.until(lambda: place.reader() == (first, True), "the list works")
    second = await place.log_in(2, scopes="corporation")

    async def poll() -> int:
        """A poll by a tick; the Director who read it."""
        newest = place.sql("SELECT max(id) FROM sync_run")[0][0]
        place.handle.call(lambda simulator: simulator.drop_caches())
        place.change("UPDATE list_page SET expires_at = NULL")
        with connection():
            actor.send(CORPORATION)
        await place.until(
            lambda: place.sql("SELECT 1 FROM sync_run WHERE id > %s AND finished_at IS NOT NULL", newest), "it is read"
        )
        ((user_id, status),) = place.sql("SELECT user_id, status FROM sync_run WHERE id > %s", newest)
        assert status == "succeeded"
        return int(user_id)

    assert [await poll() for _ in range(5)] == [first, second, first, second, first]
    for wisher in (first, first, second):
        await place.sync(wisher)
        assert place.sql("SELECT user_id FROM sync_run WHERE kind = 'corporation' ORDER BY id DESC LIMIT 1") == [
            (wisher,)
        ]
    assert place.answers(403) == 0 and not place.sql("SELECT 1 FROM sync_run WHERE status = 'failed'")


async def test_a_403_for_no_reason_that_is_known_concludes_nothing(place: Place) -> None:
    director = await place.log_in(0, scopes="corporation")
    await place.until(lambda: place.reader() == (director, True), "the list works")
    place.handle.call(
        lambda sim: sim.faults.append(Fault("/corporations/*/killmails/recent", "status", status=403, count=1))
    )
    await place.sync(director)
    run_row = place.sql("SELECT status, error FROM sync_run WHERE kind = 'corporation' ORDER BY id DESC LIMIT 1")[0]
    assert run_row[0] == "failed" and "403: forced by a fault" in run_row[1]
    assert place.reader() == (director, True), "whoever is Director stays it, and members rely on the list"
    assert place.sql("SELECT refused_at FROM membership WHERE user_id = %s", director) == [(None,)]
    due = from_any(place.sql("SELECT next_sync_at FROM corporation_feed")[0][0])
    assert due is not None and 600 < (due - utcnow()).total_seconds() <= 900
    await place.sync(director)
    assert place.sql("SELECT status FROM sync_run WHERE kind = 'corporation' ORDER BY id DESC LIMIT 1") == [
        ("succeeded",)
    ]


async def test_a_403_of_who_left_the_corporation_looks_the_affiliation_up_anew(place: Place) -> None:
    first = await place.log_in(0, scopes="corporation")
    await place.until(lambda: place.reader() == (first, True), "the list works")
    second = await place.log_in(2, scopes="corporation")
    place.handle.call(lambda sim: setattr(sim.universe.characters[place.pilots[0]], "corporation_id", CORPORATION + 1))
    await place.sync(first)
    await place.until(lambda: place.reader() == (second, True), "the other Director reads it")
    assert place.sql("SELECT corporation_id FROM membership WHERE user_id = %s", first) == [(CORPORATION + 1,)]
    assert place.sql("SELECT user_id FROM corporation_feed WHERE corporation_id = %s", CORPORATION + 1) == [(first,)]


async def test_a_corporation_of_the_game_itself_is_never_asked_for_its_list(place: Place) -> None:
    def leave(simulator: Any) -> None:
        simulator.universe.corporations[1_000_169] = ("Center for Advanced Studies", None)
        simulator.universe.characters[place.pilots[0]].corporation_id = 1_000_169

    place.handle.call(leave)
    user_id = await place.log_in(0, scopes="corporation")
    await place.until(
        lambda: place.sql("SELECT corporation_id FROM membership WHERE user_id = %s", user_id) == [(1_000_169,)],
        "known",
    )
    place.change(
        "INSERT INTO corporation_feed (corporation_id, next_sync_at) VALUES (1000169, '2026-01-01 00:00:00+00:00')"
    )
    with connection():
        assert corporation_polls.claim_due(10, 60) == []
        actor.send(1_000_169)
    await place.sync(user_id)
    assert not place.handle.call(lambda sim: [key for key in sim.esi.answers if key[0] == "corp-killmail"])


async def test_corporations_of_all_are_learned_in_one_request(place: Place) -> None:
    users = [await place.log_in(position, scopes="corporation") for position in range(4)]
    await place.until(lambda: place.sql("SELECT count(*) FROM membership") == [(4,)], "all are known")
    place.change("UPDATE membership SET checked_at = '2026-01-01 00:00:00.000000+00:00'")
    asked = place.handle.call(lambda sim: sim.esi.answers["affiliation", 200])
    await place.sync(users[0])
    await place.until(
        lambda: place.handle.call(lambda sim: sim.esi.answers["affiliation", 200]) > asked, "affiliations are asked for"
    )
    await place.until(
        lambda: not place.sql("SELECT 1 FROM membership WHERE checked_at < '2026-02-01 00:00:00.000000+00:00'"), "all"
    )
    for user_id in users:
        await place.sync(user_id)
    assert place.handle.call(lambda sim: sim.esi.answers["affiliation", 200]) == asked + 1
    assert not place.handle.call(lambda sim: [key for key in sim.esi.answers if key[0] == "characters"])


async def test_one_character_that_esi_does_not_know_costs_the_others_nothing(place: Place) -> None:
    users = [await place.log_in(position, scopes="corporation") for position in range(3)]
    await place.until(lambda: place.sql("SELECT count(*) FROM membership") == [(3,)], "all are known")
    place.change("UPDATE membership SET checked_at = '2026-01-01 00:00:00.000000+00:00'")
    place.change('UPDATE "user" SET character_id = 77 WHERE id = %s', users[1])
    await place.sync(users[0])

    def ages() -> dict[int, float]:
        with connection():
            known = {row[0]: from_any(row[1]) for row in rows("SELECT user_id, checked_at FROM membership")}
        return {user_id: (utcnow() - at).total_seconds() for user_id, at in known.items() if at is not None}

    # Who is asked for counts as asked for a day but a quarter of an hour ago, until the answer is here.
    await place.until(lambda: max(ages()[users[0]], ages()[users[2]]) < 60, "the others are learned")
    assert 80_000 < ages()[users[1]] < 86_400, "it is asked for again later"


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
