"""The simulator is as strict as ESI and the SSO: what it lets pass, they let pass; what it refuses, they refuse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import aiohttp
import jwt

from simulator import Handle
from tests.support.deployment import CLIENT
from tests.support.esi_application import (
    CORPORATION_SCOPE,
    HEADERS,
    SCOPE,
    code_of,
    pkce,
    token_call,
    token_of,
    tokens_of,
)

Simulated = Callable[..., Handle]


async def get(handle: Handle, path: str, token: str = "", **headers: str) -> tuple[int, Any, Any]:
    """(status, headers, body) of a GET."""
    sent = {**HEADERS, **({"Authorization": f"Bearer {token}"} if token else {}), **headers}
    sent = {name.replace("_", "-"): value for name, value in sent.items() if value}
    async with (
        aiohttp.ClientSession(skip_auto_headers={"User-Agent"}) as http,
        http.get(handle.url + path, headers=sent) as answer,
    ):
        return answer.status, answer.headers, await answer.json(content_type=None) if answer.status != 304 else None


def pilot_of(handle: Handle) -> Any:
    return handle.simulator.universe.demo_characters[0]


def a_kill(handle: Handle) -> Any:
    return next(iter(handle.simulator.universe.kills.values()))


async def test_an_access_token_is_a_jwt_that_the_published_keys_verify(simulated: Simulated) -> None:
    handle = simulated(kills=(3,))
    token = await token_of(handle, pilot_of(handle).character_id)
    _, _, directory = await get(handle, "/.well-known/oauth-authorization-server")
    key = jwt.PyJWKClient(directory["jwks_uri"]).get_signing_key_from_jwt(token)
    claims = jwt.decode(token, key.key, algorithms=["RS256"], audience="EVE Online")
    assert claims["sub"] == f"CHARACTER:EVE:{pilot_of(handle).character_id}"
    assert set(claims["aud"]) == {CLIENT[0], "EVE Online"}
    assert claims["name"] == pilot_of(handle).name and claims["owner"]
    assert 1190 <= claims["exp"] - claims["iat"] <= 1210


async def test_a_code_works_once_with_its_own_verifier_and_client(simulated: Simulated) -> None:
    handle = simulated(kills=(3,))
    verifier, challenge = pkce()
    code = await code_of(handle, pilot_of(handle).character_id, challenge=challenge)
    form = {"grant_type": "authorization_code", "code": code}
    assert (await token_call(handle, **form, code_verifier="wrong"))[0] == 400
    code = await code_of(handle, pilot_of(handle).character_id, challenge=challenge)
    form["code"] = code
    assert (await token_call(handle, ("simulator-client", "wrong"), **form, code_verifier=verifier))[0] == 401
    assert (await token_call(handle, **form, code_verifier=verifier))[0] == 200
    status, answer = await token_call(handle, **form, code_verifier=verifier)
    assert (status, answer["error"]) == (400, "invalid_grant")


async def test_refresh_tokens_rotate_and_end_with_a_revocation(simulated: Simulated) -> None:
    handle = simulated(kills=(3,))
    first = (await tokens_of(handle, pilot_of(handle).character_id))["refresh_token"]
    status, answer = await token_call(handle, grant_type="refresh_token", refresh_token=first)
    assert status == 200 and answer["refresh_token"] != first
    assert (await token_call(handle, grant_type="refresh_token", refresh_token=first))[1]["error"] == "invalid_grant"
    handle.call(lambda simulator: simulator.sso.revoke_character(pilot_of(handle).character_id))
    status, answer = await token_call(handle, grant_type="refresh_token", refresh_token=answer["refresh_token"])
    assert (status, answer["error"]) == (400, "invalid_grant")


async def test_a_list_needs_a_token_of_that_character_with_the_scope(simulated: Simulated) -> None:
    handle = simulated(kills=(3, 3))
    one, two = handle.simulator.universe.demo_characters[:2]
    path = f"/characters/{one.character_id}/killmails/recent"
    assert (await get(handle, path))[0] == 401
    assert (await get(handle, path, "not-a-jwt"))[0] == 401
    assert (await get(handle, path, await token_of(handle, two.character_id)))[0] == 403
    corporation_only = (await tokens_of(handle, one.character_id, CORPORATION_SCOPE))["access_token"]
    assert (await get(handle, path, corporation_only))[0] == 403
    token = await token_of(handle, one.character_id)
    assert (await get(handle, path, token))[0] == 200
    forged = jwt.encode(jwt.decode(token, options={"verify_signature": False}), "x" * 32, algorithm="HS256")
    assert (await get(handle, path, forged))[0] == 401


async def test_only_directors_see_a_corporations_list(simulated: Simulated) -> None:
    handle = simulated(kills=(3, 3, 3))
    director, member = handle.simulator.universe.demo_characters[:2]
    path = f"/corporations/{director.corporation_id}/killmails/recent"
    assert director.corporation_id == member.corporation_id
    assert (await get(handle, path, await token_of(handle, director.character_id, corporation=True)))[0] == 200
    assert (await get(handle, path, await token_of(handle, member.character_id, corporation=True)))[0] == 403


async def test_pages_carry_x_pages_and_end_with_404_or_an_empty_list(simulated: Simulated) -> None:
    for past_end, ending in (("404", 404), ("empty", 200)):
        handle = simulated(kills=(120,), past_end=past_end)
        path = f"/characters/{pilot_of(handle).character_id}/killmails/recent"
        token = await token_of(handle, pilot_of(handle).character_id)
        sizes = []
        for page in (1, 2, 3):
            status, headers, body = await get(handle, f"{path}?page={page}", token)
            assert (status, headers["X-Pages"]) == (200, "3")
            sizes.append(len(body))
        assert sizes == [50, 50, 20]
        status, _, body = await get(handle, f"{path}?page=4", token)
        assert status == ending and (ending == 404 or body == [])


async def test_an_unchanged_page_is_304_by_its_etag_and_costs_half(simulated: Simulated) -> None:
    handle = simulated(kills=(10,))
    path = f"/characters/{pilot_of(handle).character_id}/killmails/recent"
    token = await token_of(handle, pilot_of(handle).character_id)
    status, headers, _ = await get(handle, path, token)
    assert status == 200 and all(name in headers for name in ("ETag", "Expires", "Last-Modified"))
    assert (headers["X-Ratelimit-Group"], headers["X-Ratelimit-Limit"]) == ("char-killmail", "30/15m")
    assert (headers["X-Ratelimit-Used"], headers["X-Ratelimit-Remaining"]) == ("2", "28")
    status, again, _ = await get(handle, path, token, If_None_Match=headers["ETag"])
    assert (status, again["X-Ratelimit-Used"]) == (304, "1")


async def test_a_new_kill_shows_when_the_cache_of_the_page_runs_out(simulated: Simulated) -> None:
    handle = simulated(kills=(10,))
    path = f"/characters/{pilot_of(handle).character_id}/killmails/recent"
    token = await token_of(handle, pilot_of(handle).character_id)
    _, _, before = await get(handle, path, token)
    kill = handle.call(lambda simulator: simulator.new_kill(pilot_of(handle).character_id))
    assert (await get(handle, path, token))[2] == before
    handle.call(lambda simulator: simulator.clock.advance(301))
    after = (await get(handle, path, token))[2]
    assert after[0] == {"killmail_id": kill.killmail_id, "killmail_hash": kill.killmail_hash}


async def test_an_empty_bucket_is_429_until_its_window_has_passed(simulated: Simulated) -> None:
    handle = simulated(kills=(10,))
    path = f"/characters/{pilot_of(handle).character_id}/killmails/recent"
    token = await token_of(handle, pilot_of(handle).character_id)
    statuses = [(await get(handle, path, token))[0] for _ in range(15)]
    assert statuses == [200] * 15
    status, headers, _ = await get(handle, path, token)
    assert status == 429 and 0 < int(headers["Retry-After"]) <= 900
    handle.call(lambda simulator: simulator.clock.advance(901))
    assert (await get(handle, path, token))[0] == 200


async def test_a_wrong_hash_is_422_and_costs_five(simulated: Simulated) -> None:
    handle = simulated(kills=(3,))
    kill = a_kill(handle)
    status, headers, body = await get(handle, f"/killmails/{kill.killmail_id}/{'0' * 40}")
    assert (status, headers["X-Ratelimit-Used"]) == (422, "5") and body["error"]
    status, headers, body = await get(handle, f"/killmails/{kill.killmail_id}/{kill.killmail_hash}")
    assert (status, headers["X-Ratelimit-Used"], headers["X-Ratelimit-Limit"]) == (200, "2", "3600/15m")
    assert body["killmail_id"] == kill.killmail_id


async def test_a_kill_is_on_the_lists_of_its_victim_and_of_who_is_credited_alone(simulated: Simulated) -> None:
    handle = simulated(kills=(80, 40), characters=30)
    universe, now = handle.simulator.universe, handle.simulator.clock.now()
    npc_blows = 0
    for kill in universe.kills.values():
        body = universe.body(kill.killmail_id)
        blow = next(attacker for attacker in body["attackers"] if attacker["final_blow"])
        npc_blows += "character_id" not in blow
        if "character_id" in blow:
            assert blow["character_id"] == kill.credited_id
        credited = {kill.credited_id, kill.victim_id} - {None}
        listing = {pilot for pilot in universe.characters if (kill.killmail_id, kill.killmail_hash)
                   in universe.listed("character", pilot, now)}  # fmt: skip
        assert listing == credited, "an assist is on nobody's list"
        corporations = {universe.characters[pilot].corporation_id for pilot in credited} | {kill.victim_corporation_id}
        assert {number for number in universe.corporations if (kill.killmail_id, kill.killmail_hash)
                in universe.listed("corporation", number, now)} == corporations  # fmt: skip
    assert npc_blows, "an NPC's final blow is credited to the last pilot who did damage"


async def test_a_corporation_list_is_refused_with_the_reason(simulated: Simulated) -> None:
    handle = simulated(kills=(3,))
    universe = handle.simulator.universe
    member = next(pilot for pilot in universe.characters.values() if not pilot.is_director)
    token = await token_of(handle, member.character_id, corporation=True)
    status, _, body = await get(handle, f"/corporations/{member.corporation_id}/killmails/recent", token)
    assert (status, body["error"]) == (403, "Character does not have required role(s)")
    other = next(number for number in universe.corporations if number != member.corporation_id)
    status, _, body = await get(handle, f"/corporations/{other}/killmails/recent", token)
    assert (status, body["error"]) == (403, "Character is not in the corporation")


async def test_affiliations_come_in_bulk(simulated: Simulated) -> None:
    handle = simulated(kills=(3,))
    universe = handle.simulator.universe
    pilots = list(universe.characters.values())[:5]
    async with aiohttp.ClientSession(headers=HEADERS) as http:

        async def ask(ids: list[int]) -> tuple[int, Any]:
            async with http.post(f"{handle.url}/characters/affiliation", json=ids) as answer:
                return answer.status, await answer.json()

        status, found = await ask([pilot.character_id for pilot in pilots])
        assert status == 200
        assert [(each["character_id"], each["corporation_id"]) for each in found] == [
            (pilot.character_id, pilot.corporation_id) for pilot in pilots
        ]
        assert [each.get("alliance_id") for each in found] == [
            universe.corporations[pilot.corporation_id][1] for pilot in pilots
        ]
        assert [(await ask(ids))[0] for ids in ([], [1, 1], [12345], list(range(1001)))] == [400] * 4


async def test_one_unknown_id_fails_the_whole_call_for_names(simulated: Simulated) -> None:
    handle = simulated(kills=(3,))
    pilot = pilot_of(handle)
    async with aiohttp.ClientSession(headers=HEADERS) as http:
        for ids, status in (
            ([pilot.character_id, 587, 30000142], 200), ([pilot.character_id, 123456789012], 404), ([], 400),
            ([587, 587], 400), (list(range(1, 1002)), 400),
        ):  # fmt: skip
            async with http.post(f"{handle.url}/universe/names", json=ids) as answer:
                assert answer.status == status, (ids[:3], answer.status)
                if status == 200:
                    found = {each["id"]: (each["category"], each["name"]) for each in await answer.json()}
                    assert found[pilot.character_id] == ("character", pilot.name)
                    assert found[587] == ("inventory_type", "Rifter")


async def test_the_error_limit_ends_in_420_on_every_route(simulated: Simulated) -> None:
    handle = simulated(kills=(3,))
    kill = a_kill(handle)
    remaining = []
    for _ in range(100):
        status, headers, _ = await get(handle, "/universe/types/1999999999")
        assert status == 404 and "X-Ratelimit-Group" not in headers
        remaining.append(int(headers["X-Esi-Error-Limit-Remain"]))
    assert remaining == list(range(99, -1, -1))
    assert (await get(handle, "/universe/types/587"))[0] == 420
    assert (await get(handle, f"/killmails/{kill.killmail_id}/{kill.killmail_hash}"))[0] == 420
    handle.call(lambda simulator: simulator.clock.advance(61))
    assert (await get(handle, "/universe/types/587"))[0] == 200


async def test_a_user_agent_and_a_compatibility_date_are_required(simulated: Simulated) -> None:
    handle = simulated(kills=(3,))
    assert (await get(handle, "/status"))[0] == 200
    assert (await get(handle, "/status", **{"User-Agent": ""}))[0] == 400
    assert (await get(handle, "/status", **{"User-Agent": "python"}))[0] == 400
    assert (await get(handle, "/status", **{"X-Compatibility-Date": ""}))[0] == 400
    assert (await get(handle, "/status", **{"X-Compatibility-Date": "yesterday"}))[0] == 400


async def test_the_universe_has_every_oddity_of_real_killmails(simulated: Simulated) -> None:
    universe = simulated().simulator.universe
    bodies = [universe.body(number) for number in universe.kills]
    victims = [body["victim"] for body in bodies]
    attackers = [attacker for body in bodies for attacker in body["attackers"]]
    items = [item for victim in victims for item in victim.get("items", [])]
    assert len(universe.listed("character", pilot_of_universe(universe), universe.now + 1)) > 300
    for found in (
        [victim for victim in victims if "character_id" not in victim],
        [victim for victim in victims if "position" not in victim],
        [victim for victim in victims if victim["damage_taken"] > 2**32],
        [attacker for attacker in attackers if "character_id" not in attacker],
        [attacker for attacker in attackers if "weapon_type_id" not in attacker],
        [item for item in items if item.get("items")],
        [item for item in items if "quantity_dropped" not in item],
        [body for body in bodies if "war_id" in body],
        [body for body in bodies if len(body["attackers"]) > 10],
    ):
        assert found
    assert SCOPE.startswith("esi-killmails.")


def pilot_of_universe(universe: Any) -> int:
    number: int = universe.demo_characters[0].character_id
    return number
