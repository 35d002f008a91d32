"""An hour with fifty characters and ESI's real limits, at speeded-up time, counted at the simulator."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support.deployment import wait_until
from tests.support.player import Player
from tests.support.resources import PROJECT

SPEED = 40.0
HOUR = 3600.0
KILLS = (2500, 2400, 2300, 2200, 2100, 2000, 1900, 1800, *([900] * 42))


@pytest.mark.waits
@pytest.mark.timeout(400)
@pytest.mark.parametrize("hosts", [1, 2])
async def test_an_hour_of_first_walks_uses_the_budget_and_is_never_told_off(deployment: Any, hosts: int) -> None:
    place = deployment({"characters": 60, "kills": KILLS, "speed": SPEED}, LOG_LEVEL="WARNING", MAX_PAGES="50")
    place.start_web()
    everyone = [pilot.character_id for pilot in list(place.simulated.simulator.universe.characters.values())[:50]]
    backlog = place.simulated.call(
        lambda sim: len({n for pilot in everyone for n, _ in sim.universe.listed("character", pilot, sim.clock.now())})
    )
    assert backlog > 8_000, "more than an hour's budget can fetch"
    for pilot in everyone:
        async with Player(place.url) as player:
            assert (await player.log_in(pilot)).status == 302
    place.sql('UPDATE "user" SET next_sync_at = NULL')  # their first syncs are queued; no poll disturbs the count
    started = place.simulated.call(lambda sim: sim.clock._started)
    for host in range(hosts):
        arguments = ("-m", "tests.support.fast_worker", repr(started), str(SPEED), "12")
        place.start(f"worker-{host}", "python", *arguments, PYTHONPATH=str(PROJECT))
    place.start_scheduler()
    wait_until(lambda: place.simulated.call(lambda sim: sim.esi.tokens["killmail"]) > 0, "details flow", 30)
    began = place.simulated.call(lambda sim: sim.clock.now())
    while place.simulated.call(lambda sim: sim.clock.now()) < began + HOUR:
        await asyncio.sleep(0.5)
    answers, tokens, early = place.simulated.call(
        lambda sim: (dict(sim.esi.answers), sim.esi.tokens["killmail"], sim.esi.early_requests)
    )
    told_off = {key: number for key, number in answers.items() if key[1] in (420, 429)}
    # A bucket of 3,600 in 15 minutes gives four times that in an hour that begins with a full one; a backlog leaves 5 %.
    usable = 4 * (3600 - 180)
    print(f"{hosts} host(s): {tokens} tokens of {usable} usable and 14400 in all, {answers}")
    assert told_off == {}
    assert early == 0
    assert tokens >= 0.95 * usable
    details = place.simulated.call(lambda sim: sim.esi.details.most_common(1)[0][1])
    assert details == 1, "no killmail was fetched twice"
    assert place.sql("SELECT count(*) FROM killmail_ref WHERE state = 'pending'")[0][0] > 0, "the backlog lasted"
