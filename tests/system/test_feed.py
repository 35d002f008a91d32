"""The feed under fire: four processes store at once, are killed, lose their database; who polls, streams or subscribes has
every number once, in order."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from typing import Any

from tests.chaos.world import Subscriber
from tests.support.deployment import wait_until
from tests.support.event_stream import EventStream
from tests.support.player import Player
from tests.support.r2z2 import R2Z2, in_a_thread

KILLS = (120, 120, 120, 120)


async def test_numbers_have_no_gap_while_workers_are_killed_and_the_database_goes_away(deployment: Any) -> None:
    place = deployment({"kills": KILLS, "latency": 0.05, "limits": False})
    place.start_web()
    client, stream, subscriber = R2Z2(place.url, pause=0.2, begin=1), EventStream(place.url), Subscriber(place.url)
    with in_a_thread(client.run(10**6), stream.run()):
        try:
            await store_under_fire(place)
            log = place.sql("SELECT sequence, killmail_id FROM killmail_log ORDER BY sequence")

            def told() -> tuple[int, int, int]:
                return len(client.entries), len(stream.told), len(subscriber.heard)

            with contextlib.suppress(AssertionError):
                await asyncio.to_thread(wait_until, lambda: min(told()) >= len(log), "everybody is told", 30)
            assert told() == (len(log),) * 3, (stream.refusals, stream.returns)
        finally:
            subscriber.stop()
    client.check()
    assert [(entry["sequence_id"], entry["killmail_id"]) for entry in client.entries] == log
    assert not stream.problems(log) and stream.returns, "the web process was killed, so it came back"
    # Prices and static data come while killmails are told, so one of two readers may hear what a killmail is worth before.
    assert [without_worth(entry) for entry in stream.entries] == [without_worth(entry) for entry in client.entries]
    assert not subscriber.jumps and subscriber.heard == dict.fromkeys((number for _, number in log), 1)
    assert place.sql("SELECT count(*) FROM killmail WHERE sequence IS NULL") == [(0,)]
    universe = place.simulated.simulator.universe
    assert all(entry["esi"] == universe.body(entry["killmail_id"]) for entry in client.entries)


async def store_under_fire(place: Any) -> None:
    """Have four workers store all killmails of four pilots, while each is killed once, and the web process too."""
    for number in range(4):
        place.start_worker(f"worker {number}", threads=4)
    place.start_scheduler()
    for pilot in place.simulated.simulator.universe.demo_characters[: len(KILLS)]:
        async with Player(place.url) as player:
            assert (await player.log_in(pilot.character_id)).status == 302
    wanted = len({number for character in place.simulated.simulator.universe.demo_characters[: len(KILLS)]
                  for number in listed(place, character.character_id)})  # fmt: skip
    for number in range(4):
        await asyncio.to_thread(
            wait_until, lambda number=number: stored(place) >= (number + 1) * 20, "killmails flow", 60
        )
        place.stop(f"worker {number}", signal.SIGKILL)
        place.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
                  "AND pid <> pg_backend_pid()")  # fmt: skip
        if number == 2:
            place.stop("web", signal.SIGKILL)
            place.start_web()
        place.start_worker(f"worker {number}", threads=4)
    # What a killed worker had in hand is sent again when its claim has run out.
    place.sql("UPDATE killmail_ref SET due_at = now() - interval '1 minute' WHERE state = 'pending'")
    await asyncio.to_thread(wait_until, lambda: stored(place) >= wanted, "all is stored", 120)


def without_worth(entry: dict[str, Any]) -> dict[str, Any]:
    return {**entry, "zkb": sorted(entry["zkb"])}


def stored(place: Any) -> int:
    return int(place.sql("SELECT count(*) FROM killmail")[0][0])


def listed(place: Any, character_id: int) -> list[int]:
    """The killmails on a character's list at ESI."""
    kills = place.simulated.simulator.universe.kills.values()
    return [kill.killmail_id for kill in kills if character_id in (kill.victim_id, kill.credited_id)]
