"""A first login of thousands of killmails under ESI's real limits, in real time: how much longer than its budget asks for.

What limits it are the pages of the list: fifty killmails each, two tokens of the thirty that a character has in a quarter of
an hour. Who spends all of a window at once waits for its end, so the budget lets the last of fifty pages be asked for 45 minutes
after the first. The details, two tokens each of the address's 3,600, could be had in a third of that.
"""

from __future__ import annotations

import math
import tempfile
import time
from pathlib import Path
from typing import Any

import simulator
from bench import place as places
from killsync.esi import routes
from tests.support.deployment import deployed, wait_until

#: Killmails of the one who logs in, and of a page as the simulator serves it.
LISTED, PAGE = 2_500, 50


def run(_options: Any) -> dict[str, Any]:
    """Seconds from the login to the last killmail, and as a multiple of what the budget allows."""
    allowed = max(_allowed(routes.CHARACTER_KILLMAILS, math.ceil(LISTED / PAGE)), _allowed(routes.KILLMAIL, LISTED))
    config = simulator.SimulatorConfig(characters=1_500, kills=(LISTED,), latency=0.05, many_items=True)
    handle = simulator.run_in_thread(config)
    try:
        with tempfile.TemporaryDirectory() as folder, deployed(Path(folder), handle, LOG_LEVEL="INFO") as place:
            place.start_web()
            place.start_worker(processes=2, threads=16)
            place.start_scheduler()
            began = time.monotonic()
            places.log_in_and_sync(place, next(iter(handle.simulator.universe.characters)))
            wait_until(lambda: places.stored(place) >= LISTED, f"{LISTED} killmails are stored", 2 * allowed)
            seconds = time.monotonic() - began
            answers = handle.call(lambda sim: dict(sim.esi.answers))
    finally:
        handle.stop()
    return {
        "multiple of what the budget allows": round(seconds / allowed, 3),
        "goal": 1.02,
        "killmails": LISTED,
        "the budget allows, s": allowed,
        "seconds": round(seconds, 1),
        "answers 429 and 420": sum(number for (_, status), number in answers.items() if status in (420, 429)),
    }


def _allowed(route: routes.Route, calls: int) -> float:
    """Seconds from the first of so many calls to the last one, when each window is spent at once."""
    return (calls - 1) * routes.TOKENS[2] // route.limit * route.window
