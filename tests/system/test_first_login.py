"""What the names of a first login cost: a request for each thousand, and one for those that are seen first."""

from __future__ import annotations

import math
from typing import Any

from simulator import catalog
from tests.support.deployment import wait_until
from tests.support.player import Player


async def test_the_names_of_2500_killmails_fill_their_requests_and_none_is_of_static_data(deployment: Any) -> None:
    place = deployment({"kills": (2500,), "characters": 1500, "limits": False})
    place.command("killsync", "static-data", "update")
    place.start_web()
    place.start_worker(processes=2, threads=4)
    place.start_scheduler()
    handle = place.simulated
    (pilot, *_) = handle.simulator.universe.characters
    async with Player(place.url) as player:
        assert (await player.log_in(pilot)).status == 302
    wait_until(lambda: place.sql("SELECT count(*) FROM killmail")[0][0] == 2500, "all are stored", 240)
    unnamed = " + ".join(
        f'(SELECT count(*) FROM "{table}" WHERE name IS NULL)'
        for table in ("character", "corporation", "alliance", "faction", "item_type", "solar_system")
    )
    wait_until(lambda: place.sql(f"SELECT {unnamed}")[0][0] == 0, "all are named", 60)
    names = sum(place.sql(f'SELECT count(*) FROM "{each}"')[0][0] for each in ("character", "corporation", "alliance"))
    requests = handle.call(lambda sim: sum(n for (kind, _), n in sim.esi.answers.items() if kind == "names"))
    assert names > 1000
    assert requests <= math.ceil(names / 1000) + 1, (requests, names)
    asked = handle.call(lambda sim: set(sim.names_asked))
    assert not asked.intersection({*catalog.TYPES, *catalog.SYSTEMS})
