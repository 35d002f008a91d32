"""What a worker process holds in memory with 8, 32 and 64 threads, after it has fetched for 20 users."""

from __future__ import annotations

from typing import Any

import psutil

from bench import place as places
from bench.pipeline import USERS, queue
from bench.simulated import simulated
from tests.support.deployment import wait_until


def run(options: Any) -> dict[str, Any]:
    """RSS and its peak, by threads."""
    figures: dict[str, Any] = {}
    with simulated([options.killmails // USERS // 2] * USERS) as esi:
        for threads in (8, 32, 64):
            with places.deployment(esi) as place:
                place.start_web()
                places.log_in(place, esi.pilots(USERS))
                place.stop("web")
                place.start_worker(processes=1, threads=threads)
                queue(place, esi.pilots(USERS))
                wait_until(
                    lambda place=place: place.sql("SELECT count(*) FROM sync_run WHERE finished_at IS NOT NULL")  # type: ignore[misc]
                    == [(USERS,)],
                    "every sync ends", 300,
                )  # fmt: skip
                worker = psutil.Process(place.processes["worker"].pid)
                now = max(each.memory_info().rss for each in worker.children(recursive=True))
                figures[f"{threads} threads"] = {
                    "RSS, MB": now // 2**20,
                    "peak, MB": places.peak_rss(worker) // 2**20,
                    "killmails": places.stored(place),
                }
    return figures
