"""graphql-transport-ws as its protocol text says, many subscribers, slow ones, and garbage."""

from __future__ import annotations

import asyncio
import gc
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from graphql_api import websocket
from killsync.killmails.classification import classify
from killsync.killmails.mapping import parse_time
from killsync.web import connections, rates, shares
from tests.support import static_data
from tests.support.web_server import new_universe, save_one, served

SUBSCRIBE = {"id": "1", "type": "subscribe", "payload": {"query": "subscription { newKillmail { id } }"}}


class Place:
    """A served endpoint, and a universe whose killmails are stored when a test wants it."""

    def __init__(self, url: str, http: aiohttp.ClientSession, app: Any) -> None:
        self.url, self.http, self.app = url, http, app
        self.universe = new_universe(kills=(40,))
        self.ids = sorted(self.universe.kills)

    async def open(
        self, *, init: bool = True, protocols: tuple[str, ...] = ("graphql-transport-ws",), **headers: str
    ) -> Any:
        socket = await self.http.ws_connect(f"{self.url}/graphql", protocols=protocols, headers=headers)
        if init:
            await socket.send_json({"type": "connection_init"})
            assert await socket.receive_json(timeout=5) == {"type": "connection_ack"}
        return socket

    @property
    def hub(self) -> Any:
        """The hub of the one web server that runs here."""
        from killsync.events.hub import Hub

        return next(each for each in gc.get_objects() if isinstance(each, Hub) and not each.is_stopped)

    async def save(self, killmail_id: int) -> None:
        await asyncio.get_running_loop().run_in_executor(None, save_one, self.universe, killmail_id)


@pytest_asyncio.fixture
async def place(settings: Any) -> AsyncIterator[Place]:
    async with served(settings, made := []) as url, aiohttp.ClientSession() as http:
        yield Place(url, http, made[0])


ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


async def closed_with(socket: Any) -> int:
    """The code the server closes with."""
    while True:
        message = await socket.receive(timeout=5)
        if message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSING):
            return int(socket.close_code)


async def test_a_saved_killmail_reaches_its_subscribers_and_nobody_else(place: Place) -> None:
    first = place.universe.kills[place.ids[0]]
    character = first.victim_id or first.attackers[0]
    socket = await place.open()
    for number, where in (
        ("all", ""),
        ("his", f'(filter: {{characterId: "{character}"}})'),
        ("none", '(filter: {characterId: "1"})'),
    ):
        query = f"subscription {{ newKillmail{where} {{ id attackerCount }} }}"
        await socket.send_json({"id": number, "type": "subscribe", "payload": {"query": query}})
    await asyncio.sleep(0.4)
    await place.save(place.ids[0])
    heard = [await socket.receive_json(timeout=5) for _ in range(2)]
    assert {each["id"] for each in heard} == {"all", "his"}
    assert all(each["payload"]["data"]["newKillmail"]["id"] == str(place.ids[0]) for each in heard)
    with pytest.raises(asyncio.TimeoutError):
        await socket.receive_json(timeout=0.5)


async def test_a_subscription_hears_what_its_clauses_let_through(place: Place) -> None:
    known = static_data.load()
    chosen = place.ids[:8]
    bodies = {number: place.universe.body(number) for number in chosen}
    kinds = {number: classify(body, parse_time(body["killmail_time"]), known) for number, body in bodies.items()}
    one = kinds[chosen[0]]
    assert one.security is not None
    asked = {
        "region": (f'regionId: "{one.region_id}"', lambda number: kinds[number].region_id == one.region_id),
        "security": (f"security: [{one.security.name}]", lambda number: kinds[number].security == one.security),
        "group": (f'victimShipGroupIds: ["{one.victim_group_id}"]',
                  lambda number: kinds[number].victim_group_id == one.victim_group_id),
        "npc": ("npc: false, minAttackers: 2", lambda number: not kinds[number].npc and len(bodies[number]["attackers"]) >= 2),
        "label": (f'labels: ["{one.labels[-1]}"]', lambda number: one.labels[-1] in kinds[number].labels),
        "near": (f'nearSystemId: "{bodies[chosen[0]]["solar_system_id"]}", maxJumps: 0',
                 lambda number: bodies[number]["solar_system_id"] == bodies[chosen[0]]["solar_system_id"]),
        "none": ('regionId: "1"', lambda number: False),
    }  # fmt: skip
    socket = await place.open()
    for name, (given, _) in asked.items():
        query = f"subscription {{ newKillmail(filter: {{ {given} }}) {{ id }} }}"
        await socket.send_json({"id": name, "type": "subscribe", "payload": {"query": query}})
    await asyncio.sleep(0.6)
    for number in chosen:
        await place.save(number)
    wanted = {(name, str(number)) for name, (_, fits) in asked.items() for number in chosen if fits(number)}
    heard = [await socket.receive_json(timeout=10) for _ in wanted]
    assert {(each["id"], each["payload"]["data"]["newKillmail"]["id"]) for each in heard} == wanted
    with pytest.raises(asyncio.TimeoutError):
        await socket.receive_json(timeout=0.5)


@ON_SQLITE
@pytest.mark.parametrize(
    ("messages", "code"),
    [
        (["nonsense"], 4400), (["[]"], 4400), (["7"], 4400), ([json.dumps({"type": "nonsense"})], 4400),
        ([json.dumps({"id": "1"})], 4400),
        ([json.dumps(SUBSCRIBE)], 4401),
        ([json.dumps({"type": "connection_init"})] * 2, 4429),
        ([json.dumps({"type": "connection_init"}), json.dumps(SUBSCRIBE), json.dumps(SUBSCRIBE)], 4409),
        ([json.dumps({"type": "connection_init"}), json.dumps({"id": "1", "type": "subscribe"})], 4400),
        ([json.dumps({"type": "connection_init"}), json.dumps({"type": "subscribe", "payload": SUBSCRIBE["payload"]})], 4400),
        ([json.dumps({"type": "connection_init"}), json.dumps({**SUBSCRIBE, "id": 7})], 4400),
        ([json.dumps({"type": "connection_init"}), json.dumps({**SUBSCRIBE, "payload": {"query": 7}})], 4400),
    ],
    ids=range(12),
)  # fmt: skip
async def test_a_broken_protocol_closes_with_its_code(place: Place, messages: list[str], code: int) -> None:
    socket = await place.open(init=False)
    for message in messages:
        await socket.send_str(message)
    assert await closed_with(socket) == code


@ON_SQLITE
async def test_binary_and_oversized_messages_close_the_socket(place: Place) -> None:
    socket = await place.open()
    await socket.send_bytes(b"\x00\x01")
    assert await closed_with(socket) == 4400
    socket = await place.open()
    await socket.send_str(json.dumps({**SUBSCRIBE, "payload": {"query": "x" * 200_000}}))
    assert await closed_with(socket) == 1009


@ON_SQLITE
async def test_another_subprotocol_and_another_sites_page_are_refused(place: Place) -> None:
    socket = await place.open(init=False, protocols=("graphql-ws",))
    assert await closed_with(socket) == 4406
    for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await place.open(**headers)
        assert refused.value.status == 403
    await place.open(Origin=place.url)


@ON_SQLITE
async def test_a_client_that_never_begins_is_closed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "INIT_SECONDS", 0.5)
    socket = await place.open(init=False)
    began = time.monotonic()
    assert await closed_with(socket) == 4408
    assert time.monotonic() - began < 4


@ON_SQLITE
async def test_ping_queries_errors_and_complete(place: Place) -> None:
    socket = await place.open()
    await socket.send_json({"type": "ping", "payload": {"n": 1}})
    assert await socket.receive_json(timeout=5) == {"type": "pong", "payload": {"n": 1}}
    await socket.send_json({"id": "q", "type": "subscribe", "payload": {"query": "{ me { id } }"}})
    assert await socket.receive_json(timeout=5) == {"id": "q", "type": "next", "payload": {"data": {"me": None}}}
    assert await socket.receive_json(timeout=5) == {"id": "q", "type": "complete"}
    for query, code in (
        ("subscription { nothing }", "GRAPHQL_VALIDATION_FAILED"), ("{", "GRAPHQL_PARSE_FAILED"),
        ("subscription { syncProgress { id } }", "UNAUTHENTICATED"),
        ("subscription { newKillmail(filter: {mine: true}) { id } }", "UNAUTHENTICATED"),
        ('subscription { newKillmail(filter: {characterId: "x"}) { id } }', "BAD_USER_INPUT"),
        ("{" + "a{" * 20_000 + "}" * 20_001, "QUERY_TOO_LARGE"),
    ):  # fmt: skip
        await socket.send_json({"id": "e", "type": "subscribe", "payload": {"query": query}})
        answer = await socket.receive_json(timeout=5)
        assert (answer["id"], answer["type"]) == ("e", "error"), answer
        assert answer["payload"][0]["extensions"]["code"] == code
    await socket.send_json(SUBSCRIBE)
    await asyncio.sleep(0.3)
    await socket.send_json({"id": "1", "type": "complete"})
    await asyncio.sleep(0.3)
    await place.save(place.ids[0])
    with pytest.raises(asyncio.TimeoutError):
        await socket.receive_json(timeout=0.6)
    await socket.send_json(SUBSCRIBE)  # its id is free again


@ON_SQLITE
async def test_ending_a_subscription_frees_everything(place: Place, settings: Any) -> None:
    from killsync.events.hub import Hub

    def waiting() -> int:
        return sum(hub.subscribers for hub in gc.get_objects() if isinstance(hub, Hub) and not hub.is_stopped)

    for ending in ("complete", "close", "abort"):
        socket = await place.open()
        for number in range(20):
            await socket.send_json({**SUBSCRIBE, "id": str(number)})
        await asyncio.sleep(0.3)
        assert waiting() == 20
        if ending == "complete":
            for number in range(20):
                await socket.send_json({"id": str(number), "type": "complete"})
        elif ending == "close":
            await socket.close()
        else:
            socket._response.connection.transport.abort()
        deadline = time.monotonic() + 5
        while waiting():
            assert time.monotonic() < deadline, (ending, waiting())
            await asyncio.sleep(0.05)


@ON_SQLITE
async def test_ten_thousand_subscriptions_of_one_client_are_bounded(place: Place) -> None:
    socket = await place.open()
    refused = 0
    for number in range(10_000):
        await socket.send_json({**SUBSCRIBE, "id": str(number)})
    codes: set[str] = set()
    while refused < 9_000:
        answer = await socket.receive_json(timeout=20)
        assert answer["type"] == "error"
        codes.add(answer["payload"][0]["extensions"]["code"])
        refused += 1
    assert codes <= {"QUERY_TOO_LARGE", "RATE_LIMITED"}
    async with place.http.get(f"{place.url}/healthz") as answer:
        assert answer.status == 200


async def test_a_slow_subscriber_misses_nothing(place: Place) -> None:
    """Nothing is queued for it: it reads on in the log, however far it is behind."""
    hub = place.hub
    reader = hub.killmails(lambda _: True)
    first = asyncio.ensure_future(anext(reader))
    await asyncio.sleep(0.4)
    for killmail_id in place.ids:
        await place.save(killmail_id)
    got = [(await asyncio.wait_for(first, 5)).killmail_id]
    await asyncio.sleep(0.5)
    got += [(await asyncio.wait_for(anext(reader), 5)).killmail_id for _ in place.ids[1:]]
    assert got == place.ids
    await reader.aclose()
    assert hub.subscribers == 0


@pytest.mark.slow
@ON_SQLITE
async def test_a_thousand_subscribers_hear_of_a_killmail_within_a_second(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(rates.RATES, "socket", rates.Rate(5000, 5000))
    monkeypatch.setitem(rates.RATES, "graphql", rates.Rate(5000, 5000))
    monkeypatch.setitem(shares.LIMITS, "open sockets", shares.Most(1, 1_000, 1_000, 1_000))
    monkeypatch.setattr(connections, "MOST_OF_ONE", 1_000)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as http:
        place.http = http
        sockets = []
        for _ in range(10):
            sockets += await asyncio.gather(*(place.open() for _ in range(100)))
        query = "subscription { newKillmail { id killmailTime victim { character { name } shipType { id name } } attackerCount } }"
        for socket in sockets:
            await socket.send_json({"id": "1", "type": "subscribe", "payload": {"query": query}})
        await asyncio.sleep(2)
        began = time.monotonic()
        await place.save(place.ids[0])
        answers = await asyncio.gather(*(socket.receive_json(timeout=10) for socket in sockets))
        seconds = time.monotonic() - began
        assert {answer["payload"]["data"]["newKillmail"]["id"] for answer in answers} == {str(place.ids[0])}
        print(f"1,000 subscribers after {seconds:.2f} s")
        # A second is the aim; the clients share this process and its one core, so twice that is allowed here.
        assert seconds < 2.0


HEAVY = "{ id killmailTime victim { character { id name } shipType { id name } } attackers { character { id name } damageDone } items { flag } }"


@ON_SQLITE
async def test_equal_selections_are_executed_once_whatever_is_filtered(place: Place) -> None:
    from graphql_api.http import API

    api = place.app[API]
    kill = place.universe.kills[place.ids[0]]
    who = kill.victim_id or kill.attackers[0]
    socket, other = await place.open(), await place.open()
    asked = [
        (f"subscription {{ newKillmail {HEAVY} }}", None),
        (f'subscription {{ newKillmail(filter: {{characterId: "{who}"}}) {HEAVY} }}', None),
        (f"subscription A($f: KillmailFilter) {{ newKillmail(filter: $f) {HEAVY} }}", {"f": {"characterId": str(who)}}),
        (f"subscription B($f: KillmailFilter) {{\n newKillmail(filter: $f) {HEAVY} }}", {"f": None}),
        ("subscription { newKillmail { id } }", None),
        ("subscription ($no: Boolean = true) { newKillmail { id solo @skip(if: $no) } }", None),
        ("subscription ($no: Boolean = true) { newKillmail { id solo @skip(if: $no) } }", {"no": False}),
    ]
    for number, (query, variables) in enumerate(asked):
        for each in (socket, other):
            await each.send_json(
                {"id": str(number), "type": "subscribe", "payload": {"query": query, "variables": variables}}
            )
    await asyncio.sleep(0.4)
    before = api.broadcast.executed
    await place.save(place.ids[0])
    answers: dict[str, set[str]] = {}
    for each in (socket, other):
        for _ in asked:
            heard = await each.receive_json(timeout=5)
            answers.setdefault(heard["id"], set()).add(json.dumps(heard["payload"], sort_keys=True))
    assert all(len(texts) == 1 for texts in answers.values())
    assert answers["0"] == answers["1"] == answers["2"] == answers["3"] != answers["4"] != answers["6"]
    assert answers["4"] == answers["5"] and "solo" in next(iter(answers["6"]))
    assert api.broadcast.executed - before == 4


@ON_SQLITE
async def test_what_events_cost_is_counted_when_a_subscription_begins(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(shares.LIMITS, "points of open subscriptions", shares.Most(1_000, 1_510, 1_510, 1_510))
    socket = await place.open()

    async def refused(socket: Any, number: int) -> dict[str, Any] | None:
        query = f"subscription {{ newKillmail {{ a{number}: id attackers {{ character {{ name }} }} }} }}"
        await socket.send_json({"id": str(number), "type": "subscribe", "payload": {"query": query}})
        await asyncio.sleep(0.1)
        await socket.send_json({"type": "ping"})
        found = None
        while (heard := await socket.receive_json(timeout=5))["type"] != "pong":
            found = heard["payload"][0] if heard["id"] == str(number) else found
        return found

    codes = [await refused(socket, number) for number in range(24)]
    assert codes[0] is None and codes[-1] is not None
    assert codes[-1]["extensions"]["code"] == "QUERY_TOO_LARGE"
    assert codes[-1]["extensions"]["what"] == "points of open subscriptions of one socket"
    other = await place.open()
    codes = [await refused(other, number) for number in range(100, 114)]
    assert codes[-1] is not None and codes[-1]["extensions"]["what"] == "points of open subscriptions of one address"
    assert await refused(other, 0) is None, "what somebody selects already costs little"
    await socket.close()
    await asyncio.sleep(0.2)
    assert await refused(other, 200) is None, "what is closed is given back"


@ON_SQLITE
@pytest.mark.parametrize("kind", ["errors", "pings", "websocket pings", "results"])
async def test_a_client_that_does_not_take_its_answers_is_not_heard_and_holds_little(
    place: Place, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    import psutil

    from graphql_api import outbox
    from tests.support.web_server import fill

    fill(place.universe)
    monkeypatch.setattr(outbox, "SEND_SECONDS", 3.0)
    monkeypatch.setitem(rates.RATES, "graphql", rates.Rate(100_000, 100_000))
    monkeypatch.setitem(rates.RATES, "computing", rates.Rate(1_000, 1_000))
    socket = await place.open()
    # The client's own buffer is left as it is from here on: nothing more is read.
    socket._response.connection.transport.pause_reading()
    message = {
        "errors": json.dumps({"type": "subscribe", "payload": {"query": "{" + "x" * 500}, "id": "%d"}),
        "pings": json.dumps({"type": "ping", "payload": "x" * 2_000}),
        "websocket pings": "",
        "results": json.dumps(
            {
                "type": "subscribe",
                "payload": {"query": "{ killmails(first: 40) { edges { node " + HEAVY + " } } }"},
                "id": "%d",
            }
        ),
    }[kind]
    before, sent = psutil.Process().memory_info().rss, 0
    try:
        async with asyncio.timeout(8):
            for number in range(300_000):
                if kind == "websocket pings":
                    await socket.ping(b"x" * 120)
                else:
                    await socket.send_str(message.replace("%d", str(number)))
                sent += 1
    except (TimeoutError, ConnectionError):
        pass
    assert sent < 250_000
    assert psutil.Process().memory_info().rss - before < 80_000_000
    async with place.http.get(f"{place.url}/healthz") as answer:
        assert answer.status == 200


@ON_SQLITE
async def test_answers_that_pile_up_close_the_socket_with_a_reason(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    from graphql_api import outbox

    monkeypatch.setitem(shares.LIMITS, "bytes of answers not taken", shares.Most(30, 10_000, 10_000, 10_000))
    socket = await place.open()
    await socket.send_json({"id": "1", "type": "subscribe", "payload": {"query": "{ __schema { types { name } } }"}})
    assert await closed_with(socket) == outbox.POLICY


@ON_SQLITE
async def test_each_address_has_so_many_sockets(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(shares.LIMITS, "open sockets", shares.Most(1, 3, 3, 100))
    held = [await place.open() for _ in range(3)]
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await place.open()
    assert refused.value.status == 503
    await held[0].close()
    await asyncio.sleep(0.2)
    await place.open()
