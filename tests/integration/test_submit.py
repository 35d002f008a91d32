"""`submitKillmail`: any spelling of ESI's address, within the budget, once, and never a request to anybody but ESI."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from killsync.killmails import ledger, ledger_figures
from killsync.killmails.esi_url import BadUrl, parse
from models import connection
from models.sql import rows
from simulator import Handle
from simulator.faults import Fault
from tests.support.player import Player
from tests.support.web_server import served

SUBMIT = "mutation ($url: String!) { submitKillmail(url: $url) { id killmailHash victim { shipType { id } } } }"
REAL = "https://esi.evetech.net"
HASH = "332dee72541b45446662f3e5fae07b875273b8f2"


@dataclass
class Place:
    player: Player
    handle: Handle

    async def submit(self, url: str) -> dict[str, Any]:
        return await self.player.graphql(SUBMIT, url=url)

    def details(self) -> int:
        return self.handle.call(lambda simulator: sum(simulator.esi.details.values()))

    def kill(self, number: int = 0) -> Any:
        return list(self.handle.simulator.universe.kills.values())[number]

    def address(self, kill: Any, digest: str = "") -> str:
        return f"{REAL}/latest/killmails/{kill.killmail_id}/{digest or kill.killmail_hash}/?datasource=tranquility"


@pytest_asyncio.fixture
async def place(against: Callable[..., Any], simulated: Callable[..., Handle]) -> AsyncIterator[Place]:
    handle = simulated(kills=(12, 5, 3))
    async with served(against(handle)) as url, Player(url) as player:
        pilot = handle.simulator.universe.demo_characters[0].character_id
        assert (await player.log_in(pilot)).status == 302
        yield Place(player, handle)


async def test_a_submitted_killmail_is_fetched_once_and_stored(place: Place) -> None:
    kill = place.kill()
    for address in (place.address(kill), f"{place.handle.url}/killmails/{kill.killmail_id}/{kill.killmail_hash}"):
        answer = await place.submit(address)
        assert answer["data"]["submitKillmail"]["id"] == str(kill.killmail_id), answer
        assert answer["data"]["submitKillmail"]["killmailHash"] == kill.killmail_hash
    assert place.details() == 1, "one that is stored is answered without a request"
    with connection():
        assert ledger_figures.counts() == {"fetched": 1}


async def test_a_wrong_hash_is_refused_and_leaves_nothing_behind(place: Place) -> None:
    answer = await place.submit(place.address(place.kill(), "0" * 40))
    assert answer["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT", answer
    assert "no killmail" in answer["errors"][0]["message"]
    with connection():
        assert ledger_figures.counts() == {}


async def test_nobody_can_spoil_a_listed_killmail_by_submitting_a_wrong_hash(place: Place) -> None:
    kill = place.kill()
    with connection():
        user_id = rows('SELECT id FROM "user"')[0][0]
        ledger.record_page(user_id, None, [(kill.killmail_id, kill.killmail_hash)], ledger.FRESH)
        for _ in range(2):
            answer = await place.submit(place.address(kill, "0" * 40))
            assert answer["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"
        assert rows("SELECT killmail_hash, state, attempts, refused_at FROM killmail_ref") == [
            (kill.killmail_hash, "pending", 0, None)
        ]
        assert ledger.claim(5, backlog=False) == [kill.killmail_id], "it is still due"


async def test_a_killmail_that_esi_cannot_give_now_comes_by_itself_later(place: Place) -> None:
    kill = place.kill()
    place.handle.call(lambda simulator: simulator.faults.append(Fault("/killmails/*", "status", 503, count=1)))
    answer = await place.submit(place.address(kill))
    assert answer["errors"][0]["extensions"]["code"] == "UNAVAILABLE"
    assert "comes by itself" in answer["errors"][0]["message"]
    with connection():
        assert ledger_figures.counts() == {"pending": 1}


async def test_a_link_to_another_place_is_refused_without_a_request(place: Place) -> None:
    asked = place.handle.call(lambda simulator: sum(simulator.esi.answers.values()))
    for url in (
        f"https://evil.example/killmails/1/{HASH}",
        f"https://esi.evetech.net.evil.example/killmails/1/{HASH}",
        f"https://esi.evetech.net@evil.example/killmails/1/{HASH}",
        f"{REAL}/characters/1/",
        f"{REAL}/killmails/1/{HASH}/../../../characters/1",
        "javascript:alert(1)",
        "",
        "x" * 10_000,
    ):
        answer = await place.submit(url)
        assert answer["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT", (url, answer)
    assert place.handle.call(lambda simulator: sum(simulator.esi.answers.values())) == asked


@pytest.mark.parametrize("version", ["", "/v1", "/latest", "/legacy", "/dev", "/v12"])
@pytest.mark.parametrize("tail", ["", "/", "/?datasource=tranquility", "?language=en&datasource=tranquility"])
@pytest.mark.parametrize("scheme", ["https://", "http://", ""])
def test_every_spelling_of_an_address_is_understood(version: str, tail: str, scheme: str) -> None:
    text = f"  {scheme}esi.evetech.net{version}/killmails/66587576/{HASH.upper()}{tail}\n"
    assert parse(text, REAL) == (66587576, HASH)


@given(st.text(max_size=200))
def test_any_other_text_is_a_bad_link_and_never_another_error(text: str) -> None:
    try:
        number, digest = parse(text, REAL)
    except BadUrl:
        return
    assert number >= 0 and len(digest) == 40


def test_no_connection_is_held_while_esi_is_asked(
    against: Callable[..., Any], simulated: Callable[..., Handle], monkeypatch: pytest.MonkeyPatch
) -> None:
    from killsync.esi import client
    from killsync.killmails.fetch import submit
    from models.db import database

    handle = simulated(kills=(3,))
    against(handle)
    kill = next(iter(handle.simulator.universe.kills.values()))
    open_at_call: list[bool] = []
    run = client.http_session.run

    def watched(coroutine: Any) -> Any:
        open_at_call.append(not database.is_closed())
        return run(coroutine)

    monkeypatch.setattr(client.http_session, "run", watched)
    submit(kill.killmail_id, kill.killmail_hash)
    assert open_at_call and not any(open_at_call)
    assert database.is_closed()
    with connection():
        assert ledger_figures.counts() == {"fetched": 1}
