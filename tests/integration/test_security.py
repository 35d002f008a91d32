"""Only you: forged tokens, stolen states, other people's data, other sites' pages, too many requests."""

from __future__ import annotations

import asyncio
import base64
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

import aiohttp
import jwt
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from killsync.sso.errors import BadToken
from killsync.sync import runs
from models import User, connection
from models.sql import rows, run
from simulator import Handle
from simulator.faults import Fault
from tests.support.deployment import CLIENT
from tests.support.esi_application import SCOPE
from tests.support.player import Player
from tests.support.process import change_settings
from tests.support.web_server import served

ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


class Place:
    """A web server against a simulator."""

    def __init__(self, url: str, handle: Handle) -> None:
        self.url, self.handle = url, handle
        self.pilots = [pilot.character_id for pilot in handle.simulator.universe.characters.values()]

    def player(self) -> Player:
        return Player(self.url)


@pytest_asyncio.fixture
async def place(against: Callable[..., Any], simulated: Callable[..., Handle]) -> AsyncIterator[Place]:
    handle = simulated(kills=(5, 5, 5))
    async with served(against(handle)) as url:
        yield Place(url, handle)


def stored(character_id: int) -> Any:
    with connection():
        return User.get_or_none(User.character_id == character_id)


# The access token.


@ON_SQLITE
async def test_only_a_token_that_the_sso_signed_for_us_is_believed(against: Any, simulated: Any) -> None:
    from killsync.sso.jwt import verify

    handle = simulated(kills=(3,))
    settings, sso = against(handle), handle.simulator.sso
    pilot = handle.simulator.universe.demo_characters[0].character_id
    make = lambda **claims: sso.access_token(pilot, CLIENT[0], (SCOPE,), **claims)  # noqa: E731
    good = make()
    assert (await verify(settings, good)).character_id == pilot
    claims = jwt.decode(good, options={"verify_signature": False})
    kid = jwt.get_unverified_header(good)["kid"]
    public = sso.keys[0].private.public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    header, payload, signature = good.split(".")
    other = base64.urlsafe_b64encode(payload.encode()).rstrip(b"=").decode()
    none = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').rstrip(b"=").decode()
    now = int(time.time())
    import hashlib
    import hmac

    symmetric = f'{{"alg":"HS256","kid":"{kid}"}}'.encode()
    signed = f"{base64.urlsafe_b64encode(symmetric).rstrip(b'=').decode()}.{payload}"
    mac = base64.urlsafe_b64encode(hmac.new(pem, signed.encode(), hashlib.sha256).digest()).rstrip(b"=").decode()
    bad = {
        "forged": jwt.encode(claims, stranger, algorithm="RS256", headers={"kid": kid}),
        "unknown key": jwt.encode(claims, stranger, algorithm="RS256", headers={"kid": "nobody"}),
        "expired": make(exp=now - 120),
        "no algorithm": f"{none}.{payload}.",
        "symmetric with the public key": f"{signed}.{mac}",
        "changed": f"{header}.{other}.{signature}",
        "other application": make(aud=["somebody", "EVE Online"]),
        "not for EVE Online": make(aud=[CLIENT[0]]),
        "other issuer": make(iss="https://evil.example"),
        "no character": make(sub="CORPORATION:EVE:98000001"),
        "no expiry": make(exp=None),
        "nonsense": "nonsense",
        "huge": "x" * 100_000,
    }
    for name, token in bad.items():
        with pytest.raises(BadToken) as refused:
            await verify(settings, token)
        assert token not in str(refused.value), name
    for issuer in ("https://login.eveonline.com", "https://login.eveonline.com/", "login.eveonline.com"):
        assert (await verify(settings, make(iss=issuer))).character_id == pilot
    assert (await verify(settings, make(exp=now - 5))).character_id == pilot, "clocks may differ a little"
    assert (await verify(settings, make(scp=[SCOPE, "other"]))).scopes == (SCOPE, "other")
    sso.rotate_keys()
    await asyncio.sleep(1.1)
    assert (await verify(settings, make())).character_id == pilot, "a new key is looked up"


# The login.


async def begin(player: Player, character_id: int, **change: str) -> str:
    """Begin a login and approve it at the SSO, with changed parameters; the callback's address."""
    begun = await player.browser.get(f"{player.url}/auth/login", allow_redirects=False)
    parts = urlsplit(begun.headers["Location"])
    query = {name: values[0] for name, values in parse_qs(parts.query).items()} | change
    address = urlunsplit(parts._replace(query=urlencode({**query, "auto_character": str(character_id)})))
    approved = await player.browser.get(address, allow_redirects=False)
    return str(approved.headers["Location"])


async def test_a_login_stores_ciphertext_and_sets_a_strict_cookie(place: Place) -> None:
    async with place.player() as player:
        done = await player.log_in(place.pilots[0])
        assert (done.status, done.headers["Location"]) == (302, "/")
        cookie = done.cookies["killsync_session"]
        assert cookie["httponly"] and cookie["samesite"] == "Lax" and not cookie["secure"]
    user = stored(place.pilots[0])
    assert (user.status, user.scopes) == ("active", SCOPE)
    issued = place.handle.call(lambda simulator: list(simulator.sso.issued))
    assert user.access_token not in issued and user.refresh_token not in issued
    assert user.access_token.startswith("gAAAA") and user.refresh_token.startswith("gAAAA")


async def test_a_state_works_once_in_the_browser_that_began(place: Place) -> None:
    async with place.player() as player, place.player() as thief:
        callback = await begin(player, place.pilots[0])
        assert (await thief.browser.get(callback, allow_redirects=False)).status == 400, "another browser"
        await begin(thief, place.pilots[1])
        assert (await thief.browser.get(callback, allow_redirects=False)).status == 400, "another browser's own login"
        assert (await player.browser.get(callback, allow_redirects=False)).status == 302
        again = await player.browser.get(callback, allow_redirects=False)
        assert again.status == 400 and "has been used" in await again.text()
        forged = callback.replace("state=", "state=x")
        assert (await player.browser.get(forged, allow_redirects=False)).status == 400
        assert (await player.browser.get(f"{place.url}/auth/callback", allow_redirects=False)).status == 400
    assert stored(place.pilots[1]) is None


async def test_a_login_that_took_too_long_is_refused(place: Place) -> None:
    async with place.player() as player:
        callback = await begin(player, place.pilots[0])
        with connection():
            run("UPDATE login_attempt SET expires_at = '2020-01-01 00:00:00.000000+00:00'")
        assert (await player.browser.get(callback, allow_redirects=False)).status == 400


@ON_SQLITE
async def test_a_login_without_the_killmail_scope_says_what_is_missing(place: Place) -> None:
    async with place.player() as player:
        callback = await begin(player, place.pilots[0], scope="esi-killmails.read_corporation_killmails.v1")
        answer = await player.browser.get(callback, allow_redirects=False)
        text = await answer.text()
    assert answer.status == 403 and SCOPE in text and "/auth/login" in text
    assert stored(place.pilots[0]) is None


@ON_SQLITE
async def test_a_refused_login_and_a_reused_code_end_in_a_page(place: Place) -> None:
    async with place.player() as player:
        callback = await begin(player, place.pilots[0])
        state = parse_qs(urlsplit(callback).query)["state"][0]
        denied = f"{place.url}/auth/callback?error=access_denied&state={state}"
        answer = await player.browser.get(denied, allow_redirects=False)
        assert answer.status == 403 and "Nothing was stored" in await answer.text()
        used = await begin(player, place.pilots[0])
        code = parse_qs(urlsplit(used).query)["code"][0]
        assert (await player.browser.get(used, allow_redirects=False)).status == 302
        second = await begin(player, place.pilots[0])
        replayed = second.replace(parse_qs(urlsplit(second).query)["code"][0], code)
        assert (await player.browser.get(replayed, allow_redirects=False)).status == 400


@ON_SQLITE
@pytest.mark.parametrize(
    "target", ["https://evil.example", "//evil.example", "/\\evil.example", "/a\r\nX: y", "javascript:alert(1)"]
)
async def test_a_login_leads_nowhere_but_here(place: Place, target: str) -> None:
    async with place.player() as player:
        done = await player.log_in(place.pilots[0], next=target)
        assert (done.status, done.headers["Location"]) == (302, "/")
        done = await player.log_in(place.pilots[0], next="/ops?x=1")
        assert done.headers["Location"] == "/ops?x=1"


@ON_SQLITE
@pytest.mark.parametrize(
    ("fault", "status"),
    [({"kind": "status", "status": 500}, 503), ({"kind": "html", "status": 502}, 503), ({"kind": "html", "status": 200}, 503),
     ({"kind": "reset", "count": 3}, 503), ({"kind": "not json"}, 503)],
    ids=str,
)  # fmt: skip
async def test_an_sso_that_fails_ends_in_a_page_and_stores_nothing(
    place: Place, fault: dict[str, Any], status: int
) -> None:
    async with place.player() as player:
        callback = await begin(player, place.pilots[0])
        place.handle.call(lambda simulator: simulator.faults.append(Fault("/v2/oauth/token", **fault)))
        answer = await player.browser.get(callback, allow_redirects=False)
        text = await answer.text()
    assert answer.status in (400, status, 502), text
    assert "Traceback" not in text and CLIENT[1] not in text
    assert stored(place.pilots[0]) is None


# Sessions.


@ON_SQLITE
async def test_logging_out_ends_the_session_on_the_server_too(place: Place) -> None:
    async with place.player() as player, place.player() as thief:
        await player.log_in(place.pilots[0])
        stolen = player.cookies()
        assert (await player.data("{ me { characterId } }"))["me"]
        answer = await player.browser.post(f"{place.url}/auth/logout", allow_redirects=False)
        assert answer.status == 303
        assert (await player.data("{ me { characterId } }"))["me"] is None
        async with thief.browser.post(f"{place.url}/graphql", json={"query": "{ me { id } }"}, headers=stolen) as seen:
            assert (await seen.json())["data"]["me"] is None


@ON_SQLITE
async def test_each_login_makes_a_new_session(place: Place) -> None:
    async with place.player() as player:
        await player.log_in(place.pilots[0])
        first = player.cookies()
        await player.log_in(place.pilots[0])
        assert player.cookies() != first
        async with (
            aiohttp.ClientSession() as old,
            old.post(f"{place.url}/graphql", json={"query": "{ me { id } }"}, headers=first) as seen,
        ):
            assert (await seen.json())["data"]["me"] is None


@ON_SQLITE
@pytest.mark.parametrize("value", ["", "nonsense", "gAAAAA" + "A" * 200, "x" * 6000, "ÿ"], ids=range(5))
async def test_a_cookie_that_is_not_ours_is_nobody(place: Place, value: str) -> None:
    async with aiohttp.ClientSession() as http:
        headers = {"Cookie": f"killsync_session={value}"}
        async with http.post(f"{place.url}/graphql", json={"query": "{ me { id } }"}, headers=headers) as answer:
            assert answer.status in (200, 400)
            if answer.status == 200:
                assert (await answer.json())["data"]["me"] is None


async def test_the_session_of_a_deleted_account_is_nobody(place: Place) -> None:
    async with place.player() as player:
        await player.log_in(place.pilots[0])
        refused = await player.browser.post(f"{place.url}/auth/delete-account", allow_redirects=False)
        assert refused.status == 400
        held = player.cookies()
        done = await player.browser.post(
            f"{place.url}/auth/delete-account", data={"confirm": "delete"}, allow_redirects=False
        )
        assert done.status == 303
        async with player.browser.post(f"{place.url}/graphql", json={"query": "{ me { id } }"}, headers=held) as answer:
            assert (await answer.json())["data"]["me"] is None
    with connection():
        for table in ('"user"', "account", "web_session", "sync_run", "user_killmail", "mail_list"):
            assert rows(f"SELECT count(*) FROM {table}")[0][0] == 0, table
    assert place.handle.call(lambda simulator: not simulator.sso.refresh_tokens), "revoked at the SSO"


@ON_SQLITE
async def test_behind_https_the_cookie_is_secure(against: Any, simulated: Any) -> None:
    handle = simulated(kills=(3,))
    settings = against(handle, TRUSTED_PROXIES="127.0.0.1")
    async with served(settings) as url, aiohttp.ClientSession() as http:
        forwarded = {"X-Forwarded-Proto": "https"}
        async with http.get(f"{url}/auth/login", headers=forwarded, allow_redirects=False) as answer:
            assert answer.cookies["__Host-killsync_login"]["secure"]
            assert "max-age" in answer.headers["Strict-Transport-Security"]


# Other sites, headers, limits.


@ON_SQLITE
async def test_other_sites_pages_change_nothing(place: Place) -> None:
    mutation = {"query": "mutation { disconnect }"}
    async with place.player() as player:
        await player.log_in(place.pilots[0])
        for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "null"}):
            async with player.browser.post(f"{place.url}/graphql", json=mutation, headers=headers) as answer:
                assert answer.status == 403, headers
            async with player.browser.post(
                f"{place.url}/auth/logout", headers=headers, allow_redirects=False
            ) as answer:
                assert answer.status == 403
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
            async with player.browser.post(
                f"{place.url}/graphql", data=b'{"query": "mutation { disconnect }"}', headers={"Content-Type": kind}
            ) as answer:
                assert answer.status == 415
        async with player.browser.options(f"{place.url}/graphql", headers={"Origin": "https://evil.example"}) as answer:
            assert "Access-Control-Allow-Origin" not in answer.headers
        assert (await player.data("{ me { status } }"))["me"]["status"] == "ACTIVE"
        async with player.browser.post(f"{place.url}/graphql", json=mutation, headers={"Origin": place.url}) as answer:
            assert (await answer.json())["data"] == {"disconnect": True}


@ON_SQLITE
@pytest.mark.parametrize(
    "path", ["/", "/graphql", "/ops", "/healthz", "/nothing", "/auth/callback", "/static/killsync.css"]
)
async def test_every_answer_has_the_security_headers(place: Place, path: str) -> None:
    async with aiohttp.ClientSession() as http, http.get(place.url + path, headers={"Accept": "text/html"}) as answer:
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"]
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
        assert (
            "unsafe-eval" not in policy and "script-src 'self'" in policy and "script-src 'self' 'unsafe" not in policy
        )


@ON_SQLITE
async def test_too_many_logins_and_mutations_are_told_when_to_come_back(place: Place, monkeypatch: Any) -> None:
    from killsync.web import rates

    monkeypatch.setitem(rates.RATES, "login", rates.Rate(5, 5))
    monkeypatch.setitem(rates.RATES, "mutation", rates.Rate(3, 3))
    async with place.player() as player:
        await player.log_in(place.pilots[0])
        statuses = []
        for _ in range(8):
            async with player.browser.get(f"{place.url}/auth/login", allow_redirects=False) as answer:
                statuses.append(answer.status)
        assert statuses.count(429) >= 3 and int(answer.headers["Retry-After"]) > 0
        codes = [
            (await player.graphql("mutation { disconnect }")).get("errors", [{}])[0].get("extensions", {})
            for _ in range(5)
        ]
        assert codes[-1]["code"] == "RATE_LIMITED" and codes[-1]["retryAfter"] > 0


@ON_SQLITE
async def test_forwarded_addresses_count_only_from_trusted_proxies(
    against: Any, simulated: Any, monkeypatch: Any
) -> None:
    from killsync.web import rates

    monkeypatch.setitem(rates.RATES, "login", rates.Rate(2, 1))
    handle = simulated(kills=(3,))
    for proxies, expected in (("", [302, 302, 429, 429]), ("127.0.0.1", [302, 302, 302, 302])):
        async with served(against(handle, TRUSTED_PROXIES=proxies)) as url, aiohttp.ClientSession() as http:
            statuses = []
            for number in range(4):
                headers = {"X-Forwarded-For": f"198.51.100.{number}"}
                async with http.get(f"{url}/auth/login", headers=headers, allow_redirects=False) as answer:
                    statuses.append(answer.status)
            assert statuses == expected, proxies


# Who sees what.


async def test_nobody_sees_or_touches_anothers_data(place: Place) -> None:
    from killsync.sync.characters import request_sync

    async with place.player() as one, place.player() as two, place.player() as visitor:
        await one.log_in(place.pilots[0])
        await two.log_in(place.pilots[1])
        with connection():
            run_id = request_sync(stored(place.pilots[0]).id, "test")
        mine = (await one.data("{ syncRuns { edges { node { id characterId } } } }"))["syncRuns"]["edges"]
        assert str(run_id) in {edge["node"]["id"] for edge in mine}
        theirs = (await two.data("{ syncRuns { edges { node { characterId } } } }"))["syncRuns"]["edges"]
        assert {edge["node"]["characterId"] for edge in theirs} <= {str(place.pilots[1])}
        for operation in (
            "mutation ($who: ID) { disconnect(characterId: $who) }",
            "mutation ($who: ID) { syncMyKillmails(characterId: $who) { id } }",
            "query ($who: ID) { syncRuns(characterId: $who) { edges { cursor } } }",
        ):
            answer = await two.graphql(operation, who=str(place.pilots[0]))
            assert answer["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"
            answer = await visitor.graphql(operation, who=str(place.pilots[0]))
            assert answer["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
        assert (await visitor.data("{ me { id } myCharacters { id } }")) == {"me": None, "myCharacters": []}
        assert stored(place.pilots[0]).status == "active"
        assert (await visitor.browser.get(f"{place.url}/ops")).status == 403
        assert (await one.browser.get(f"{place.url}/ops")).status == 403


async def test_an_admin_sees_the_dashboard(against: Any, simulated: Any) -> None:
    handle = simulated(kills=(3, 3))
    pilot = handle.simulator.universe.demo_characters[0].character_id
    async with served(against(handle, ADMIN_CHARACTER_IDS=str(pilot))) as url, Player(url) as player:
        await player.log_in(pilot)
        answer = await player.browser.get(f"{url}/ops")
        text = await answer.text()
    assert answer.status == 200 and "esi_user_killmails_queue" in text


async def test_progress_is_told_to_its_owner_alone(place: Place) -> None:
    from killsync.sync import runs

    async def listening(player: Player) -> Any:
        socket = await player.browser.ws_connect(f"{place.url}/graphql", protocols=("graphql-transport-ws",))
        await socket.send_json({"type": "connection_init"})
        await socket.receive_json(timeout=5)
        query = "subscription { syncProgress { id characterId status } }"
        await socket.send_json({"id": "1", "type": "subscribe", "payload": {"query": query}})
        return socket

    async with place.player() as one, place.player() as two:
        await one.log_in(place.pilots[0])
        await two.log_in(place.pilots[1])
        hers, his = await listening(one), await listening(two)
        await asyncio.sleep(0.5)
        with connection():
            run_id = runs.open_run(stored(place.pilots[0]).id)
            runs.set_status(run_id, stored(place.pilots[0]).id, "running")
        heard = await hers.receive_json(timeout=5)
        assert heard["payload"]["data"]["syncProgress"]["characterId"] == str(place.pilots[0])
        with pytest.raises(asyncio.TimeoutError):
            while True:
                seen = (await his.receive_json(timeout=0.7))["payload"]["data"]["syncProgress"]
                assert seen["characterId"] == str(place.pilots[1]), "his own, perhaps, but nobody else's"


async def test_a_second_character_joins_the_account_and_can_leave_it(place: Place) -> None:
    async with place.player() as player:
        await player.log_in(place.pilots[0])
        assert (await player.add(place.pilots[1])).headers["Location"] == "/me"
        found = await player.data("{ me { characterId } myCharacters { characterId status } }")
        assert found["me"]["characterId"] == str(place.pilots[1])
        assert [each["characterId"] for each in found["myCharacters"]] == [str(place.pilots[1]), str(place.pilots[0])]
        tokens = place.handle.call(lambda simulator: len(simulator.sso.refresh_tokens))
        query = "mutation ($who: ID) { disconnect(characterId: $who) }"
        assert (await player.data(query, who=str(place.pilots[0]))) == {"disconnect": True}
        assert place.handle.call(lambda simulator: len(simulator.sso.refresh_tokens)) == tokens - 1
        assert (await player.data(query, who=str(place.pilots[0]))) == {"disconnect": False}
        answer = await player.graphql(
            "mutation ($who: ID) { syncMyKillmails(characterId: $who) { id } }", who=str(place.pilots[0])
        )
        assert answer["errors"][0]["extensions"]["code"] == "NEEDS_LOGIN"
        left = stored(place.pilots[0])
        assert (left.status, left.access_token, left.refresh_token) == ("disabled", None, None)
        await player.log_in(place.pilots[0])
        assert stored(place.pilots[0]).status == "active"


# Refreshing.


async def logged_in(place: Place, position: int = 0) -> int:
    """The user id of a pilot that logged in, whose access token is about to run out."""
    async with place.player() as player:
        await player.log_in(place.pilots[position])
    with connection():
        run("UPDATE \"user\" SET expires_at = '2020-01-01 00:00:00.000000+00:00'")
    return int(stored(place.pilots[position]).id)


async def in_thread(work: Callable[[], Any]) -> Any:
    return await asyncio.get_running_loop().run_in_executor(None, work)


async def test_many_workers_refresh_one_users_token_once(place: Place) -> None:
    from killsync.sso.errors import SsoAway
    from killsync.sso.refresh import access_token

    user_id = await logged_in(place)
    place.handle.call(lambda simulator: simulator.faults.append(Fault("/v2/oauth/token", "latency", seconds=0.5)))
    got: list[str] = []

    def ask() -> None:
        while True:
            try:
                got.append(access_token(user_id))
                return
            except SsoAway as error:
                time.sleep(min(0.2, error.retry_after))

    def all_at_once() -> None:
        threads = [threading.Thread(target=ask) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    before = place.handle.call(lambda simulator: simulator.sso.refreshes)
    await in_thread(all_at_once)
    assert len(got) == 16 and len(set(got)) == 1
    assert place.handle.call(lambda simulator: simulator.sso.refreshes) == before + 1


async def overtaken(place: Place, user_id: int) -> tuple[Any, Any]:
    """What a refresh gives during which the pilot logs in, with more scopes; and the row as the login left it."""
    from killsync.sso.refresh import access_token

    def hold(simulator: Any) -> int:
        simulator.faults.append(Fault("/v2/oauth/token", "latency", seconds=3.0, count=1))
        return int(simulator.sso.refreshes)

    before = place.handle.call(hold)
    refreshing = asyncio.ensure_future(in_thread(lambda: access_token(user_id)))
    while place.handle.call(lambda simulator: simulator.sso.refreshes) == before:
        await asyncio.sleep(0.02)
    await asyncio.sleep(0.2)  # the SSO has made up its answer, which is under way
    async with place.player() as player:
        assert (await player.log_in(place.pilots[0], scopes="corporation")).status == 302
    assert not refreshing.done()
    login = stored(place.pilots[0])
    return await refreshing, login


@pytest.mark.parametrize("answer", ["new tokens", "invalid_grant"])
async def test_a_login_during_a_refresh_stands(place: Place, answer: str) -> None:
    from killsync import settings as settings_module
    from killsync.sso.vault import Vault

    user_id = await logged_in(place)
    if answer == "invalid_grant":
        place.handle.call(lambda simulator: simulator.sso.refresh_tokens.clear())
    token, login = await overtaken(place, user_id)
    now = stored(place.pilots[0])
    assert now.status == "active" and "corporation" in now.scopes
    assert (now.refresh_token, now.access_token, now.scopes, now.expires_at) == (
        login.refresh_token, login.access_token, login.scopes, login.expires_at,
    )  # fmt: skip
    assert token == Vault(settings_module.current().secret_keys).decrypt(now.access_token), "the sync goes on with it"


async def test_disconnecting_during_a_refresh_stands(place: Place) -> None:
    from killsync.accounts import accounts
    from killsync.sso.errors import Disabled
    from killsync.sso.refresh import access_token

    user_id = await logged_in(place)
    place.handle.call(
        lambda simulator: simulator.faults.append(Fault("/v2/oauth/token", "latency", seconds=1.5, count=1))
    )
    refreshing = asyncio.ensure_future(in_thread(lambda: access_token(user_id)))
    await asyncio.sleep(0.7)

    def disconnect() -> None:
        with connection():
            accounts.disconnect(user_id)

    await in_thread(disconnect)
    with pytest.raises(Disabled):
        await refreshing
    now = stored(place.pilots[0])
    assert (now.status, now.access_token, now.refresh_token) == ("disabled", None, None)


@ON_SQLITE
async def test_keys_that_are_rotated_during_a_refresh_cost_no_token(place: Place) -> None:
    from killsync import settings as settings_module
    from killsync.accounts import accounts
    from killsync.sso.refresh import access_token
    from killsync.sso.vault import Vault

    user_id = await logged_in(place)
    vault = Vault(settings_module.current().secret_keys)
    place.handle.call(
        lambda simulator: simulator.faults.append(Fault("/v2/oauth/token", "latency", seconds=1.5, count=1))
    )
    refreshing = asyncio.ensure_future(in_thread(lambda: access_token(user_id)))
    await asyncio.sleep(0.7)

    def rotate() -> None:
        with connection():
            accounts.rotate_keys(vault.rotate)

    await in_thread(rotate)
    token = await refreshing
    now = stored(place.pilots[0])
    assert vault.decrypt(now.access_token) == token
    known = place.handle.call(lambda simulator: set(simulator.sso.refresh_tokens))
    assert vault.decrypt(now.refresh_token) in known, "the token that took the old one's place was stored"


async def test_a_login_that_began_before_the_account_was_deleted_makes_a_new_account(place: Place) -> None:
    async with place.player() as player:
        await player.log_in(place.pilots[0])
        begun = await player.browser.get(f"{place.url}/auth/login", allow_redirects=False)
        chosen = f"{begun.headers['Location']}&auto_character={place.pilots[1]}"
        approved = await player.browser.get(chosen, allow_redirects=False)
        old = stored(place.pilots[0]).account_id
        done = await player.browser.post(
            f"{place.url}/auth/delete-account", data={"confirm": "delete"}, allow_redirects=False
        )
        assert done.status == 303
        finished = await player.browser.get(approved.headers["Location"], allow_redirects=False)
        assert finished.status == 302, await finished.text()
        found = await player.data("{ me { characterId status } myCharacters { characterId } }")
        assert found["me"] == {"characterId": str(place.pilots[1]), "status": "ACTIVE"}
        assert len(found["myCharacters"]) == 1
    assert stored(place.pilots[0]) is None and stored(place.pilots[1]).account_id != old


async def test_a_revoked_refresh_token_needs_a_login_and_nothing_more_is_asked(place: Place) -> None:
    from killsync.sso.errors import NeedsLogin
    from killsync.sso.refresh import access_token

    user_id = await logged_in(place)
    place.handle.call(lambda simulator: simulator.sso.revoke_character(place.pilots[0]))
    with connection():
        run('UPDATE "user" SET refusals = 4')  # it was refused four times before, hours apart
    with pytest.raises(NeedsLogin):
        await in_thread(lambda: access_token(user_id))
    user = stored(place.pilots[0])
    assert (user.status, user.access_token, user.refresh_token, user.next_sync_at) == ("needs_login", None, None, None)
    asked = place.handle.call(lambda simulator: simulator.sso.refreshes)
    with pytest.raises(NeedsLogin):
        await in_thread(lambda: access_token(user_id))
    assert place.handle.call(lambda simulator: simulator.sso.refreshes) == asked
    async with place.player() as player:
        await player.log_in(place.pilots[0])
        assert (await player.data("{ me { status } }"))["me"]["status"] == "ACTIVE"


@pytest.mark.parametrize(
    "fault",
    [{"kind": "status", "status": 500}, {"kind": "html", "status": 502}, {"kind": "cut"}, {"kind": "reset"}],
    ids=str,
)
@ON_SQLITE
async def test_an_sso_that_is_down_costs_no_token(place: Place, fault: dict[str, Any]) -> None:
    from killsync.sso.errors import SsoAway
    from killsync.sso.refresh import access_token

    user_id = await logged_in(place)
    before = stored(place.pilots[0]).refresh_token
    if fault["kind"] != "cut":  # a cut answer may have rotated the token: the SSO's word is lost, as in life
        place.handle.call(lambda simulator: simulator.faults.append(Fault("/v2/oauth/token", **fault)))
        with pytest.raises(SsoAway):
            await in_thread(lambda: access_token(user_id))
        assert stored(place.pilots[0]).refresh_token == before
        assert stored(place.pilots[0]).status == "active"
        place.handle.call(lambda simulator: simulator.faults.clear())
    assert await in_thread(lambda: access_token(user_id))
    assert stored(place.pilots[0]).refresh_token != before, "rotated and stored"


@ON_SQLITE
async def test_a_rotated_token_is_kept_though_the_new_access_token_cannot_be_verified_now(place: Place) -> None:
    from killsync.sso.errors import SsoAway
    from killsync.sso.refresh import access_token

    user_id = await logged_in(place)

    def rotate(simulator: Any) -> None:
        simulator.sso.rotate_keys()
        simulator.faults.append(Fault("/oauth/jwks", "status", status=503))

    place.handle.call(rotate)
    await asyncio.sleep(1.1)  # the keys are looked for again at most once a second
    with pytest.raises(SsoAway):
        await in_thread(lambda: access_token(user_id))
    place.handle.call(lambda simulator: simulator.faults.clear())
    assert await in_thread(lambda: access_token(user_id)), "the token that took the old one's place was stored"
    assert stored(place.pilots[0]).status == "active"


async def test_a_sold_character_loses_its_old_owners_tokens(place: Place) -> None:
    from killsync.sso.errors import NeedsLogin
    from killsync.sso.refresh import access_token

    user_id = await logged_in(place)
    place.handle.call(lambda simulator: simulator.sell_character(place.pilots[0]))
    with pytest.raises(NeedsLogin):
        await in_thread(lambda: access_token(user_id))
    assert stored(place.pilots[0]).refresh_token is None
    with connection():
        sellers = runs.open_run(user_id)
        runs.fail(sellers, user_id, "sold")
    async with place.player() as buyer:
        await buyer.log_in(place.pilots[0])
        assert len((await buyer.data("{ myCharacters { characterId } }"))["myCharacters"]) == 1
        seen = (await buyer.data("{ syncRuns { edges { node { id } } } }"))["syncRuns"]["edges"]
        assert [int(edge["node"]["id"]) for edge in seen] != [] and str(sellers) not in str(seen)
    assert stored(place.pilots[0]).status == "active"


@ON_SQLITE
async def test_a_wrong_key_is_a_clear_error_and_no_lost_token(place: Place) -> None:
    from killsync.sso.errors import VaultError
    from killsync.sso.refresh import access_token
    from killsync.sso.vault import generate_key

    user_id = await logged_in(place)
    before = stored(place.pilots[0]).refresh_token
    change_settings(SECRET_KEYS=generate_key())
    with pytest.raises(VaultError, match="SECRET_KEYS"):
        await in_thread(lambda: access_token(user_id))
    assert stored(place.pilots[0]).refresh_token == before
