"""What stands before every page: who a visitor is, limits, origins, cookies, sessions that end, and whatever is typed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from multidict import CIMultiDict

from killsync.web import health, rates
from killsync.web.rates import Limiter, Rate
from killsync.webhooks.fields import FIELDS
from models import connection
from simulator import Handle
from tests.support.player import Player
from tests.support.process import change_settings
from tests.support.web_server import fill, new_universe, served

ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
PUBLIC = "https://kills.example.org"


@pytest_asyncio.fixture
async def site(settings: Any) -> AsyncIterator[str]:
    async with served(settings) as url:
        yield url


@pytest_asyncio.fixture
async def proxied(settings: Any) -> AsyncIterator[str]:
    """A site behind a trusted proxy that speaks https to the world."""
    changed = change_settings(TRUSTED_PROXIES="127.0.0.1", SSO_CALLBACK_URL=f"{PUBLIC}/auth/callback")
    async with served(changed) as url:
        yield url


async def statuses(url: str, headers: list[Any], method: str = "GET") -> list[int]:
    found = []
    async with aiohttp.ClientSession() as http:
        for each in headers:
            async with http.request(method, url, headers=each, allow_redirects=False) as answer:
                found.append(answer.status)
    return found


# Who a visitor is.


@ON_SQLITE
async def test_a_visitor_is_known_by_the_proxys_own_line_of_forwarded_addresses(
    proxied: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(rates.RATES, "page", Rate(3, 1))

    def lines(number: int) -> Any:
        return CIMultiDict([("X-Forwarded-For", f"198.51.100.{number}"), ("X-Forwarded-For", "203.0.113.9")])

    found = await statuses(f"{proxied}/", [lines(number) for number in range(10)])
    assert found == [200] * 3 + [429] * 7


@ON_SQLITE
async def test_a_64_of_ipv6_is_one_visitor_and_a_48_a_few(proxied: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(rates.RATES, "page", Rate(2, 1))
    one = [{"X-Forwarded-For": f"2001:db8:1:1::{number:x}"} for number in range(1, 6)]
    assert await statuses(f"{proxied}/", one) == [200, 200, 429, 429, 429]
    many = [{"X-Forwarded-For": f"2001:db8:2:{number:x}::1"} for number in range(1, 60)]
    found = await statuses(f"{proxied}/", many)
    assert found.count(200) == 32 and found[-1] == 429


def test_no_number_of_addresses_makes_a_counter_forget() -> None:
    limiter = Limiter(most_callers=1_000)
    for _ in range(120):
        assert limiter.wait("page", "192.0.2.1", 0.0) == 0
    assert limiter.wait("page", "192.0.2.1", 0.0) > 0
    for number in range(20_050):
        limiter.wait("page", f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 0.0)
    assert limiter.wait("page", "192.0.2.1", 0.0) > 0, "its counter was forgotten"
    # Newcomers share what is left with their neighbours; those of elsewhere have their own.
    assert limiter.wait("page", "10.255.0.1", 0.0) > 0
    assert limiter.wait("page", "172.16.0.1", 0.0) == 0
    assert limiter.wait("page", "10.255.0.1", 3_600.0) == 0, "who waited may ask again"


# Https.


@ON_SQLITE
async def test_a_public_https_site_stays_one_whatever_a_header_says(proxied: str) -> None:
    async with aiohttp.ClientSession() as http:
        for proto in ("http", "HTTP", "http,https", "ftp", ""):
            async with http.get(f"{proxied}/", headers={"X-Forwarded-Proto": proto}) as answer:
                assert "Strict-Transport-Security" in answer.headers, proto


@ON_SQLITE
@pytest.mark.parametrize(
    ("origin", "status"),
    [(PUBLIC, 303), (f"{PUBLIC}:443", 303), ("http://kills.example.org", 403), ("ftp://kills.example.org", 403),
     ("https://kills.example.org:8443", 403), ("http://[", 403), ("null", 403), ("", 403), ("https://", 403),
     ("https://kills.example.org.evil.example", 403), ("https://evil.example#https://kills.example.org", 403),
     ("kills.example.org", 403), ("https://kills.example.org:99999", 403)],
)  # fmt: skip
async def test_only_the_sites_own_origin_may_change_something(proxied: str, origin: str, status: int) -> None:
    assert await statuses(f"{proxied}/auth/logout", [{"Origin": origin}], "POST") == [status]


@ON_SQLITE
async def test_of_two_origins_both_have_to_be_ours(proxied: str) -> None:
    both = CIMultiDict([("Origin", PUBLIC), ("Origin", "https://evil.example")])
    assert await statuses(f"{proxied}/auth/logout", [both], "POST") == [403]


@ON_SQLITE
async def test_a_cookie_that_a_neighbour_could_have_planted_is_not_read(against: Any, simulated: Any) -> None:
    """Login CSRF: somebody's browser finishes the login that an attacker began, by the attacker's own cookie."""
    handle: Handle = simulated(kills=(3,))
    settings = against(handle, TRUSTED_PROXIES="127.0.0.1")
    pilot = handle.simulator.universe.demo_characters[0].character_id
    https = {"X-Forwarded-Proto": "https"}
    async with served(settings) as url, aiohttp.ClientSession() as attacker, aiohttp.ClientSession() as victim:
        async with attacker.get(f"{url}/auth/login", headers=https, allow_redirects=False) as begun:
            cookie = begun.cookies["__Host-killsync_login"]
            assert cookie["secure"] and cookie["path"] == "/" and not cookie["domain"]
            address = f"{begun.headers['Location']}&auto_character={pilot}"
        async with attacker.get(address, allow_redirects=False) as approved:
            callback = approved.headers["Location"]
        planted = {**https, "Cookie": f"killsync_login={cookie.value}"}
        async with victim.get(callback, headers=planted, allow_redirects=False) as answer:
            assert answer.status == 400
        own = {**https, "Cookie": f"__Host-killsync_login={cookie.value}"}
        async with attacker.get(callback, headers=own, allow_redirects=False) as answer:
            assert answer.status == 302
            assert answer.cookies["__Host-killsync_session"]["secure"]


# Limits.


@ON_SQLITE
@pytest.mark.parametrize(
    ("path", "method", "kind"),
    [("/", "GET", "page"), ("/killmails/7", "GET", "page"), ("/me", "GET", "page"), ("/ops", "GET", "page"),
     ("/auth/logout", "POST", "logout"), ("/static/killsync.css", "GET", "request"), ("/nothing", "GET", "request"),
     ("/graphql", "OPTIONS", "request"), ("/metrics", "GET", "metrics")],
)  # fmt: skip
async def test_every_route_has_a_limit(
    site: str, monkeypatch: pytest.MonkeyPatch, path: str, method: str, kind: str
) -> None:
    monkeypatch.setitem(rates.RATES, kind, Rate(4, 1))
    found = await statuses(site + path, [None] * 8, method)
    assert found[4:] == [429] * 4 and 429 not in found[:4], found


@ON_SQLITE
async def test_health_answers_have_no_limit_and_ask_once_a_second(site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0

    def count() -> None:
        nonlocal asked
        asked += 1
        time.sleep(0.05)

    monkeypatch.setattr(health, "ping", count)
    monkeypatch.setitem(rates.RATES, "request", Rate(4, 1))
    began = time.monotonic()
    async with aiohttp.ClientSession() as http:

        async def ask(path: str) -> int:
            async with http.get(site + path) as answer:
                return answer.status

        found = await asyncio.gather(*(ask("/readyz") for _ in range(300)), *(ask("/healthz") for _ in range(100)))
    assert set(found) == {200}
    assert asked <= 2 + time.monotonic() - began


@ON_SQLITE
async def test_readiness_does_not_wait_behind_those_who_keep_every_thread_busy(site: str) -> None:
    from models.threads import in_db

    busy = [asyncio.ensure_future(in_db(time.sleep, 1.5)) for _ in range(40)]
    loop = asyncio.get_running_loop()
    busy += [asyncio.ensure_future(loop.run_in_executor(None, time.sleep, 1.5)) for _ in range(40)]  # type: ignore[arg-type]
    await asyncio.sleep(0.1)
    began = time.monotonic()
    assert await statuses(f"{site}/readyz", [None]) == [200]
    assert time.monotonic() - began < 1
    for each in busy:
        each.cancel()
    await asyncio.gather(*busy, return_exceptions=True)


@ON_SQLITE
async def test_metrics_are_for_this_host_and_those_who_are_named(settings: Any) -> None:
    behind = {"X-Forwarded-For": "198.51.100.7"}
    async with served(settings) as url:
        assert await statuses(f"{url}/metrics", [None, behind, {"Forwarded": "for=1.2.3.4"}]) == [200, 403, 403]
    changed = change_settings(TRUSTED_PROXIES="127.0.0.1", METRICS_ALLOWED="198.51.100.0/24,2001:db8::/32")
    async with served(changed) as url:
        asked = [behind, {"X-Forwarded-For": "198.51.101.7"}, {"X-Forwarded-For": "2001:db8::1"}, None]
        assert await statuses(f"{url}/metrics", asked) == [200, 403, 200, 200]


# Sessions that end.


@pytest_asyncio.fixture
async def place(against: Callable[..., Any], simulated: Callable[..., Handle]) -> AsyncIterator[tuple[str, Handle]]:
    handle = simulated(kills=(5, 5))
    async with served(against(handle)) as url:
        yield url, handle


async def socket_of(player: Player) -> Any:
    socket = await player.browser.ws_connect(f"{player.url}/graphql", protocols=("graphql-transport-ws",))
    await socket.send_json({"type": "connection_init"})
    await socket.receive_json(timeout=5)
    return socket


@ON_SQLITE
@pytest.mark.parametrize("where", ["here", "in another process"])
async def test_a_socket_may_do_nothing_after_the_logout(place: tuple[str, Handle], where: str) -> None:
    from models.users import User, WebSession

    url, handle = place
    pilot = handle.simulator.universe.demo_characters[0].character_id
    async with Player(url) as player:
        await player.log_in(pilot)
        socket = await socket_of(player)
        await socket.send_json({"id": "1", "type": "subscribe", "payload": {"query": "{ me { id } }"}})
        assert (await socket.receive_json(timeout=5))["payload"]["data"]["me"]
        await socket.receive_json(timeout=5)
        if where == "here":
            await player.browser.post(f"{url}/auth/logout", allow_redirects=False)
            assert (await socket.receive(timeout=2)).type is aiohttp.WSMsgType.CLOSE and socket.close_code == 4403
        else:
            with connection():
                WebSession.delete().execute()
            for query in ("mutation { disconnect }", "{ me { id } }", "{ syncRuns { edges { cursor } } }"):
                await socket.send_json({"id": "2", "type": "subscribe", "payload": {"query": query}})
                answer = await socket.receive_json(timeout=5)
                if query == "{ me { id } }":
                    assert answer["payload"]["data"] == {"me": None}
                    await socket.receive_json(timeout=5)
                else:
                    assert "UNAUTHENTICATED" in str(answer)
                    if answer["type"] == "next":
                        await socket.receive_json(timeout=5)
    with connection():
        assert User.get().status == "active"


# ESI's tokens.


@ON_SQLITE
async def test_bogus_killmails_spend_little_of_what_everybody_lives_on(place: tuple[str, Handle]) -> None:
    url, handle = place
    one, two = (pilot.character_id for pilot in handle.simulator.universe.demo_characters[:2])

    async def spend(player: Player, start: int) -> int:
        taken = 0
        for number in range(start, start + 29):
            link = f"{handle.url}/killmails/{900_000_000 + number}/{number:040x}/"
            answer = await player.graphql(f'mutation {{ submitKillmail(url: "{link}") {{ id }} }}')
            taken += answer["errors"][0]["extensions"]["code"] != "RATE_LIMITED"
        return taken

    async with Player(url) as first, Player(url) as second:
        await first.log_in(one)
        await second.log_in(two)
        assert await spend(first, 0) <= 11
        assert await spend(second, 100) <= 11, "each account has a share of its own"


# Whatever is typed.

ODD_NUMBERS = [
    "-1",
    "0",
    "9" * 18,
    "9" * 19,
    str(2**63 - 1),
    str(2**63),
    "9" * 400,
    "1e9",
    "٣",
    "²",
    "1.0",
    "%00",
    "0x10",
    "１",
]
TEXT = st.one_of(
    st.sampled_from([*ODD_NUMBERS, "\x00", "", " ", "mine", "kills", "1", "ship", "character", "corporation:" + "9" * 19,
                     "MDAwMS0wMS0wMVQwMDowMDowMCsyMzo1OXwx", "OTk5OS0xMi0zMVQyMzo1OTo1OS0yMzo1OXwx", "MjAyNi0wMS0wMVQwMDowMDowMFp8OTk5OTk5OTk5OTk5OTk5OTk5OQ",
                     "\ufeff", "\u2028", "a" * 3_000, "'", "%", "_", "\\", "https://[", "//x", "\r\nX: y"]),
    st.text(max_size=30),
)  # fmt: skip
NAMES = ["q", "for", "after", "side", "mine", "about", "character", "corporation", "alliance", "ship", "system", "ids", "of", "hours",
         "whole", "next", "scopes", "query", "variables", "operationName", "code", "state", "error", "do", "lastEventId", "webhook",
         "constellation", "region", "group", *FIELDS]  # fmt: skip
PATHS = ["/", "/search", "/killmails/rows", "/names", "/ops", "/me", "/me/syncs", "/webhooks", "/graphql", "/auth/login", "/auth/callback",
         "/nothing/{}", "/killmails/{}", "/characters/{}", "/corporations/{}", "/alliances/{}", "/types/{}", "/systems/{}", "/webhooks/{}",
         "/static/{}", "/lib/{}", "/groups/{}", "/constellations/{}", "/regions/{}", "/filter", "/filter?do=show", "/filter/names",
         "/trackers/new", "/trackers/{}", "/ephemeral/{}", "/ephemeral/{}.json", "/api/{}", "/api/kills/characterID/{}/page/{}/",
         "/api/losses/startTime/{}/", "/api/history/{}.json", "/api/stats/characterID/{}/", "/api/stats/{}/1/",
         "/api/solo/year/{}/month/{}/", "/api/kills/pastSeconds/{}/beforeKillID/{}/", "/events?lastEventId={}x"]  # fmt: skip
FORMS = [
    "/auth/logout",
    "/auth/delete-account",
    "/me/sync",
    "/me/disconnect",
    "/webhooks",
    "/webhooks/{}",
    "/webhooks/{}/test",
    "/trackers",
    "/trackers/preview",
    "/trackers/{}",
    "/trackers/{}/duplicate",
    "/me/keys",
    "/me/keys/{}/revoke",
    "/me/split",
    "/auth/choose",
]
HEADERS = st.fixed_dictionaries({}, optional={
    "Origin": st.sampled_from(["http://[", "http://[::1", "null", "http://a:b", "//", "http://a]", "\xff"]),
    "Cookie": st.sampled_from(["killsync_session=\xff", "killsync_session=" + "A" * 900, "=;;", "a=\x01"]),
    "Accept": st.sampled_from(["text/html", "application/json", "x", "text/html;q=x"]),
    "Accept-Language": st.just("\xff"), "X-Forwarded-For": st.sampled_from(["\xff", ",,,", "[::1", "1.2.3.4:80"]),
    "X-Forwarded-Proto": st.sampled_from(["\xff", "https", "javascript"]), "If-Modified-Since": st.just("0001-99-99"),
    "Range": st.sampled_from(["bytes=9-1", "bytes=-", "x"]), "Host": st.sampled_from(["[", "a b", "a;b", "x" * 300, ""]),
})  # fmt: skip
BODIES = st.one_of(
    st.sampled_from([b"", b"\xff\xfe", b"character=%ff", b"character=%00", b"name=%ed%a0%80", b"a" * 5_000, b"character=" + b"9" * 400]),
    st.binary(max_size=60),
    st.dictionaries(st.sampled_from(["name", "kind", "url", "ships", "character", "corporation", "max_age", "min_attackers", "confirm", "side", "do",
                                      "color", "with_color", "ping", "role", "thread", "title", "webhook", "choice", "expires", *FIELDS]),
                    TEXT, max_size=6).map(lambda form: "&".join(f"{name}={quote(value)}" for name, value in form.items()).encode()),
)  # fmt: skip
KINDS = ["application/x-www-form-urlencoded", "application/x-www-form-urlencoded; charset=nonsense",
         "application/x-www-form-urlencoded; charset=utf-16", "application/x-www-form-urlencoded; charset=idna",
         "application/x-www-form-urlencoded; charset=base64", "multipart/form-data", "multipart/form-data; boundary=",
         "multipart/form-data; boundary=x", "multipart/form-data; boundary=" + "x" * 200, "text/plain", "\xff", "application/json"]  # fmt: skip


@pytest.mark.parametrize("is_logged_in", [False, True])
async def test_nothing_that_is_typed_is_an_internal_error(
    place: tuple[str, Handle], monkeypatch: pytest.MonkeyPatch, is_logged_in: bool
) -> None:
    url, handle = place
    fill(new_universe(kills=(4,)))
    for kind in rates.RATES:
        monkeypatch.setitem(rates.RATES, kind, Rate(10**9, 10**9))
    async with Player(url) as player:
        if is_logged_in:
            await player.log_in(handle.simulator.universe.demo_characters[0].character_id)
        cookie = player.cookies()["Cookie"] if is_logged_in else ""
        loop = asyncio.get_running_loop()
        async with aiohttp.ClientSession() as http:

            async def send(method: str, address: str, headers: dict[str, str], body: bytes | None) -> None:
                given = {name: value for name, value in headers.items() if name != "Cookie" or not is_logged_in}
                if cookie:
                    given["Cookie"] = cookie
                try:
                    async with http.request(
                        method,
                        address,
                        headers=given,
                        data=body,
                        allow_redirects=False,
                        timeout=aiohttp.ClientTimeout(20),
                    ) as answer:
                        text = await answer.text(errors="replace")
                except (aiohttp.InvalidURL, ValueError):
                    return  # the client cannot say that
                is_away = answer.status in (502, 503) and "/auth/" in address
                assert answer.status < 500 or is_away, (answer.status, text[:300])
                assert "INTERNAL_ERROR" not in text and "Traceback" not in text

            def run(*case: Any) -> None:
                asyncio.run_coroutine_threadsafe(send(*case), loop).result(30)

            limits = hypothesis_settings(
                max_examples=250,
                deadline=None,
                database=None,
                derandomize=True,
                suppress_health_check=list(HealthCheck),
            )

            @limits
            @given(st.sampled_from(PATHS), TEXT, st.dictionaries(st.sampled_from(NAMES), TEXT, max_size=4), HEADERS)
            def gets(path: str, part: str, query: dict[str, str], headers: dict[str, str]) -> None:
                text = "&".join(f"{name}={quote(value)}" for name, value in query.items())
                whole = path.replace("{}", quote(part, safe="%"))
                run("GET", f"{url}{whole}{'&' if '?' in whole else '?'}{text}", headers, None)

            @limits
            @given(st.sampled_from(FORMS), st.sampled_from(ODD_NUMBERS), BODIES, st.sampled_from(KINDS), HEADERS)
            def posts(path: str, part: str, body: bytes, kind: str, headers: dict[str, str]) -> None:
                # A request of our own page, or it would end at the gate.
                kept = {name: value for name, value in headers.items() if name != "Host"}
                if body[:1] != b"\xff":
                    kept.pop("Origin", None)
                if b"confirm=delete" in body:
                    return
                run("POST", f"{url}{path.format(quote(part, safe='%'))}", {**kept, "Content-Type": kind}, body)

            await loop.run_in_executor(None, gets)
            await loop.run_in_executor(None, posts)
