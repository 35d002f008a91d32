"""The feed under fire: four processes store at once, are killed, lose their database; who polls has every number once, in order."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import Any

from tests.support.deployment import wait_until
from tests.support.player import Player
from tests.support.r2z2 import R2Z2

KILLS = (120, 120, 120, 120)


async def test_numbers_have_no_gap_while_workers_are_killed_and_the_database_goes_away(deployment: Any) -> None:
    place = deployment({"kills": KILLS, "latency": 0.05, "limits": False})
    place.start_web()
    client = R2Z2(place.url, pause=0.2, begin=1)
    for number in range(4):
        place.start_worker(f"worker {number}", threads=4)
    place.start_scheduler()
    for pilot in place.simulated.simulator.universe.demo_characters[: len(KILLS)]:
        async with Player(place.url) as player:
            assert (await player.log_in(pilot.character_id)).status == 302
    polling = asyncio.create_task(client.run(10**6))
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
    deadline = time.monotonic() + 20
    while len(client.entries) < stored(place) and time.monotonic() < deadline:
        await asyncio.sleep(0.2)
    polling.cancel()
    client.check()
    log = place.sql("SELECT sequence, killmail_id FROM killmail_log ORDER BY sequence")
    assert [(entry["sequence_id"], entry["killmail_id"]) for entry in client.entries] == log
    assert place.sql("SELECT count(*) FROM killmail WHERE sequence IS NULL") == [(0,)]
    universe = place.simulated.simulator.universe
    assert all(entry["esi"] == universe.body(entry["killmail_id"]) for entry in client.entries)


def stored(place: Any) -> int:
    return int(place.sql("SELECT count(*) FROM killmail")[0][0])


def listed(place: Any, character_id: int) -> list[int]:
    """The killmails on a character's list at ESI."""
    kills = place.simulated.simulator.universe.kills.values()
    return [kill.killmail_id for kill in kills if character_id in (kill.victim_id, kill.credited_id)]
