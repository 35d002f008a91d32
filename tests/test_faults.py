"""Faults of the services while killmails flow: in the end everything ESI listed is stored, once, and was told of."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import Any

from tests.comparing import served_killmail, stored_killmail
from tests.deployment import wait_until
from tests.places import rabbitmqctl
from tests.player import Player

CONFIG = {"kills": (240, 120, 60), "latency": 0.02, "list_cache_seconds": 5.0}


def listed(place: Any) -> dict[int, str]:
    """Every killmail that the lists of the demo characters name."""

    def collect(simulator: Any) -> dict[int, str]:
        found: dict[int, str] = {}
        for pilot in simulator.universe.demo_characters:
            found.update(simulator.universe.listed("character", pilot.character_id, simulator.clock.now()))
        return found

    found: dict[int, str] = place.simulated.call(collect)
    return found


async def begin(place: Any) -> None:
    """Log everybody in and wait until the details flow."""
    for pilot in place.simulated.simulator.universe.demo_characters:
        async with Player(place.url) as player:
            assert (await player.log_in(pilot.character_id)).status == 302
    wait_until(lambda: place.sql("SELECT count(*) FROM killmail")[0][0] >= 10, "details flow")


def everything_is_stored(place: Any, seconds: float = 90) -> None:
    """Wait until all that is listed is stored and named, then compare each killmail."""
    expected = listed(place)
    wait_until(lambda: place.sql("SELECT count(*) FROM killmail")[0][0] >= len(expected), "all is stored", seconds)
    assert place.sql("SELECT count(*), count(DISTINCT killmail_id) FROM killmail") == [(len(expected), len(expected))]
    for killmail_id, killmail_hash in expected.items():
        body = place.simulated.simulator.universe.body(killmail_id)
        assert stored_killmail(place.sql, killmail_id, "%s") == served_killmail(body, killmail_hash)
    told = place.sql("SELECT subject_id, count(*) FROM event WHERE kind = 'killmail' GROUP BY subject_id")
    assert {number for number, _ in told} == set(expected) and {count for _, count in told} == {1}
    wait_until(lambda: place.sql('SELECT count(*) FROM "character" WHERE name IS NULL')[0][0] == 0, "all is named", 60)


def start_all(place: Any) -> None:
    place.start_web()
    place.start_worker(threads=6)
    place.start_scheduler()


async def test_database_connections_are_cut(deployment: Any) -> None:
    place = deployment(CONFIG)
    start_all(place)
    await begin(place)
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    for _ in range(3):
        place.sql(cut)
        await asyncio.sleep(0.7)
    everything_is_stored(place)
    for name, process in place.processes.items():
        assert process.poll() is None, f"{name} lives on"
    wait_until(lambda: place.get("/readyz")[0] == 200, "ready again", 15)


async def test_broker_connections_are_cut_and_its_queues_emptied(deployment: Any) -> None:
    place = deployment(CONFIG)
    start_all(place)
    await begin(place)
    vhost = place.settings["BROKER_URL"].rsplit("/", 1)[1]
    rabbitmqctl("close_all_connections", "--vhost", vhost, "a test")
    for queue in ("esi_user_killmails_queue", "esi_killmail_details_queue", "esi_enrichment_queue"):
        rabbitmqctl("purge_queue", "-p", vhost, queue)
    # Messages that were lost are sent again when their claim runs out; here that has happened already.
    place.sql("UPDATE killmail_ref SET due_at = now() WHERE state = 'pending'")
    place.sql("UPDATE \"user\" SET next_sync_at = now() WHERE status = 'active'")
    everything_is_stored(place)
    wait_until(lambda: place.get("/readyz")[0] == 200, "ready again", 15)


async def test_a_worker_is_killed_and_another_takes_over(deployment: Any) -> None:
    place = deployment(CONFIG)
    start_all(place)
    await begin(place)
    place.stop("worker", signal.SIGKILL)
    place.start_worker("second")
    wait_until(lambda: place.log("second").count("pages done") == 3, "the walks go on at once", 30)
    # What was claimed and never sent, because the worker died in between, is due again when its claim runs out.
    place.sql("UPDATE killmail_ref SET due_at = now() WHERE state = 'pending'")
    everything_is_stored(place)


async def test_a_subscriber_hears_of_what_happened_while_the_listener_was_cut(deployment: Any) -> None:
    from gql import Client, GraphQLRequest
    from gql.transport.aiohttp_websockets import AIOHTTPWebsocketsTransport

    place = deployment({"kills": (40, 10, 5), "latency": 0.05})
    place.start_web()
    address = place.url.replace("http", "ws") + "/graphql"
    transport = AIOHTTPWebsocketsTransport(url=address, subprotocols=["graphql-transport-ws"])
    heard: list[int] = []
    async with Client(transport=transport) as client:

        async def listen() -> None:
            async for event in client.subscribe(GraphQLRequest("subscription { newKillmail { id } }")):
                heard.append(int(event["newKillmail"]["id"]))  # noqa: PERF401 - others look at it meanwhile

        listening = asyncio.create_task(listen())
        await asyncio.sleep(0.5)
        place.start_worker()
        async with Player(place.url) as player:
            await player.log_in(place.simulated.simulator.universe.demo_characters[0].character_id)
        expected = 40
        deadline = time.monotonic() + 60
        while len(heard) < expected:
            place.sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND query LIKE 'LISTEN%'"
            )
            assert time.monotonic() < deadline, (len(heard), place.sql("SELECT count(*) FROM killmail"))
            await asyncio.sleep(0.3)
        listening.cancel()
    assert len(heard) == len(set(heard)) == expected


async def test_esi_is_down_for_a_while_and_nothing_is_counted_against_anybody(deployment: Any) -> None:
    place = deployment(CONFIG)
    start_all(place)
    await begin(place)
    place.simulated.call(lambda simulator: setattr(simulator, "is_down", True))
    await asyncio.sleep(2)
    place.simulated.call(lambda simulator: setattr(simulator, "is_down", False))
    place.sql("UPDATE killmail_ref SET due_at = now() WHERE state = 'pending'")
    everything_is_stored(place)
    assert place.sql("SELECT max(attempts) FROM killmail_ref") == [(1,)]
    assert place.sql("SELECT count(*) FROM killmail_ref WHERE last_error IS NOT NULL") == [(0,)]


async def test_half_of_all_answers_are_502(deployment: Any) -> None:
    from simulator.faults import Fault

    place = deployment({**CONFIG, "kills": (60, 20, 10), "limits": False})
    place.simulated.call(lambda simulator: simulator.faults.append(Fault("/killmails/*", "html", 502, probability=0.5)))
    start_all(place)
    for pilot in place.simulated.simulator.universe.demo_characters:
        async with Player(place.url) as player:
            assert (await player.log_in(pilot.character_id)).status == 302
    expected = len(listed(place))
    deadline = time.monotonic() + 90
    while place.sql("SELECT count(*) FROM killmail")[0][0] < expected:
        place.sql("UPDATE killmail_ref SET due_at = now() WHERE state = 'pending' AND sent_at IS NULL")
        assert time.monotonic() < deadline, place.sql("SELECT state, count(*) FROM killmail_ref GROUP BY state")
        await asyncio.sleep(0.5)
    everything_is_stored(place)
