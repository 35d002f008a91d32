"""What an operation may do while it runs: time in the database, rows, values, the event loop, threads."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from graphql_api.tartiflette import engine
from killsync.killmails import queries
from killsync.killmails.killmail import Attacker, Entity, ItemType, Killmail, SolarSystem, Victim
from models.prepared import Prepared
from models.sql import rows
from models.threads import Busy, _Pool, read_db
from models.users import User
from models.work import CALLER, CURRENT, Lane, OutOfTime, Work
from tests.support.web_server import fill, new_universe, served

WIDE = (
    "{ killmails(first: 100) { edges { node { id attackers { character { id name } corporation { id name } alliance { id name } "
    "shipType { id name } weaponType { id name } damageDone finalBlow securityStatus } } } } }"
)


class Client:
    def __init__(self, url: str, http: aiohttp.ClientSession) -> None:
        self._url, self._http = url, http

    async def ask(self, query: str) -> dict[str, Any]:
        async with self._http.post(f"{self._url}/graphql", json={"query": query}) as answer:
            found: dict[str, Any] = await answer.json(content_type=None)
            return found


@pytest_asyncio.fixture
async def client(settings: Any) -> AsyncIterator[Client]:
    fill(new_universe(kills=(30, 20)))
    async with served(settings) as url, aiohttp.ClientSession() as http:
        yield Client(url, http)


#: Every user, by a query that was written down.
ALL_USERS = Prepared(lambda: User.select(), lists=0)


def _slow(postgres: bool) -> Any:
    if postgres:
        return rows("SELECT pg_sleep(10)")
    return rows(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000000) SELECT count(*) FROM n"
    )


async def test_a_statement_ends_with_the_time_of_its_operation(client: Client, settings: Any) -> None:
    token = CURRENT.set(Work(Lane(), 0.3, 100, 100))
    began = time.monotonic()
    try:
        with pytest.raises(OutOfTime):
            await read_db(_slow, settings.database_url.startswith("postgres"))
        assert 0.2 < time.monotonic() - began < 3
        with pytest.raises(OutOfTime):
            await read_db(lambda: list(ALL_USERS.fetch()))
    finally:
        CURRENT.reset(token)
    # The connection serves the next one as if nothing had been.
    assert await read_db(lambda: list(ALL_USERS.fetch())) == []


async def test_an_operation_that_reads_too_many_rows_is_stopped_and_told_how_many(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "errors" not in await client.ask(WIDE)
    monkeypatch.setattr(engine, "MOST_ROWS", 120)
    answer = await client.ask("{" + " ".join(f"a{n}: {WIDE[1:-1]}" for n in range(3)) + "}")
    assert answer.get("data") is None
    (error,) = answer["errors"]
    assert error["extensions"]["code"] == "QUERY_TOO_LARGE"
    assert error["extensions"]["what"] == "rows read"
    assert error["extensions"]["found"] > error["extensions"]["limit"] == 120


@pytest.mark.parametrize("query", [WIDE, "{ __schema { types { name fields { name type { name } } } } }"])
async def test_an_operation_that_builds_too_many_values_is_stopped_and_told_how_many(
    client: Client, monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    monkeypatch.setattr(engine, "MOST_VALUES", 150)
    (error,) = (await client.ask(query))["errors"]
    assert error["extensions"]["code"] == "QUERY_TOO_LARGE"
    assert error["extensions"]["what"] == "values built"
    assert error["extensions"]["found"] > error["extensions"]["limit"] == 150


async def test_an_operation_out_of_time_says_what_it_had_come_to(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "MOST_SECONDS", 0.2)
    monkeypatch.setattr(queries, "page", lambda *_, **__: time.sleep(0.6))
    (error,) = (await client.ask(WIDE))["errors"]
    assert error["extensions"] == {"code": "TIMEOUT", "rows": 0, "values": 0}


def _battle(number: int, attackers: int) -> Killmail:
    moment, ship = datetime(2026, 8, 1, tzinfo=UTC), ItemType(587, "Rifter")
    attacker = [
        Attacker(character=Entity(each, "Pilot"), corporation=Entity(7, "Corporation"), ship_type=ship, weapon_type=ship,
                 damage_done=1, final_blow=each == 0, security_status=-1.5)
        for each in range(attackers)
    ]  # fmt: skip
    return Killmail(
        killmail_id=number, killmail_hash="0" * 40, killmail_time=moment, solar_system=SolarSystem(30000142, "Jita"),
        victim=Victim(ship_type=ship, damage_taken=1), attackers=attacker, attacker_count=attackers, created_at=moment,
    )  # fmt: skip


async def _longest_freeze(work: Any) -> tuple[float, Any]:
    """How long the event loop was away at most while *work* was awaited, seconds, and its result."""
    longest, is_over = 0.0, False

    async def watch() -> None:
        nonlocal longest
        while not is_over:
            # This thread's own time: what a busy machine takes away freezes nobody here.
            began = time.thread_time()
            await asyncio.sleep(0.001)
            longest = max(longest, time.thread_time() - began)

    watching = asyncio.create_task(watch())
    await asyncio.sleep(0.05)
    result = await work
    is_over = True
    await watching
    return longest, result


@pytest.mark.slow
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_no_operation_freezes_the_process_for_a_tenth_of_a_second(
    settings: Any, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    battles = [_battle(number, 1_000) for number in range(1, 21)]
    monkeypatch.setattr(queries, "page", lambda *_, **__: queries.Page(battles, has_next=False))
    api = await engine.Api.make()
    from graphql_api.encoding import encode

    async def run(query: str) -> dict[str, Any]:
        result = await api.execute(await api.operation(query, None, {}), None, _Anybody())
        await encode(result)
        return result

    monkeypatch.setattr("graphql_api.queries.killmail_filter", _no_filter)
    # As the web process does when it has started.
    gc.collect()
    gc.freeze()
    request.addfinalizer(gc.unfreeze)
    freeze, result = await _longest_freeze(run(WIDE))
    assert len(result["data"]["killmails"]["edges"]) == 20
    assert freeze < 0.1, freeze
    introspection = "{ __schema { types { name fields { name args { name type { name ofType { name } } } type { name ofType { name } } } } } }"
    freeze, _ = await _longest_freeze(asyncio.gather(*(run(introspection) for _ in range(10))))
    assert freeze < 0.1, freeze
    monkeypatch.setattr(queries, "page", lambda *_, **__: queries.Page(battles * 4, has_next=False))
    freeze, result = await _longest_freeze(run(WIDE))
    assert result["errors"][0]["extensions"]["code"] == "QUERY_TOO_LARGE"
    assert freeze < 0.1, freeze


class _Anybody:
    async def allow(self, _need: Any) -> None:
        pass


async def _no_filter(*_: Any) -> None:
    return None


def test_a_caller_with_many_calls_leaves_threads_and_places_for_others() -> None:
    pool = _Pool("test", threads=8, most_waiting=40)
    go_on = threading.Event()
    token = CALLER.set("greedy")
    waiting = []
    try:
        with pytest.raises(Busy):
            waiting.extend(pool.submit(lambda: go_on.wait(20)) for _ in range(100))
        assert 4 + 10 < len(waiting) < 4 + 40
        for name in ("modest", "another", None):
            CALLER.set(name)
            assert pool.submit(lambda: 7).result(timeout=5) == 7
        go_on.set()
        assert all(each.result(timeout=20) for each in waiting)
    finally:
        go_on.set()
        CALLER.reset(token)


def test_callers_that_wait_take_turns() -> None:
    pool = _Pool("test", threads=1, most_waiting=40)
    order: list[str] = []
    go_on = threading.Event()
    token = CALLER.set(None)
    calls = [pool.submit(lambda: go_on.wait(20))]
    try:
        for name in ("first", "first", "first", "second", "second"):
            CALLER.set(name)
            calls.append(pool.submit(lambda name=name: order.append(name)))
        go_on.set()
        for each in calls:
            each.result(timeout=20)
        assert order == ["first", "second", "first", "second", "first"]
    finally:
        go_on.set()
        CALLER.reset(token)
