"""What a killmail and a page cost when 10,000, 100,000 and more killmails are stored already."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg2

from bench import generate, pages, pipeline
from bench import place as places
from bench.simulated import simulated
from models import connect
from settings import Settings
from tests.deployment import Deployment

#: Tables that `generate` fills.
FILLED = ("killmail", "victim", "attacker", "killmail_item", "involvement", "killmail_ref")


def run(options: Any) -> dict[str, Any]:
    """Cost and rate of the pipeline and p95 of each page at each size, and the last in the first's."""
    sizes = [size for size in (10_000, 100_000, 1_000_000) if size <= options.stored]
    wanted = round(options.killmails / pipeline.USERS * 1.02)
    rates, costs, reads = {}, {}, {}
    with simulated([wanted] * pipeline.USERS + [pipeline.WARM]) as esi:
        for size in sizes:
            with places.deployment(esi) as place:
                fill(place, size)
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


def fill(place: Deployment, size: int) -> None:
    """Store *size* killmails of other players; indexes are made after, which is the quicker way."""
    database = psycopg2.connect(place.settings["DATABASE_URL"])
    database.autocommit = True
    cursor = database.cursor()
    cursor.execute(
        "SELECT conrelid::regclass, conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE contype IN ('p', 'f') "
        f"AND conrelid::regclass::text IN {FILLED} ORDER BY contype DESC"
    )
    constraints = [row for row in cursor.fetchall() if row[1] != "victim_pkey"]  # filling reads by these two
    cursor.execute(
        f"SELECT indexname, indexdef FROM pg_indexes WHERE tablename IN {FILLED} "
        "AND indexname NOT IN (SELECT conname FROM pg_constraint)"
    )
    indexes = [row for row in cursor.fetchall() if row[0] not in ("attacker_killmail", "victim_pkey")]
    for table, name, _ in sorted(constraints, key=lambda row: "FOREIGN" not in row[2]):
        cursor.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
    for name, _ in indexes:
        cursor.execute(f"DROP INDEX {name}")
    for start in range(1, size + 1, 100_000):
        for kind in (generate.killmails, generate.items, generate.ledger):
            kind(database, start, min(size, start + 99_999))
    cursor.execute("SET maintenance_work_mem = '512MB'")
    for table, name, definition in constraints:
        cursor.execute(f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}")
    for _, definition in indexes:
        cursor.execute(definition)
    generate.settle(database)
    database.close()
