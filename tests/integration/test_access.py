"""Who may ask for what: every route, field and subscription of an open board and of one for members, asked by everybody."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import graphql as core
import pytest
import pytest_asyncio
from aiohttp import web

from graphql_api.tartiflette.bindings import RESOLVERS, SUBSCRIPTIONS
from killsync.access.decision import Asker, Need, Refusal, decide
from killsync.web import rates
from killsync.web.guard import KEY_IN_ADDRESS, WRONG_KEY, need_of
from killsync.web.rates import Rate
from models import connection
from models.sql import rows, run
from tests.support.board import (
    ADMINS,
    EVERYBODY,
    FORMER_MEMBER,
    KEY,
    MEMBERS,
    NOBODY,
    OWN_KEY,
    STRANGER,
    Boards,
    boards,
)
from tests.support.resources import PROJECT
from tests.support.web_server import fill, new_universe, save_one

ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
SCHEMA = core.build_schema((PROJECT / "graphql_api" / "schema.graphql").read_text())

PEOPLE = {MEMBERS, ADMINS}
READERS = {*PEOPLE, KEY, OWN_KEY}
#: Who gets what needs which word, on an open board and on one for members. docs/access.md has the same table.
MAY: dict[str, dict[Need, set[str]]] = {
    "everyone": {
        Need.OPEN: set(EVERYBODY),
        Need.READ: set(EVERYBODY),
        Need.ACCOUNT: {NOBODY, STRANGER, FORMER_MEMBER, *PEOPLE},
        Need.OWN: {*PEOPLE, OWN_KEY},
        Need.PERSON: PEOPLE,
        Need.ADMIN: {ADMINS},
        Need.METRICS: {ADMINS},
    },
    "members": {
        Need.OPEN: set(EVERYBODY),
        Need.READ: READERS,
        Need.ACCOUNT: {FORMER_MEMBER, *PEOPLE},
        Need.OWN: {*PEOPLE, OWN_KEY},
        Need.PERSON: PEOPLE,
        Need.ADMIN: {ADMINS},
        Need.METRICS: {ADMINS},
    },
}
REFUSALS = {refusal.value for refusal in Refusal}


@pytest_asyncio.fixture
async def place(settings: Any, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Boards]:
    for kind in rates.RATES:
        monkeypatch.setitem(rates.RATES, kind, Rate(1_000_000, 1_000_000))
    fill(new_universe(kills=(12, 6)))
    async with boards() as made:
        yield made


def addresses(app: web.Application) -> Iterator[tuple[str, str, Need | None]]:
    """(method, address of something that is there if it can be, what it needs) of every route."""
    with connection():
        killmail = rows("SELECT killmail_id FROM killmail ORDER BY killmail_id DESC")[0][0]
    for route in app.router.routes():
        assert route.resource is not None
        found = route.resource.get_info()
        words = {"id": killmail, "action": "pause"}
        if "directory" in found:
            path = f"{found['prefix']}/killsync.css"
        elif "path" in found:
            path = found["path"]
        else:
            names = re.findall(r"{(\w+)}", found["formatter"])
            path = found["formatter"].format(**{name: words.get(name, killmail) for name in names})
        methods = ("GET", "POST") if route.method == "*" else (route.method,)
        for method in methods:
            yield method, path, need_of(route)


async def asked(http: aiohttp.ClientSession, method: str, url: str) -> tuple[int, str, Any]:
    """(status, the first of the body, headers); what streams is not waited for."""
    async with http.request(method, url, allow_redirects=False) as answer:
        body = b""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if answer.status >= 400 else 1.0):
                body = await answer.content.read(65_536)
        return answer.status, body.decode(errors="replace"), answer.headers


def is_refused(status: int, body: str) -> bool:
    """Whether it was the guard that answered: a route's own 403 or 404 means that one got that far."""
    return status == 401 or (status == 403 and any(f'"message":"{text}"' in body for text in REFUSALS))


# Nothing says nothing.


@ON_SQLITE
async def test_every_route_says_in_one_word_what_it_needs(place: Boards) -> None:
    silent = [(method, path) for method, path, need in addresses(place.apps["members"]) if need is None]
    assert not silent, "register them as `needs(Need.…, handler)` of killsync.web.guard"


def test_every_field_and_subscription_says_what_it_needs() -> None:
    for root, said in (("Query", RESOLVERS), ("Mutation", RESOLVERS), ("Subscription", SUBSCRIPTIONS)):
        fields = SCHEMA.type_map[root].fields  # type: ignore[attr-defined]
        assert {f"{root}.{name}" for name in fields} == {name for name in said if name.startswith(f"{root}.")}
    for name, (need, _) in {**RESOLVERS, **SUBSCRIPTIONS}.items():
        assert isinstance(need, Need), name
        assert need is Need.PERSON or not name.startswith("Mutation."), f"{name} changes something"


# Routes.


@ON_SQLITE
@pytest.mark.parametrize("readers", ["everyone", "members"])
async def test_every_route_answers_those_who_may_and_nobody_else(place: Boards, readers: str) -> None:
    wrong = []
    with connection():
        names = {name for (name,) in rows("SELECT name FROM solar_system UNION SELECT name FROM corporation") if name}
    for method, path, need in addresses(place.apps[readers]):
        if path == "/auth/logout":
            continue  # it would end the sessions of the rest
        for who in EVERYBODY:
            async with place.http(who) as http:
                status, body, headers = await asked(http, method, place.urls[readers] + path)
            may = who in MAY[readers][need]  # type: ignore[index]
            if method == "HEAD":  # the same without a body, which would tell whose refusal it is
                if status == 401 if may else status not in (401, 403):
                    wrong.append((method, path, who, status))
                continue
            if is_refused(status, body) == may:
                wrong.append((method, path, who, status))
            if not may:
                assert not any(name in body for name in names), (path, who, "a refusal names something")
                assert headers["Cache-Control"] == "no-store" and "Authorization" in headers["Vary"], path
            if readers == "members" and need is not Need.OPEN:
                assert {"no-store", "private"} & set(re.split(r"[, ]+", headers["Cache-Control"])), path
                assert "Cookie" in headers["Vary"] and "noindex" in headers["X-Robots-Tag"], path
    assert not wrong


@ON_SQLITE
async def test_a_stranger_cannot_tell_what_is_there_from_what_is_not(place: Boards) -> None:
    url = place.urls["members"]
    with connection():
        killmail, character = rows(
            "SELECT v.killmail_id, v.character_id FROM victim v WHERE v.character_id IS NOT NULL"
        )[0]
    async with place.http(STRANGER) as http:
        for kind, there, not_there in (
            ("html", f"/killmails/{killmail}", "/killmails/7"),
            ("html", f"/characters/{character}", "/characters/7"),
            ("json", f"/killmails/rows?ids={killmail}", "/killmails/rows?ids=7"),
            ("json", f"/search?q={killmail}", "/search?q=7"),
            ("json", f"/names?of=character:{character}", "/names?of=character:7"),
            ("html", "/ops", "/no/such/page"),
            ("json", "/killmails/not-a-number", "/killmails/7"),
        ):
            headers = {"Accept": "text/html" if kind == "html" else "application/json"}
            found = []
            for path in (there, not_there):
                async with http.get(url + path, headers=headers) as answer:
                    # The way back after a login is the address that was asked for.
                    text = re.sub(r"/auth/login\?next=[^\"]*", "", await answer.text())
                    found.append((answer.status, text, sorted(set(answer.headers) - {"Date"})))
            assert found[0] == found[1] and found[0][0] == 401, there


@ON_SQLITE
async def test_a_browser_gets_the_login_page_and_a_preview_of_a_link_tells_nothing(place: Boards) -> None:
    with connection():
        killmail = rows("SELECT killmail_id FROM killmail")[0][0]
    async with place.http(NOBODY) as http:
        page = await http.get(f"{place.urls['members']}/killmails/{killmail}", headers={"Accept": "text/html"})
        text = await page.text()
        assert page.status == 401 and page.headers["WWW-Authenticate"].startswith("Bearer")
        assert f"/auth/login?next=%2Fkillmails%2F{killmail}" in text
        assert 'property="og:description" content="A board for its members"' in text
        for sentence in (
            "fetches the killmails that EVE lists for your character",
            "keeps them for good",
            "members of this board",
        ):
            assert sentence in text
        opened = await (await http.get(f"{place.urls['everyone']}/", headers={"Accept": "text/html"})).text()
        assert "by everybody" in opened
        for path, status in (("/healthz", 200), ("/static/killsync.css", 200), ("/robots.txt", 200)):
            assert (await http.get(place.urls["members"] + path)).status == status
        assert "Disallow: /\n" in await (await http.get(f"{place.urls['members']}/robots.txt")).text()
        assert "Disallow: /\n" not in await (await http.get(f"{place.urls['everyone']}/robots.txt")).text()


@ON_SQLITE
async def test_a_former_member_gets_a_page_that_says_so_and_may_delete_the_account(place: Boards) -> None:
    for readers, url in place.urls.items():
        async with place.http(FORMER_MEMBER) as http:
            for path in ("/me", "/webhooks", *(["/"] if readers == "members" else [])):
                answer = await http.get(url + path, headers={"Accept": "text/html"})
                text = await answer.text()
                assert answer.status == 403 and "no longer a member" in text, path
                assert "Pilot 2112000103" in text, "it says whom to ask"
    async with place.http(FORMER_MEMBER) as http:
        gone = await http.post(f"{place.urls['members']}/auth/delete-account", data={"confirm": "delete"})
        assert gone.status in (200, 401), "the account is deleted, and the front page asks for a login"
        assert (await http.get(f"{place.urls['members']}/me")).status == 401
    with connection():
        assert [event for (event,) in rows("SELECT event FROM access_log WHERE event = 'account_deleted'")]


# Keys in the wrong place, and keys that are none.


@ON_SQLITE
async def test_a_key_in_an_address_is_refused_and_the_answer_says_so(place: Boards) -> None:
    key = place.headers[KEY]["Authorization"].removeprefix("Bearer ")
    for readers, url in place.urls.items():
        for query in (f"?key={key}", f"?q=x%20{key}", f"?access_token={key}", "?api_key=whatever", "?Access_Token=x"):
            async with place.http(MEMBERS) as http, http.get(f"{url}/search{query}") as answer:
                assert answer.status == 401, (readers, query)
                assert KEY_IN_ADDRESS in await answer.text() and key not in await answer.text()
            async with place.http(MEMBERS) as http:
                page = await http.get(f"{url}/search{query}", headers={"Accept": "text/html"})
                assert page.status == 401 and key not in await page.text()


@ON_SQLITE
@pytest.mark.parametrize("readers", ["everyone", "members"])
async def test_a_key_that_is_none_is_refused_everywhere(place: Boards, readers: str) -> None:
    good = place.headers[KEY]["Authorization"]
    for wrong in (
        "Bearer x",
        "bearer ",
        good[:-1] + ("A" if good[-1] != "A" else "B"),
        "Bearer " + "k" * 7_000,
        "Bearer é",
    ):
        async with (
            aiohttp.ClientSession() as http,
            http.get(f"{place.urls[readers]}/killmails/rows", headers={"Authorization": wrong}) as answer,
        ):
            assert answer.status == 401 and WRONG_KEY in await answer.text(), wrong[:30]
    async with (
        aiohttp.ClientSession() as http,
        http.get(place.urls[readers], headers={"Authorization": "Basic eDp5"}) as answer,
    ):
        assert answer.status == (200 if readers == "everyone" else 401), "a proxy's own login is not ours"


@ON_SQLITE
async def test_wrong_keys_are_limited_and_lock_out_no_program_with_a_right_one(
    place: Boards, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(rates.RATES, "wrong_key", Rate(5, 0.001))
    url = f"{place.urls['members']}/killmails/rows"
    async with place.http(KEY) as program, place.http(NOBODY) as http:
        found = []
        for number in range(40):
            key = f"Bearer killsync_{number:012x}_" + "a" * 43
            async with http.get(url, headers={"Authorization": key}) as answer:
                found.append(answer.status)
        assert found == [401] * 5 + [429] * 35
        assert (await program.get(url)).status == 200
    with connection():
        assert rows("SELECT count(*) FROM access_log WHERE event = 'key_refused'") == [(1,)]


@ON_SQLITE
async def test_a_key_has_a_rate_of_its_own_wherever_it_is_used_from(
    place: Boards, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(rates.RATES, "key", Rate(3, 0.001))
    found = []
    async with place.http(KEY) as http:
        for number in range(5):
            headers = {"X-Forwarded-For": f"198.51.100.{number}"}
            async with http.get(f"{place.urls['everyone']}/killmails/rows", headers=headers) as answer:
                found.append(answer.status)
    assert found == [200] * 3 + [429] * 2


# GraphQL.


def sample(root: str, name: str) -> str:
    """An operation of one field that does no harm."""
    field = SCHEMA.type_map[root].fields[name]  # type: ignore[attr-defined]
    given = {"id": '"7"', "characterId": '"7"', "url": '"x"', "first": "1"}
    arguments = ", ".join(f"{each}: {given[each]}" for each in field.args if each in given)
    word = {"Query": "query", "Mutation": "mutation", "Subscription": "subscription"}[root]
    return f"{word} {{ {name}{f'({arguments})' if arguments else ''} {leaf(field.type)} }}"


def leaf(kind: Any) -> str:
    named = core.get_named_type(kind)
    if not isinstance(named, core.GraphQLObjectType):
        return ""
    fields = {name: core.get_named_type(field.type) for name, field in named.fields.items() if not _required(field)}
    scalar = next((name for name, each in fields.items() if not isinstance(each, core.GraphQLObjectType)), None)
    if scalar is not None:
        return f"{{ {scalar} }}"
    name = next(iter(fields))
    return f"{{ {name} {leaf(named.fields[name].type)} }}"


def _required(field: Any) -> bool:
    return any(isinstance(each.type, core.GraphQLNonNull) for each in field.args.values())


#: What can be asked for by itself; the others are reached through these.
FIELDS = [
    (*name.split("."), need) for name, (need, _) in RESOLVERS.items() if name.split(".")[0] in {"Query", "Mutation"}
]


@ON_SQLITE
@pytest.mark.parametrize("readers", ["everyone", "members"])
async def test_every_field_answers_those_who_may_and_nobody_else(place: Boards, readers: str) -> None:
    wrong = []
    for root, name, need in FIELDS:
        document = sample(root, name)
        for who in EVERYBODY:
            async with (
                place.http(who) as http,
                http.post(f"{place.urls[readers]}/graphql", json={"query": document}) as answer,
            ):
                found = await answer.json()
            codes = [error["extensions"]["code"] for error in found.get("errors", ())]
            may = who in MAY[readers][need] and who in MAY[readers][Need.READ]
            # A key that is refused is refused everywhere.
            if bool({"UNAUTHENTICATED", "FORBIDDEN"} & set(codes)) == may:
                wrong.append((document, who, found))
    assert not wrong


@ON_SQLITE
async def test_a_key_reads_its_owners_things_only_if_it_may(place: Boards) -> None:
    document = "{ me { characterId } myCharacters { id } killmails(filter: {mine: true}) { edges { cursor } } }"
    found = {}
    for who in (KEY, OWN_KEY, MEMBERS):
        async with (
            place.http(who) as http,
            http.post(f"{place.urls['members']}/graphql", json={"query": document}) as answer,
        ):
            found[who] = await answer.json()
    assert found[OWN_KEY] == found[MEMBERS] and found[MEMBERS]["data"]["me"]["characterId"] == "2112000101"
    [error] = found[KEY]["errors"]
    assert error["extensions"]["code"] == "FORBIDDEN" and error["path"] == ["killmails"]


@ON_SQLITE
@pytest.mark.parametrize("readers", ["everyone", "members"])
@pytest.mark.parametrize("key_comes", ["in the handshake", "in connection_init", "in its headers"])
async def test_every_subscription_answers_those_who_may_and_nobody_else(
    place: Boards, readers: str, key_comes: str
) -> None:
    for who in EVERYBODY:
        headers = dict(place.headers[who])
        payload: dict[str, Any] = {}
        if key_comes != "in the handshake" and "Authorization" in headers:
            key = {"authorization": headers.pop("Authorization")}
            payload = key if key_comes == "in connection_init" else {"headers": key}
        async with aiohttp.ClientSession(headers=headers) as http:
            address = f"{place.urls[readers]}/graphql"
            async with http.ws_connect(address, protocols=["graphql-transport-ws"]) as socket:
                await socket.send_json({"type": "connection_init", "payload": payload})
                first = await socket.receive()
                if who not in MAY[readers][Need.READ]:
                    assert first.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED), (who, first)
                    assert socket.close_code == 4403, who
                    continue
                assert first.json()["type"] == "connection_ack"
                denied = set()
                for name, (need, _) in SUBSCRIPTIONS.items():
                    number = name.removeprefix("Subscription.")
                    await socket.send_json(
                        {"id": number, "type": "subscribe", "payload": {"query": sample("Subscription", number)}}
                    )
                    if who not in MAY[readers][need]:
                        denied.add(number)
                refused = set()
                with contextlib.suppress(TimeoutError):
                    while True:
                        waiting = 10.0 if refused != denied else 0.3
                        message = await asyncio.wait_for(socket.receive_json(), waiting)
                        if message["type"] == "error":
                            refused.add(message["id"])
                assert refused == denied, who


@ON_SQLITE
async def test_a_wrong_key_opens_no_socket_even_on_an_open_board(place: Boards) -> None:
    async with aiohttp.ClientSession() as http:
        for payload in ({"Authorization": "Bearer x"}, {"authorization": "x"}, {"headers": {"Authorization": 7}}):
            address = f"{place.urls['everyone']}/graphql"
            async with http.ws_connect(address, protocols=["graphql-transport-ws"]) as socket:
                await socket.send_json({"type": "connection_init", "payload": payload})
                await socket.receive()
                assert socket.close_code == 4403, payload


@ON_SQLITE
async def test_a_subscription_ends_when_its_key_is_revoked(place: Boards, monkeypatch: pytest.MonkeyPatch) -> None:
    from graphql_api import context
    from killsync.access import keys

    monkeypatch.setattr(context, "KEEP_SECONDS", 0.0)
    async with (
        place.http(KEY) as http,
        http.ws_connect(f"{place.urls['members']}/graphql", protocols=["graphql-transport-ws"]) as socket,
    ):
        await socket.send_json({"type": "connection_init"})
        await socket.receive_json()
        query = "subscription { newKillmail { id } }"
        await socket.send_json({"id": "1", "type": "subscribe", "payload": {"query": query}})
        await asyncio.sleep(0.5)
        universe = new_universe(kills=(1,), seed=99)
        with connection():
            [number] = [key.id for key in keys.all_listed() if key.name == "reader"]
            assert keys.revoke(number)
        save_one(universe, next(iter(universe.kills)))
        message = await asyncio.wait_for(socket.receive_json(), 15)
        assert message["type"] == "error" and message["payload"][0]["extensions"]["code"] == "UNAUTHENTICATED"


@ON_SQLITE
@pytest.mark.parametrize("who", [KEY, MEMBERS])
async def test_a_stream_ends_when_its_reader_may_no_longer_read(
    place: Boards, monkeypatch: pytest.MonkeyPatch, who: str
) -> None:
    from killsync.feed import stream

    monkeypatch.setattr(stream, "KNOWN_SECONDS", 0.0)
    async with place.http(who) as http, http.get(f"{place.urls['members']}/events") as answer:
        assert answer.status == 200 and "no-store" in answer.headers["Cache-Control"]
        await answer.content.readline()
        universe = new_universe(kills=(1,), seed=99)
        with connection():
            run("UPDATE access_key SET revoked_at = created_at")
            run("DELETE FROM web_session")
        save_one(universe, next(iter(universe.kills)))
        rest = await asyncio.wait_for(answer.content.read(), 20)
        assert b"data:" not in rest


def test_what_says_nothing_is_nobodys() -> None:
    everything = Asker(True, True, True, True, True, True)
    assert decide(None, everything, members_only=False) is Refusal.UNDECLARED
    for need in Need:
        assert decide(need, Asker(), members_only=True) is (None if need is Need.OPEN else Refusal.LOGIN)
