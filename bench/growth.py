"""What a killmail and a page cost when 10,000, 100,000 and more killmails are stored already."""

from __future__ import annotations

import asyncio
from typing import Any

from bench import generate, pages, pipeline
from bench import place as places
from bench.simulated import simulated
from killsync.settings import Settings
from models import connect


def run(options: Any) -> dict[str, Any]:
    """Cost and rate of the pipeline and p95 of each page at each size, and the last in the first's."""
    sizes = [size for size in (10_000, 100_000, 1_000_000) if size <= options.stored]
    wanted = round(options.killmails / pipeline.USERS * 1.02)
    rates, costs, reads = {}, {}, {}
    with simulated([wanted] * pipeline.USERS + [pipeline.WARM]) as esi:
        for size in sizes:
            with places.deployment(esi) as place:
                generate.fill(place.settings["DATABASE_URL"], size)
                connect(Settings(database_url=place.settings["DATABASE_URL"]))  # type: ignore[call-arg]
                reads[size] = {name: asyncio.run(pages.time_page(chosen)) for name, chosen in pages.FILTERS.items()}
                figures, _ = pipeline.measure_in(place, esi)
                rates[size], costs[size] = figures.rate, figures.cpu
    first, last = sizes[0], sizes[-1]
    work = {size: cost["worker"] + cost["PostgreSQL"] for size, cost in costs.items()}
    return {
        "ratio of CPU per killmail (worker and PostgreSQL)": round(work[last] / work[first], 2),
        "goals": "1.3 for a killmail, 3 for a page",
        **{
            f"page {name}": {
                "ratio": round(reads[last][name] / reads[first][name], 2),
                **{f"p95 ms at {size:,}": round(reads[size][name] * 1000, 1) for size in sizes},
            }
            for name in pages.FILTERS
        },
        "killmails/s": {f"{size:,}": round(rates[size], 1) for size in sizes},
        "CPU s/1,000": {
            f"{size:,}": f"worker {costs[size]['worker']:.2f} PostgreSQL {costs[size]['PostgreSQL']:.2f}"
            for size in sizes
        },
    }
