"""From the simulator making a killmail visible to a WebSocket client having it, with the poll forced.

Once with nothing else to do, and once while 20 other users' history is fetched at full speed.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable
from typing import Any

import dramatiq
from gql import Client, GraphQLRequest
from gql.transport.aiohttp_websockets import AIOHTTPWebsocketsTransport

from bench import place as places
from bench.pipeline import PROCESSES, THREADS, USERS
from bench.simulated import Simulated, simulated
from killsync.broker.rabbitmq import Rabbit
from tests.support.deployment import Deployment, wait_until

#: RabbitMQ's priority of a sync that a person asked for.
PERSON = 2
#: Pilots of whom killmails are awaited at the same time while the others' history is fetched.
PROBED = 8
SUBSCRIPTION = "subscription ($who: ID) { newKillmail(filter: {characterId: $who}) { id } }"


def run(options: Any) -> dict[str, Any]:
    """Percentiles of both, and the goals."""
    wanted = round(options.backfill / USERS * 1.02)
    with simulated([wanted] * USERS + [20] * PROBED, cache_seconds=0.0) as esi, places.deployment(esi) as place:
        place.start_web()
        pilots = esi.pilots(USERS + PROBED)
        places.log_in(place, pilots)
        place.start_worker(processes=PROCESSES, threads=THREADS)
        place.start_scheduler()
        poll = _Poll(place)
        try:
            for pilot in pilots[USERS:]:
                poll(pilot)
            wait_until(lambda: all(_is_at_rest(place, pilot) for pilot in pilots[USERS:]), "the first syncs end")
            idle = asyncio.run(_probe(esi, place, poll, pilots[-1], lambda count: count < options.probes))
            before = places.stored(place)
            for pilot in pilots[:USERS]:
                poll(pilot, priority=0)
            places.wait_for(place, before + 20, 60)
            enough = before + 0.9 * options.backfill

            async def everyone() -> list[list[float]]:
                return await asyncio.gather(
                    *(
                        _probe(esi, place, poll, pilot, lambda count: count < 1 or places.stored(place) < enough)
                        for pilot in pilots[USERS:]
                    )
                )

            busy = [seconds for times in asyncio.run(everyone()) for seconds in times]
        finally:
            poll.close()
    return {"idle": {**_percentiles(idle), "goal p95": 1.0},
            f"during a backfill of {options.backfill:,}": {**_percentiles(busy), "goal p95": 0.7}}  # fmt: skip


class _Poll:
    """Forces a poll of a character: its sync message, as the page sends it."""

    def __init__(self, place: Deployment) -> None:
        self._users = dict(place.sql('SELECT character_id, id FROM "user"'))
        self._broker = Rabbit(url=place.settings["BROKER_URL"], max_priority=3)
        self._broker.declare_queue("esi_user_killmails_queue")

    def __call__(self, character_id: int, priority: int = PERSON) -> None:
        self._broker.enqueue(
            dramatiq.Message(
                "esi_user_killmails_queue", "sync_user_killmails", (), {"user_id": self._users[character_id]},
                {"broker_priority": priority},
            )
        )  # fmt: skip

    def close(self) -> None:
        self._broker.close()


async def _probe(
    esi: Simulated, place: Deployment, poll: _Poll, pilot: int, goes_on: Callable[[int], bool]
) -> list[float]:
    """Seconds of one killmail after the other."""
    times: list[float] = []
    address = place.url.replace("http", "ws") + "/graphql"
    transport = AIOHTTPWebsocketsTransport(url=address, subprotocols=["graphql-transport-ws"])
    async with Client(transport=transport) as client:
        events = client.subscribe(GraphQLRequest(SUBSCRIPTION, variable_values={"who": str(pilot)}))
        heard: asyncio.Queue[str] = asyncio.Queue()

        async def listen() -> None:
            async for event in events:
                heard.put_nowait(event["newKillmail"]["id"])

        listening = asyncio.create_task(listen())
        await asyncio.sleep(0.5)
        while goes_on(len(times)):
            began = time.monotonic()
            kill = await asyncio.to_thread(esi.ask, "/_sim/kills", {"character_id": pilot})
            await asyncio.to_thread(poll, pilot)
            while await asyncio.wait_for(heard.get(), 60) != str(kill["killmail_id"]):
                pass
            times.append(time.monotonic() - began)
            # A sync that still holds the list would put the next one off.
            await asyncio.to_thread(wait_until, lambda: _is_at_rest(place, pilot), "the sync ends")
        listening.cancel()
    return times


def _is_at_rest(place: Deployment, pilot: int) -> bool:
    return not place.sql(
        'SELECT 1 FROM sync_run s JOIN "user" u ON u.id = s.user_id WHERE u.character_id = %s AND s.finished_at IS NULL '
        "UNION ALL SELECT 1 FROM mail_list WHERE subject_id = %s AND leased_until > now()",
        (pilot, pilot),
    )


def _percentiles(times: list[float]) -> dict[str, Any]:
    cuts = statistics.quantiles(times, n=100, method="inclusive")
    return {**{f"p{cut} s": round(cuts[cut - 1], 3) for cut in (50, 95, 99)}, "killmails": len(times)}
