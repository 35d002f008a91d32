"""Whose account a login opens: nobody joins one by logging in, and what was joined can be separated again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest_asyncio

from models import connection
from models.users import Account, User
from simulator import Handle
from tests.support.player import Player
from tests.support.web_server import served


class Place:
    def __init__(self, url: str, handle: Handle) -> None:
        self.url, self.handle = url, handle
        self.pilots = [pilot.character_id for pilot in handle.simulator.universe.characters.values()][:3]

    def player(self) -> Player:
        return Player(self.url)


@pytest_asyncio.fixture
async def place(against: Callable[..., Any], simulated: Callable[..., Handle]) -> AsyncIterator[Place]:
    handle = simulated(kills=(5, 5, 5))
    async with served(against(handle)) as url:
        yield Place(url, handle)


async def mine(player: Player) -> set[str]:
    return {each["characterId"] for each in (await player.data("{ myCharacters { characterId } }"))["myCharacters"]}


async def test_a_login_under_a_session_that_was_left_behind_joins_nothing(place: Place) -> None:
    async with place.player() as shared:
        await shared.log_in(place.pilots[0])
        done = await shared.log_in(place.pilots[1], next="/")
        assert done.status == 302
        assert await mine(shared) == {str(place.pilots[1])}
    async with place.player() as owner:
        await owner.log_in(place.pilots[0])
        assert await mine(owner) == {str(place.pilots[0])}


async def test_a_character_is_added_by_a_step_that_says_to_which_account(place: Place) -> None:
    async with place.player() as player:
        assert (await player.browser.get(f"{place.url}/auth/add")).status == 403
        await player.log_in(place.pilots[0])
        text = await (await player.browser.get(f"{place.url}/auth/add")).text()
        with connection():
            name = User.get(User.character_id == place.pilots[0]).character_name
        import html

        assert name in html.unescape(text)
        await player.add(place.pilots[1])
        assert await mine(player) == {str(place.pilots[0]), str(place.pilots[1])}


async def test_a_character_with_an_account_of_its_own_moves_when_its_owner_says_so(place: Place) -> None:
    async with place.player() as other, place.player() as player:
        await other.log_in(place.pilots[1])
        await player.log_in(place.pilots[0])
        await player.add(place.pilots[1])
        assert await mine(player) == {str(place.pilots[0]), str(place.pilots[1])}
        assert await mine(other) == set(), "its old account has ended, and so have its sessions"
    with connection():
        assert Account.select().count() == 1


async def test_a_link_to_add_a_character_works_for_nobody_else(place: Place) -> None:
    import re
    from urllib.parse import unquote

    async with place.player() as attacker, place.player() as victim:
        await attacker.log_in(place.pilots[0])
        page = await (await attacker.browser.get(f"{place.url}/auth/add")).text()
        join = unquote(re.search(r"join=([^&\"]+)&", page)[1])  # type: ignore[index]
        for name in ("a visitor", "another account"):
            if name == "another account":
                await victim.log_in(place.pilots[1])
            answer = await victim.browser.get(f"{place.url}/auth/login", params={"join": join}, allow_redirects=False)
            assert answer.status == 400, name
        for nonsense in ("", "x", "x" * 5_000):
            answer = await attacker.browser.get(
                f"{place.url}/auth/login", params={"join": nonsense}, allow_redirects=False
            )
            assert answer.status == 400


async def test_what_was_begun_before_a_logout_joins_nothing_after_it(place: Place) -> None:
    import re
    from urllib.parse import unquote

    async with place.player() as player:
        await player.log_in(place.pilots[0])
        page = await (await player.browser.get(f"{place.url}/auth/add")).text()
        join = unquote(re.search(r"join=([^&\"]+)&", page)[1])  # type: ignore[index]
        begun = await player.browser.get(f"{place.url}/auth/login", params={"join": join}, allow_redirects=False)
        approved = await player.browser.get(
            f"{begun.headers['Location']}&auto_character={place.pilots[1]}", allow_redirects=False
        )
        await player.browser.post(f"{place.url}/auth/logout", allow_redirects=False)
        answer = await player.browser.get(approved.headers["Location"], allow_redirects=False)
        assert answer.status == 400
    with connection():
        assert User.get_or_none(User.character_id == place.pilots[1]) is None


async def test_an_account_can_be_split_again(place: Place) -> None:
    async with place.player() as player, place.player() as other:
        await player.log_in(place.pilots[0])
        alone = await player.browser.post(
            f"{place.url}/me/split", data={"character": str(place.pilots[0])}, allow_redirects=False
        )
        assert alone.status == 409
        await player.add(place.pilots[1])
        text = await (await player.browser.get(f"{place.url}/me")).text()
        assert "/me/split" in text
        done = await player.browser.post(
            f"{place.url}/me/split", data={"character": str(place.pilots[1])}, allow_redirects=False
        )
        assert done.status == 303
        assert await mine(player) == {str(place.pilots[0])}
        await other.log_in(place.pilots[1])
        assert await mine(other) == {str(place.pilots[1])}
        assert await mine(player) == {str(place.pilots[0])}
