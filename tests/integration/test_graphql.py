"""What a GraphQL client sees: the contract's schema, pages, filters, errors, bounds and statement counts."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from graphql_api.documents import Documents
from graphql_api.errors import BadDocument
from graphql_api.tartiflette.engine import Api
from killsync.killmails.classification import classify
from killsync.killmails.killmail import SolarSystem
from killsync.killmails.mapping import parse_time
from killsync.static_data import catalog
from models.db import database
from simulator.universe import Universe
from tests.support import static_data
from tests.support.player import Player
from tests.support.resources import PROJECT
from tests.support.web_server import fill, new_universe, served

SDL = (PROJECT / "graphql_api" / "schema.graphql").read_text()
ALL = """
id killmailHash killmailTime solarSystem { id name } moonId warId attackerCount solo npc awox labels createdAt
victim { character { id name } corporation { id name } alliance { id name } factionId shipType { id name } damageTaken position { x y z } }
attackers { character { id name } corporation { id name } alliance { id name } factionId shipType { id name } weaponType { id name }
  damageDone finalBlow securityStatus }
finalBlow { character { id } damageDone finalBlow }
items { itemType { id name } flag quantityDropped quantityDestroyed singleton
  items { itemType { id name } flag quantityDropped quantityDestroyed singleton } }
"""


class Reader:
    """A client of the endpoint, and the universe that is stored behind it."""

    def __init__(self, url: str, universe: Universe, newest: list[int], http: aiohttp.ClientSession) -> None:
        self.url, self.universe, self.newest, self.http = url, universe, newest, http

    async def post(self, body: Any, **headers: str) -> tuple[int, dict[str, Any]]:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"Content-Type": "application/json", "Accept": "application/graphql-response+json", **headers}
        async with self.http.post(f"{self.url}/graphql", data=data, headers=sent) as answer:
            return answer.status, await answer.json(content_type=None)

    async def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        return (await self.post({"query": query, "variables": variables}))[1]

    async def data(self, query: str, **variables: Any) -> dict[str, Any]:
        answer = await self.ask(query, **variables)
        assert "errors" not in answer, answer["errors"]
        found: dict[str, Any] = answer["data"]
        return found

    async def ids(self, arguments: str, **variables: Any) -> list[int]:
        names = {"start": "DateTime", "end": "DateTime", "after": "String"}
        declared = ", ".join(f"${name}: {names[name]}" for name in variables)
        query = (
            f"query {f'({declared})' if declared else ''} {{ killmails({arguments}) {{ edges {{ node {{ id }} }} }} }}"
        )
        return [int(edge["node"]["id"]) for edge in (await self.data(query, **variables))["killmails"]["edges"]]


@pytest_asyncio.fixture
async def reader(settings: Any) -> AsyncIterator[Reader]:
    universe = new_universe(kills=(60, 40, 20))
    static_data.load()
    newest = fill(universe)
    async with served(settings) as url, aiohttp.ClientSession() as http:
        yield Reader(url, universe, newest, http)


#: For what has nothing to do with the database.
ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest_asyncio.fixture
async def endpoint(settings: Any) -> AsyncIterator[Reader]:
    """The endpoint over an empty database."""
    async with served(settings) as url, aiohttp.ClientSession() as http:
        yield Reader(url, new_universe(kills=()), [], http)


async def test_a_killmail_is_given_whole(reader: Reader) -> None:
    for number in reader.newest[:40]:
        body = reader.universe.body(number)
        seen = (await reader.data(f"query One($id: ID!) {{ killmail(id: $id) {{ {ALL} }} }}", id=str(number)))[
            "killmail"
        ]
        assert seen["killmailTime"] == body["killmail_time"]
        assert seen["victim"]["damageTaken"] == body["victim"]["damage_taken"]
        assert [a["damageDone"] for a in seen["attackers"]] == [a["damage_done"] for a in body["attackers"]]
        assert [a["character"] and int(a["character"]["id"]) for a in seen["attackers"]] == [
            a.get("character_id") for a in body["attackers"]
        ]
        assert seen["attackerCount"] == len(body["attackers"])
        assert seen["finalBlow"]["finalBlow"] is True
        assert (seen["victim"]["character"] is None) == ("character_id" not in body["victim"])
        assert (seen["victim"]["position"] is None) == ("position" not in body["victim"])
        kind = classify(body, parse_time(body["killmail_time"]), catalog.current().get())
        assert (seen["npc"], seen["solo"], seen["awox"], seen["labels"]) == (
            kind.npc, kind.solo, kind.awox, list(kind.labels),
        )  # fmt: skip
        served_items = body["victim"].get("items", [])
        assert [(int(i["itemType"]["id"]), len(i["items"])) for i in seen["items"]] == [
            (i["item_type_id"], len(i.get("items", []))) for i in served_items
        ]
        assert seen["solarSystem"]["name"] == reader.universe.name_of(body["solar_system_id"])[1]  # type: ignore[index]


async def test_damage_beyond_32_bits_is_given_in_full(reader: Reader) -> None:
    big = [n for n in reader.newest if reader.universe.body(n)["victim"]["damage_taken"] > 2**32]
    assert big
    seen = await reader.data(f'{{ killmail(id: "{big[0]}") {{ victim {{ damageTaken }} }} }}')
    assert seen["killmail"]["victim"]["damageTaken"] == reader.universe.body(big[0])["victim"]["damage_taken"]


async def test_pages_walk_through_everything_once_while_new_killmails_arrive(reader: Reader) -> None:
    from tests.support.web_server import save_one

    seen: list[int] = []
    after = None
    while True:
        page = (
            await reader.data(
                "query P($after: String) { killmails(first: 13, after: $after) { edges { cursor node { id } } "
                "pageInfo { hasNextPage endCursor } } }",
                after=after,
            )
        )["killmails"]
        seen += [int(edge["node"]["id"]) for edge in page["edges"]]
        assert page["pageInfo"]["endCursor"] == page["edges"][-1]["cursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
        after = page["pageInfo"]["endCursor"]
        late = reader.universe.add_kill(next(iter(reader.universe.characters)), reader.universe.now + 60)
        save_one(reader.universe, late.killmail_id)
    assert seen == reader.newest


async def test_each_filter_finds_exactly_its_killmails(reader: Reader) -> None:
    bodies = {number: reader.universe.body(number) for number in reader.newest}
    sample = bodies[reader.newest[5]]
    pilot = next(a for a in sample["attackers"] if "corporation_id" in a)
    wanted: list[tuple[str, Callable[[dict[str, Any]], bool]]] = []
    for name, key, value in (
        ("characterId", "character_id", sample["attackers"][0].get("character_id", 2112000001)),
        ("corporationId", "corporation_id", pilot["corporation_id"]),
        ("allianceId", "alliance_id", next(iter(reader.universe.alliances))),
        ("shipTypeId", "ship_type_id", sample["victim"]["ship_type_id"]),
    ):
        victim = lambda body, key=key, value=value: body["victim"].get(key) == value  # noqa: E731
        attacker = lambda body, key=key, value=value: any(a.get(key) == value for a in body["attackers"])  # noqa: E731
        wanted += [
            (f'{name}: "{value}", side: VICTIM', victim),
            (f'{name}: "{value}", side: ATTACKER', attacker),
            (f'{name}: "{value}"', lambda body, v=victim, a=attacker: v(body) or a(body)),
        ]
    system = sample["solar_system_id"]
    wanted.append((f'systemId: "{system}"', lambda body: body["solar_system_id"] == system))
    for text, is_wanted in wanted:
        expected = [number for number in reader.newest if is_wanted(bodies[number])]
        assert await reader.ids(f"first: 100, filter: {{ {text} }}") == expected[:100], text
    both = f'characterId: "{sample["victim"].get("character_id", 1)}", systemId: "{system}"'
    found = await reader.ids(f"first: 100, filter: {{ {both} }}")
    assert all(bodies[number]["solar_system_id"] == system for number in found)
    start, end = bodies[reader.newest[30]]["killmail_time"], bodies[reader.newest[10]]["killmail_time"]
    ranged = await reader.ids("first: 100, filter: { startDate: $start, endDate: $end }", start=start, end=end)
    assert ranged == [n for n in reader.newest if start <= bodies[n]["killmail_time"] <= end]


async def test_a_page_of_fifty_with_everything_costs_few_statements(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    statements: list[str] = []
    real = database.obj.execute_sql

    def counted(statement: str, *arguments: Any) -> Any:
        statements.append(statement)
        return real(statement, *arguments)

    monkeypatch.setattr(database.obj, "execute_sql", counted)
    page = (await reader.data(f"{{ killmails(first: 50) {{ edges {{ node {{ {ALL} }} }} }} }}"))["killmails"]["edges"]
    assert len(page) == 50
    assert 0 < len(statements) <= 8, len(statements)


@ON_SQLITE
@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("{ killmails(first: 0) { edges { cursor } } }", "BAD_USER_INPUT"),
        ("{ killmails(first: 101) { edges { cursor } } }", "BAD_USER_INPUT"),
        ('{ killmails(after: "nonsense") { edges { cursor } } }', "BAD_USER_INPUT"),
        ('{ killmails(filter: { characterId: "x" }) { edges { cursor } } }', "BAD_USER_INPUT"),
        ('{ killmail(id: "99999999999999999999") { id } }', "BAD_USER_INPUT"),
        ("{ killmails(filter: { mine: true }) { edges { cursor } } }", "UNAUTHENTICATED"),
        ("{ syncRuns { edges { cursor } } }", "UNAUTHENTICATED"),
        ("mutation { syncMyKillmails { id } }", "UNAUTHENTICATED"),
        ('mutation { submitKillmail(url: "x") { id } }', "UNAUTHENTICATED"),
        ("mutation { disconnect }", "UNAUTHENTICATED"),
    ],
)
async def test_a_refusal_is_200_with_a_code_for_programs(endpoint: Reader, query: str, code: str) -> None:
    status, answer = await endpoint.post({"query": query})
    assert status == 200
    assert [error["extensions"]["code"] for error in answer["errors"]] == [code]


@ON_SQLITE
@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("{", "GRAPHQL_PARSE_FAILED"),
        ("", "GRAPHQL_PARSE_FAILED"),
        ("{ killmails(first: 99999999999) { edges { cursor } } }", None),
        ('{ killmails(first: "10") { edges { cursor } } }', None),
        ("{ killmails { edges { cursor } } nothing }", "GRAPHQL_VALIDATION_FAILED"),
        ("{ killmail { id } }", "GRAPHQL_VALIDATION_FAILED"),
        ("{ killmail(id: null) { id } }", None),
        ("query A { me { id } } query B { me { id } }", "GRAPHQL_PARSE_FAILED"),
        ("{ ...A } fragment A on Query { ...B } fragment B on Query { ...A }", "GRAPHQL_PARSE_FAILED"),
        ("{ me { ...A } } fragment A on User { ...A }", "GRAPHQL_PARSE_FAILED"),
        ("{" + "a{" * 20_000 + "}" * 20_001, "QUERY_TOO_LARGE"),
        ("{ me { id } } #" + "x" * 60_000, "QUERY_TOO_LARGE"),
        ("{" + " ".join(f"a{n}: me {{ id }}" for n in range(500)) + "}", "QUERY_TOO_LARGE"),
        ("{ me { id " + "@include(if: true) " * 200 + "} }", "QUERY_TOO_LARGE"),
        ("{" + " ".join(f"a{n}: killmails(first: 100) {{ edges {{ node {{ {ALL} }} }} }}" for n in range(8)) + "}", "QUERY_TOO_LARGE"),
        ("subscription { newKillmail { id } }", "FORBIDDEN"),
        ("\u0000{ me { id } }", "GRAPHQL_PARSE_FAILED"),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
async def test_a_bad_document_is_refused_before_it_runs(endpoint: Reader, query: str, code: str | None) -> None:
    status, answer = await endpoint.post({"query": query})
    assert status in (400, 403), answer
    assert "data" not in answer and answer["errors"]
    if code:
        assert answer["errors"][0]["extensions"]["code"] == code
    assert "Internal" not in json.dumps(answer) and "Traceback" not in json.dumps(answer)


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "text",
    [
        '"""' + "a\\ " * 9000,
        '"""' + 'a " ' * 7000,
        '"' + "\\u0041 " * 4000,
        '"""' + "a" * 30_000,
    ],
)
def test_a_string_without_an_end_is_refused_at_once(text: str) -> None:
    with pytest.raises(BadDocument):
        Documents(SDL, lambda *_: True).read(f"{{ killmails(after: {text}")


@ON_SQLITE
@pytest.mark.parametrize(
    ("written", "read"),
    [(r"\u00e9", "é"), (r"\ud83d\ude00", "😀"), (r"\uFFFD", "\ufffd"), (r"\u0041\u0022\u005c\n", 'A"\\\n'), (r"\\u00e9", r"\u00e9"),
     (r"\u0000", None), (r"\ud83d", None), (r"\ude00\ud83d", None)],
)  # fmt: skip
async def test_escapes_in_strings_are_the_characters_they_stand_for(
    endpoint: Reader, written: str, read: str | None
) -> None:
    query = f'# "{written}\n{{ killmails(after: "{written}") {{ edges {{ cursor }} }} }}'
    error = (await endpoint.ask(query))["errors"][0]
    if read is None:
        assert error["extensions"]["code"] == "GRAPHQL_PARSE_FAILED", error
        return
    assert error["extensions"] == {"code": "BAD_USER_INPUT", "argument": "after"}
    api = await Api.make()
    value = (await api.operation(query, None, {})).node.selection_set.selections[0].arguments[0].value.value
    assert value == read


@ON_SQLITE
async def test_the_limit_and_the_cost_are_in_the_error(endpoint: Reader) -> None:
    wide = "{" + " ".join(f"a{n}: killmails(first: 100) {{ edges {{ node {{ {ALL} }} }} }}" for n in range(8)) + "}"
    _, answer = await endpoint.post({"query": wide})
    said = answer["errors"][0]["extensions"]
    assert said["found"] > said["limit"] == 150_000


@ON_SQLITE
@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"[" * 100_000, 400), (b'{"a":' * 20_000, 400), (b"9" * 100_000, 400), (b'"\xff"', 400),
        (b"", 400), (b"{", 400), (b"[]", 400), (b'[{"query": "{ me { id } }"}]', 400), (b'"{ me { id } }"', 400),
        (b"\xff\xfe{}", 400), (b'{"query": "\xff"}', 400), (b'{"query": 7}', 400), (b'{"query": null}', 400),
        (b'{"query": "{ me { id } }", "variables": []}', 400), (b'{"query": "{ me { id } }", "variables": "x"}', 400),
        (b'{"query": "{ me { id } }", "operationName": 4}', 400), (b'{"query": "{ me { id } }", "extensions": 4}', 400),
        (b'{"query": "{ me { id } }", "operationName": "Nobody"}', 400),
        (b'{"query": "{ me { id } }", "variables": null, "operationName": null, "extensions": null}', 200),
        (b'{"query": "' + b" " * 1_000_000 + b'"}', 413),
        (b"[" * 50_000, 400),
    ],
    ids=lambda value: str(value)[:50],
)  # fmt: skip
async def test_a_malformed_request_is_a_clear_4xx(endpoint: Reader, body: bytes, status: int) -> None:
    assert (await endpoint.post(body))[0] == status


@ON_SQLITE
async def test_media_types_methods_and_gets(endpoint: Reader) -> None:
    query = {"query": "{ killmails(first: 1) { edges { node { id } } } }"}
    url = f"{endpoint.url}/graphql"
    for accept, expected in (
        ("application/json", "application/json"), ("*/*", "application/json"), ("", "application/json"),
        ("application/graphql-response+json", "application/graphql-response+json"),
        ("application/graphql-response+json, application/json;q=0.9", "application/graphql-response+json"),
    ):  # fmt: skip
        async with endpoint.http.post(url, json=query, headers={"Accept": accept}) as answer:
            assert (answer.status, answer.content_type, answer.charset) == (200, expected, "utf-8")
    async with endpoint.http.post(url, json=query, headers={"Accept": "text/html"}) as answer:
        assert answer.status == 406
    async with endpoint.http.post(url, data=query) as answer:
        assert answer.status == 415
    async with endpoint.http.get(url, params=query, headers={"Accept": "application/json"}) as answer:
        assert answer.status == 200 and (await answer.json())["data"]
    async with endpoint.http.get(url, params={"query": "mutation { disconnect }"}) as answer:
        assert answer.status == 405 and answer.headers["Allow"] == "POST"
    async with endpoint.http.get(url, params={**query, "variables": "{"}) as answer:
        assert answer.status == 400
    async with endpoint.http.put(url, json=query) as answer:
        assert answer.status == 405
    async with endpoint.http.post(url, json={"query": "{ nope }"}, headers={"Accept": "application/json"}) as answer:
        assert answer.status == 200 and "data" not in await answer.json()


@ON_SQLITE
async def test_the_explorer_is_served_without_inline_script_or_another_host(endpoint: Reader) -> None:
    async with endpoint.http.get(f"{endpoint.url}/graphql", headers={"Accept": "text/html"}) as answer:
        page, policy = await answer.text(), answer.headers["Content-Security-Policy"]
    assert "script-src 'self';" in policy and "frame-ancestors 'none'" in policy
    assert "<script>" not in page and "https://" not in page.replace("http://www.w3.org", "")
    import re

    for path in re.findall(r'(?:src|href)="(/[^"]+)"', page):
        async with endpoint.http.get(endpoint.url + path) as asset:
            assert asset.status == 200, path


@ON_SQLITE
async def test_everything_in_the_schema_is_described(endpoint: Reader) -> None:
    query = """{ __schema { types { name kind description fields(includeDeprecated: true) { name description
        args { name description } } inputFields { name description } enumValues { name description } } } }"""
    types = (await endpoint.data(query))["__schema"]["types"]
    for each in types:
        if each["name"].startswith("__") or each["name"] in ("Date", "Time"):
            continue
        assert each["description"], each["name"]
        for field in [*(each["fields"] or ()), *(each["inputFields"] or ()), *(each["enumValues"] or ())]:
            assert field["description"], (each["name"], field["name"])
            for argument in field.get("args") or ():
                assert argument["description"], (each["name"], field["name"], argument["name"])


@ON_SQLITE
async def test_the_standard_introspection_query_works(endpoint: Reader) -> None:
    from graphql import build_client_schema, get_introspection_query

    found = await endpoint.data(get_introspection_query(descriptions=True))
    schema = build_client_schema(found)  # type: ignore[arg-type]
    assert {"me", "killmail", "killmails", "workerStatus", "syncRuns"} <= set(schema.query_type.fields)  # type: ignore[union-attr]


def test_the_sdl_is_valid_for_another_implementation() -> None:
    from graphql import build_schema

    schema = build_schema(SDL)
    default = schema.query_type.fields["killmails"].args["first"].ast_node.default_value  # type: ignore[union-attr]
    assert default.value == "50"  # type: ignore[union-attr]


async def test_introspection_can_be_turned_off(against: Any, simulated: Any) -> None:
    settings = against(simulated(kills=(3,)), GRAPHQL_INTROSPECTION="0")
    async with served(settings) as url, aiohttp.ClientSession() as http:
        async with http.post(f"{url}/graphql", json={"query": "{ __schema { types { name } } }"}) as answer:
            assert (await answer.json(content_type=None))["errors"][0]["extensions"]["code"] == "FORBIDDEN"
        async with http.post(f"{url}/graphql", json={"query": "{ __typename me { __typename } }"}) as answer:
            assert (await answer.json(content_type=None))["data"] == {"__typename": "Query", "me": None}


@ON_SQLITE
async def test_an_unexpected_error_is_internal_with_an_id_that_is_in_the_log(
    endpoint: Reader, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from killsync.killmails import queries as feed

    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("the password is swordfish")

    monkeypatch.setattr(feed, "killmail", broken)
    answer = await endpoint.ask('{ killmail(id: "1") { id } }')
    error = answer["errors"][0]
    assert error["extensions"]["code"] == "INTERNAL_ERROR" and "swordfish" not in json.dumps(answer)


async def test_the_fast_completion_answers_as_tartiflette_does(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    from graphql_api.tartiflette import fast_completion

    queries = [
        f"{{ killmails(first: 20) {{ edges {{ cursor node {{ {ALL} }} }} pageInfo {{ hasNextPage endCursor }} }} }}",
        "{ a: killmails(first: 2) { edges { node { __typename x: id ...F } } } } fragment F on Killmail { id victim { __typename } }",
        "query ($no: Boolean = false) { killmails(first: 2) { edges { node { id @skip(if: true) solo @include(if: $no) npc } } } }",
        "{ killmails(first: 1) { edges { node { victim { shipType { id } } ... on Killmail { victim { shipType { name } } } } } } }",
    ]
    fast = [await reader.ask(query) for query in queries]

    def never(*_: Any) -> Any:
        raise fast_completion.NotPlain

    monkeypatch.setattr(fast_completion, "complete", never)
    assert [await reader.ask(query) for query in queries] == fast
    assert all("errors" not in answer for answer in fast)


class Fresh:
    """A killmail whose solar system is made anew each time that it is read."""

    killmail_time = datetime(2026, 8, 1, tzinfo=UTC)

    def __init__(self, number: int) -> None:
        self.killmail_id = number

    @property
    def solar_system(self) -> SolarSystem:
        return SolarSystem(self.killmail_id, f"System {self.killmail_id}")


async def test_a_value_that_takes_the_place_of_another_in_memory_is_not_mistaken_for_it(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    from killsync.killmails import queries as feed

    page: Any = feed.Page([Fresh(number) for number in range(1, 61)], has_next=False)  # type: ignore[misc]
    monkeypatch.setattr(feed, "page", lambda *_, **__: page)
    answer = await reader.ask("{ killmails(first: 60) { edges { node { id solarSystem { id name } } } } }")
    nodes = [edge["node"] for edge in answer["data"]["killmails"]["edges"]]
    assert [node["solarSystem"] for node in nodes] == [
        {"id": str(number), "name": f"System {number}"} for number in range(1, 61)
    ]


async def test_the_fast_completion_answers_as_tartiflette_does_for_what_is_ones_own(
    against: Any, simulated: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from graphql_api.tartiflette import fast_completion

    queries = [
        "{ me { id characterId characterName status lastKillmailSyncAt nextSyncAt killmailCount } }",
        "{ myCharacters { __typename } workerStatus { queueName messageCount consumerCount delayedCount deadCount } }",
        "{ syncRuns { edges { cursor node { id characterId status startedAt finishedAt pages found saved skipped errors esiRequests "
        "esiTokens error } } pageInfo { hasNextPage endCursor } } }",
        '{ __type(name: "UserStatus") { kind enumValues { name } } }',
    ]
    handle = simulated(kills=(3,))
    async with served(against(handle)) as url, Player(url) as player:
        await player.log_in(handle.simulator.universe.demo_characters[0].character_id)
        fast = [await player.data(query) for query in queries]
        assert fast[0]["me"]["status"] == "ACTIVE" and fast[0]["me"]["id"] == "1"
        assert fast[2]["syncRuns"]["edges"][0]["node"]["status"] == "QUEUED"

        def never(*_: Any) -> Any:
            raise fast_completion.NotPlain

        monkeypatch.setattr(fast_completion, "complete", never)
        assert [await player.data(query) for query in queries] == fast


# What killmails are about.

WHERE = """solarSystem { id name securityStatus security constellation { id name region { id name } } region { id name } }
  victim { shipType { id name group { id name category { id name } } } } attackers { shipType { group { id } } }"""


async def test_a_killmail_says_where_it_was_and_of_what_class_the_ships_were(reader: Reader) -> None:
    known = catalog.current().get()
    for number in reader.newest[:30]:
        body = reader.universe.body(number)
        seen = (await reader.data(f'{{ killmail(id: "{number}") {{ {WHERE} }} }}'))["killmail"]
        system, ship = known.system(body["solar_system_id"]), known.type(body["victim"]["ship_type_id"])
        assert system is not None and ship is not None
        where = seen["solarSystem"]
        assert where["securityStatus"] == pytest.approx(system.security_status)
        assert where["security"] in ("HIGH", "LOW", "NULL", "WORMHOLE", "ABYSSAL", "POCHVEN")
        region = {"id": str(system.region_id), "name": known.region(system.region_id).name}
        assert region["name"] and where["region"] == region
        area = known.constellation(system.constellation_id)
        assert where["constellation"] == {"id": str(system.constellation_id), "name": area.name, "region": region}
        group = known.group(ship.group_id)
        assert group.name and group.category is not None
        assert seen["victim"]["shipType"]["group"] == {
            "id": str(group.id), "name": group.name, "category": {"id": str(group.category.id), "name": group.category.name},
        }  # fmt: skip


async def test_each_filter_of_the_contract_is_taken_and_fits(reader: Reader) -> None:
    known = catalog.current().get()
    body = reader.universe.body(reader.newest[3])
    system = known.system(body["solar_system_id"])
    assert system is not None
    ship = known.type(body["victim"]["ship_type_id"])
    assert ship is not None
    kind = classify(body, parse_time(body["killmail_time"]), known)
    assert kind.security is not None
    labels = ", ".join(f'"{label}"' for label in kind.labels)
    for given in (
        f'regionId: "{system.region_id}"', f'constellationId: "{system.constellation_id}"',
        f"security: [{kind.security.name}, ABYSSAL]", f'victimShipGroupIds: ["{ship.group_id}", "29"]',
        f'victimShipCategoryIds: ["{ship.category_id}"]', f'shipGroupId: "{ship.group_id}", side: VICTIM',
        f"minAttackers: {len(body['attackers'])}, maxAttackers: {len(body['attackers'])}",
        f"npc: {str(kind.npc).lower()}", f"solo: {str(kind.solo).lower()}", f"awox: {str(kind.awox).lower()}",
        f"labels: [{labels}]", f'nearSystemId: "{body["solar_system_id"]}", maxJumps: 0',
        f'nearSystemId: "{body["solar_system_id"]}", maxLightYears: 0.1, maxJumps: 3',
    ):  # fmt: skip
        assert body["killmail_id"] in await reader.ids(f"first: 100, filter: {{ {given} }}"), given
    for given in (
        'regionId: "1"',
        "minAttackers: 100000",
        f'labels: ["cat:{ship.category_id}", "cat:999"]',
        'constellationId: "5"',
    ):
        assert await reader.ids(f"first: 100, filter: {{ {given} }}") == [], given


@pytest.mark.parametrize(
    ("given", "argument", "reason"),
    [
        ("security: []", "security", "empty list"),
        ("victimShipGroupIds: []", "victimShipGroupIds", "empty list"),
        ('victimShipGroupIds: ["25", "frigate"]', "victimShipGroupIds", "whole number"),
        ('regionId: "-1"', "regionId", "whole number"),
        ('labels: ["nonsense"]', "labels", "nonsense"),
        ("minAttackers: -1", "minAttackers", "is from 0"),
        ("minAttackers: 5, maxAttackers: 4", "minAttackers", "nothing can be both"),
        ('startDate: "2026-08-02", endDate: "2026-08-01"', "startDate", "nothing can be both"),
        ("npc: true, solo: true", "npc", "contradict"),
        ("maxJumps: 3", "maxJumps", "needs nearSystemId"),
        ('nearSystemId: "30000142"', "nearSystemId", "needs maxJumps or maxLightYears"),
        ('nearSystemId: "30000142", maxJumps: -1', "maxJumps", "is from 0"),
        ('nearSystemId: "30000142", maxLightYears: -1.0', "maxLightYears", "is a number from 0"),
        ("attackerShipGroupIds: [" + ", ".join(f'"{number}"' for number in range(101)) + "]", "attackerShipGroupIds", "more than 100"),
    ],
)  # fmt: skip
@ON_SQLITE
async def test_a_filter_that_makes_no_sense_is_refused_with_the_clause(
    reader: Reader, given: str, argument: str, reason: str
) -> None:
    answer = await reader.ask(f"{{ killmails(filter: {{ {given} }}) {{ edges {{ cursor }} }} }}")
    error = answer["errors"][0]
    assert error["extensions"] == {"code": "BAD_USER_INPUT", "argument": argument}
    assert reason in error["message"]
