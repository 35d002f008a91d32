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
        asked = await shared.log_in(place.pilots[1], next="/")
        assert asked.status == 200
        assert await mine(shared) == {str(place.pilots[0])}, "nothing changes until it is chosen"
        assert (await shared.choose(asked, "switch")).status == 303
        assert await mine(shared) == {str(place.pilots[1])}
        assert (await shared.choose(asked, "add")).status == 400, "the page belonged to the session that ended"
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


async def disconnects(player: Player, character_id: int) -> bool:
    answer = await player.graphql("mutation ($who: ID) { disconnect(characterId: $who) }", who=str(character_id))
    if "errors" in answer:
        assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN", answer
        return False
    return True


async def test_a_login_as_another_asks_and_can_add_it(place: Place) -> None:
    async with place.player() as player:
        await player.log_in(place.pilots[0])
        asked = await player.log_in(place.pilots[1])
        assert (await player.choose(asked, "neither")).status == 400
        foreign = await player.browser.post(
            f"{place.url}/auth/choose", data={"choice": "add"}, headers={"Origin": "https://evil.example"}
        )
        assert foreign.status == 403
        assert (await player.choose(asked, "add")).status == 303
        assert await mine(player) == {str(pilot) for pilot in place.pilots[:2]}
        assert (await player.log_in(place.pilots[1])).status == 302, "it is no other account's any more"


async def test_the_choice_belongs_to_the_browser_that_was_asked(place: Place) -> None:
    async with place.player() as victim, place.player() as attacker:
        await victim.log_in(place.pilots[0])
        await attacker.log_in(place.pilots[1])
        asked = await attacker.log_in(place.pilots[2])
        assert (await victim.choose(asked, "add")).status == 400
        assert await mine(victim) == {str(place.pilots[0])}


async def test_who_came_later_cannot_remove_who_was_there_before(place: Place) -> None:
    async with place.player() as owner, place.player() as late:
        await owner.log_in(place.pilots[0])
        await owner.add(place.pilots[1])
        await late.log_in(place.pilots[1])
        assert len(await mine(late)) == 2
        assert not await disconnects(late, place.pilots[0])
        for path in ("/me/disconnect", "/me/split"):
            form = {"character": str(place.pilots[0])}
            assert (await late.browser.post(f"{place.url}{path}", data=form, allow_redirects=False)).status == 403
        delete = await late.browser.post(f"{place.url}/auth/delete-account", data={"confirm": "delete"})
        assert delete.status == 403
        page = await (await late.browser.get(f"{place.url}/me")).text()
        assert page.count('action="/me/disconnect"') == 1, "what is refused is not offered"
        assert await disconnects(owner, place.pilots[1])
        # It logs in anew, and has no more to say than before.
        await late.log_in(place.pilots[1])
        assert not await disconnects(late, place.pilots[0])
        assert await disconnects(late, place.pilots[1])


async def test_who_was_disconnected_comes_back_as_the_last(place: Place) -> None:
    async with place.player() as owner, place.player() as oldest:
        await owner.log_in(place.pilots[0])
        await owner.add(place.pilots[1])
        assert await disconnects(owner, place.pilots[0])
        await oldest.log_in(place.pilots[0])
        assert not await disconnects(oldest, place.pilots[1])


async def test_a_first_character_that_was_disconnected_keeps_nobody_from_deleting_the_account(place: Place) -> None:
    async with place.player() as first, place.player() as second, place.player() as third:
        await first.log_in(place.pilots[0])
        for number in (1, 2):
            await first.add(place.pilots[number])
        await second.log_in(place.pilots[1])
        await third.log_in(place.pilots[2])

        async def deletes(player: Player) -> int:
            form = {"confirm": "delete"}
            answer = await player.browser.post(f"{place.url}/auth/delete-account", data=form, allow_redirects=False)
            return answer.status

        assert await deletes(second) == 403
        assert await disconnects(first, place.pilots[0])
        assert await deletes(third) == 403, "the second is there before it"
        assert await deletes(second) == 303
    with connection():
        assert not Account.select().exists()


async def test_a_session_goes_with_the_character_that_is_separated(place: Place) -> None:
    async with place.player() as owner, place.player() as late:
        await owner.log_in(place.pilots[0])
        await owner.add(place.pilots[1])
        await late.log_in(place.pilots[1])
        form = {"character": str(place.pilots[1])}
        assert (await owner.browser.post(f"{place.url}/me/split", data=form, allow_redirects=False)).status == 303
        assert await mine(late) == {str(place.pilots[1])}
        assert await mine(owner) == {str(place.pilots[0])}
