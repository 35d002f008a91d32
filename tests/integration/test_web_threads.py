"""Slow services and the web server: calls to ESI, the SSO and RabbitMQ hold no thread and no connection of the database."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from killsync.web import turns
from models import threads
from models.db import database
from models.threads import Busy, in_service
from simulator import Handle
from simulator.faults import Fault
from tests.support.player import Player
from tests.support.web_server import served

SUBMIT = "mutation ($url: String!) { submitKillmail(url: $url) { id } }"
#: How long the services hang, seconds.
HANG = 6.0


@dataclass
class Place:
    player: Player
    handle: Handle

    def address(self, number: int) -> str:
        kill = list(self.handle.simulator.universe.kills.values())[number]
        return f"https://esi.evetech.net/latest/killmails/{kill.killmail_id}/{kill.killmail_hash}/"

    def hang(self, path: str) -> None:
        self.handle.call(lambda simulator: simulator.faults.append(Fault(path, "latency", seconds=HANG)))


@pytest_asyncio.fixture
async def place(against: Callable[..., Any], simulated: Callable[..., Handle]) -> AsyncIterator[Place]:
    handle = simulated(kills=(12,))
    async with served(against(handle)) as url, Player(url) as player:
        pilot = handle.simulator.universe.demo_characters[0].character_id
        assert (await player.log_in(pilot)).status == 302
        yield Place(player, handle)


async def test_pages_stay_fast_while_esi_and_the_sso_hang(place: Place) -> None:
    # Of one address so many are executed at a time: several addresses keep more of the services' threads.
    each = turns.OF_ONE
    pilots = [demo.character_id for demo in place.handle.simulator.universe.demo_characters[1:3]]
    async with Player(place.player.url, "127.0.0.2") as second, Player(place.player.url, "127.0.0.3") as leaving:
        for player, pilot in zip((second, leaving), pilots, strict=True):
            assert (await player.log_in(pilot)).status == 302
        place.hang("/killmails/*")
        place.hang("/v2/oauth/revoke")
        began = time.monotonic()
        submits = [
            asyncio.create_task(player.graphql(SUBMIT, url=place.address(offset + number)))
            for player, offset in ((place.player, 0), (second, each))
            for number in range(each)
        ]
        disconnects = [asyncio.create_task(leaving.graphql("mutation { disconnect }")) for _ in range(each)]
        await asyncio.sleep(1.0)
        for path in ("/", "/me", "/search?q=Rifter"):
            asked = time.monotonic()
            async with place.player.browser.get(f"{place.player.url}{path}") as answer:
                assert answer.status == 200
                await answer.text()
            assert time.monotonic() - asked < 1.5, path
        assert not any(task.done() for task in (*submits, *disconnects)), "they hang all the while"
        assert time.monotonic() - began < HANG
        submitted, disconnected = await asyncio.gather(*submits), await asyncio.gather(*disconnects)
    assert time.monotonic() - began < 2 * HANG, "all of them hung at once"
    assert all(answer["data"]["submitKillmail"]["id"] for answer in submitted), submitted
    assert all(answer["data"] == {"disconnect": True} for answer in disconnected), disconnected


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_more_calls_than_can_wait_are_told_to_come_back(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_services", threads._Pool("test-service", threads=1, most_waiting=1))
    place.hang("/killmails/*")
    answers = await asyncio.gather(
        *(place.player.graphql(SUBMIT, url=place.address(number)) for number in range(3)),
    )
    codes = [answer["errors"][0]["extensions"]["code"] for answer in answers if "errors" in answer]
    assert codes == ["UNAVAILABLE"], answers


async def test_a_call_that_its_caller_gave_up_counts_until_its_thread_is_free(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "_services", threads._Pool("test-service", threads=1, most_waiting=0))
    ends = threading.Event()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(in_service(ends.wait, 20), 0.1)
    with pytest.raises(Busy):
        await in_service(ends.wait, 20)
    ends.set()
    for _ in range(100):
        await asyncio.sleep(0.02)
        try:
            assert await in_service(lambda: 5) == 5
        except Busy:
            continue
        return
    pytest.fail("the thread never became free")


async def test_a_service_call_leaves_no_connection_behind(place: Place) -> None:
    from killsync.killmails.fetch import submit
    from killsync.sso.refresh import revoke
    from killsync.sync.characters import request_sync
    from models.users import User

    def is_closed_after(work: Callable[..., Any], *arguments: Any) -> bool:
        work(*arguments)
        return bool(database.obj.is_closed())

    with database.obj.connection_context():
        user_id = User.get().id
    kill = next(iter(place.handle.simulator.universe.kills.values()))
    assert await in_service(is_closed_after, submit, kill.killmail_id, kill.killmail_hash)
    assert await in_service(is_closed_after, request_sync, user_id, "asked for")
    assert await in_service(is_closed_after, revoke, user_id)
