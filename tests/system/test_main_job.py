"""The main job: a player logs in, and all their killmails are stored, named, and told of. On real parts throughout."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from typing import Any

from gql import Client, GraphQLRequest
from gql.transport.aiohttp_websockets import AIOHTTPWebsocketsTransport

from killsync import settings as settings_module
from simulator import Handle
from tests.support.comparison import served_killmail, stored_killmail
from tests.support.embedded import embedded
from tests.support.player import Player

KILLS = {"kills": (120, 70, 30), "list_cache_seconds": 2.0}

RECENT = """
SELECT k.killmail_id, k.killmail_time, c.name as victim_name
FROM killmail k
JOIN victim v ON k.killmail_id = v.killmail_id
JOIN character c ON v.character_id = c.character_id
ORDER BY k.killmail_time DESC
LIMIT 10;
"""
PER_USER = """
SELECT u.character_name, COUNT(DISTINCT k.killmail_id) as killmail_count
FROM "user" u
LEFT JOIN victim v ON u.character_id = v.character_id
LEFT JOIN killmail k ON v.killmail_id = k.killmail_id
GROUP BY u.character_name
ORDER BY killmail_count DESC;
"""
WORKER_STATUS = """
query {
  workerStatus {
    queueName
    messageCount
    consumerCount
  }
}
"""


async def test_from_login_to_websocket_on_postgresql_and_rabbitmq(deployment: Any) -> None:
    place = deployment(KILLS)
    place.start_web()
    place.start_worker(processes=2, threads=4)
    place.start_scheduler()
    await _whole_path(place.url, place.simulated, place.sql, "%s")
    story = place.log("worker")
    for part in ("fetching killmails from ESI", "page read", "sync completed", "saved=", "skipped=", "errors=0"):
        assert part in story, part
    assert "Traceback" not in place.logs()


async def test_the_same_on_sqlite_and_the_in_memory_broker(settings: Any, against: Any, simulated: Any) -> None:
    sql, mark = _from_outside(settings), "%s" if settings.uses_postgres else "?"
    handle = simulated(**KILLS)
    async with embedded(against(handle)) as url:
        await _whole_path(url, handle, sql, mark)


def _from_outside(settings: settings_module.Settings) -> Any:
    """SQL by a connection that is none of the project's."""

    def run(statement: str, parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        if settings.uses_postgres:
            import psycopg2

            database: Any = psycopg2.connect(settings.database_url)
        else:
            database = sqlite3.connect(settings.database_url.removeprefix("sqlite:///"))
        with contextlib.closing(database):
            cursor = database.cursor()
            cursor.execute(statement, parameters)
            return list(cursor.fetchall())

    return run


async def _whole_path(url: str, handle: Handle, sql: Any, mark: str) -> None:
    pilots = [pilot.character_id for pilot in handle.simulator.universe.demo_characters]
    async with Player(url) as player:
        done = await player.log_in(pilots[0])
        assert (done.status, done.headers["Location"]) == (302, "/")
        for pilot in pilots[1:]:
            done = await player.add(pilot)
            assert (done.status, done.headers["Location"]) == (302, "/me")
        await _synced(player, len(pilots))
        await _names_known(sql)

        _everything_is_stored_as_esi_serves_it(handle, pilots, sql, mark)
        figures = handle.call(lambda simulator: dict(simulator.esi.details))
        assert set(figures.values()) == {1}, "a killmail of several characters is fetched once"
        _the_documented_sql_works(handle, pilots, sql)

        data = await player.data("{ me { characterId killmailCount status } myCharacters { characterId } }")
        assert data["me"]["characterId"] == str(pilots[-1])
        assert {each["characterId"] for each in data["myCharacters"]} == set(map(str, pilots))
        queues = (await player.data(WORKER_STATUS))["workerStatus"]
        assert len(queues) == 5 and all(each["consumerCount"] >= 1 for each in queues), queues

        await _a_new_kill_reaches_a_subscriber(player, handle, pilots[0])
        await _a_sync_without_news_costs_one_request(player, handle, pilots[1], sql)


async def _synced(player: Player, characters: int) -> None:
    deadline = time.monotonic() + 60
    while True:
        data = await player.data("{ syncRuns(first: 100) { edges { node { status found saved skipped errors } } } }")
        runs = [edge["node"] for edge in data["syncRuns"]["edges"]]
        if len(runs) >= characters and all(run["status"] == "SUCCEEDED" for run in runs):
            assert all(run["errors"] == 0 and run["saved"] + run["skipped"] == run["found"] for run in runs), runs
            return
        assert time.monotonic() < deadline, runs
        await asyncio.sleep(0.2)


async def _names_known(sql: Any) -> None:
    tables = ("character", "corporation", "alliance", "faction", "item_type", "solar_system")
    deadline = time.monotonic() + 30
    while True:
        unnamed = {table: sql(f"SELECT count(*) FROM {table} WHERE name IS NULL")[0][0] for table in tables}
        if not any(unnamed.values()):
            return
        assert time.monotonic() < deadline, unnamed
        await asyncio.sleep(0.2)


def _everything_is_stored_as_esi_serves_it(handle: Handle, pilots: list[int], sql: Any, mark: str) -> None:
    universe = handle.simulator.universe
    listed: dict[int, str] = {}
    for pilot in pilots:
        listed.update(handle.call(lambda sim, pilot=pilot: sim.universe.listed("character", pilot, sim.clock.now())))
    assert len(listed) > 150
    for killmail_id, killmail_hash in listed.items():
        assert stored_killmail(sql, killmail_id, mark) == served_killmail(universe.body(killmail_id), killmail_hash)
    assert sql("SELECT count(*) FROM killmail")[0][0] == len(listed)
    assert sql("SELECT count(*) FROM killmail_ref WHERE state = 'fetched'")[0][0] == len(listed)
    for table, key in (("character", "character_id"), ("corporation", "corporation_id"), ("alliance", "alliance_id"),
                       ("item_type", "type_id"), ("solar_system", "system_id"), ("faction", "faction_id")):  # fmt: skip
        for number, name in sql(f"SELECT {key}, name FROM {table}"):
            assert universe.name_of(number)[1] == name


def _the_documented_sql_works(handle: Handle, pilots: list[int], sql: Any) -> None:
    newest = sql(RECENT)
    assert len(newest) == 10 and all(name for _, _, name in newest)
    counts = dict(sql(PER_USER))
    universe = handle.simulator.universe
    for pilot in pilots:
        losses = sum(1 for number in universe.by_character[pilot] if universe.kills[number].victim_id == pilot)
        assert counts[universe.characters[pilot].name] == losses


async def _a_new_kill_reaches_a_subscriber(player: Player, handle: Handle, pilot: int) -> None:
    transport = AIOHTTPWebsocketsTransport(
        url=player.url.replace("http", "ws") + "/graphql",
        headers=player.cookies(),
        subprotocols=["graphql-transport-ws"],
    )
    query = "subscription ($who: ID) { newKillmail(filter: {characterId: $who}) { id killmailTime attackers { damageDone } } }"
    async with Client(transport=transport) as client:
        events = client.subscribe(GraphQLRequest(query, variable_values={"who": str(pilot)}))
        first = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0.5)
        kill = handle.call(lambda simulator: simulator.new_kill(pilot))
        await asyncio.sleep(2.2)  # the list page's cache runs out
        await player.data("mutation ($who: ID) { syncMyKillmails(characterId: $who) { id } }", who=str(pilot))
        event = await asyncio.wait_for(first, 20)
        assert event["newKillmail"]["id"] == str(kill.killmail_id)
        await events.aclose()


async def _a_sync_without_news_costs_one_request(player: Player, handle: Handle, pilot: int, sql: Any) -> None:
    await asyncio.sleep(2.2)
    before = handle.call(lambda simulator: dict(simulator.esi.answers))
    data = await player.data("mutation ($who: ID) { syncMyKillmails(characterId: $who) { id } }", who=str(pilot))
    run_id = int(data["syncMyKillmails"]["id"])
    deadline = time.monotonic() + 20
    while not (
        row := sql(
            f"SELECT saved, esi_requests, esi_tokens FROM sync_run WHERE id = {run_id} AND finished_at IS NOT NULL"
        )
    ):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)
    after = handle.call(lambda simulator: dict(simulator.esi.answers))
    spent = {key: number - before.get(key, 0) for key, number in after.items() if number != before.get(key, 0)}
    assert list(spent.values()) == [1] and next(iter(spent))[1] == 304, spent
    assert row == [(0, 1, 1)]
