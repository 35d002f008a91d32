"""What five million stored killmails do to saving the next one and to reading a page: is partitioning needed?

Run by hand (`python -m bench storage`): it takes ten minutes or more and some 30 GB of disk, all given back.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from functools import partial
from typing import Any

import psycopg2

from bench import generate
from bench.database import migrated
from bench.pages import FILTERS, time_page
from killsync.killmails import ledger
from killsync.killmails.store import known_ids, save_killmail
from models import connection

SIZES = (100_000, 1_000_000, 5_000_000)
#: Killmails saved for a measurement, and pages read.
SAVES, ROUNDS = 2_000, 300


def run(_options: Any) -> dict[str, Any]:
    """The figures at each number of stored killmails, each in a database of its own."""
    figures: dict[str, dict[str, float]] = {"saves/s": {}, **{f"page {name}, p95 ms": {} for name in FILTERS}}
    sizes: dict[str, Any] = {}
    for size in SIZES:
        with migrated() as database_url:
            generate.fill(database_url, size)
            for name, chosen in FILTERS.items():
                seconds = asyncio.run(time_page(chosen, ROUNDS))
                figures[f"page {name}, p95 ms"][f"{size:,}"] = round(seconds * 1000, 1)
            figures["saves/s"][f"{size:,}"] = round(_saves(size), 1)
            sizes = _sizes(database_url, size)
    result: dict[str, Any] = {"goal": f"not more than 30 % worse from {SIZES[0]:,} to {SIZES[-1]:,}"}
    for name, at in figures.items():
        values = list(at.values())
        result[name] = {**at, "ratio": round(values[-1] / values[0], 2)}
    return {**result, "bytes a killmail": sizes}


def _saves(size: int) -> float:
    """Saves a second of one thread with the real function; by the median, since the machine has other work."""
    rng = random.Random(size)
    known_ids.renew()
    times = []
    with connection():
        for number in range(SAVES):
            killmail_id = 1_000_000_000 + size * 10 + number
            body = _body(rng, killmail_id)
            ledger.add_submitted(killmail_id, f"{killmail_id:040x}")
            began = time.perf_counter()
            save_killmail(body, f"{killmail_id:040x}")
            times.append(time.perf_counter() - began)
    return 1 / statistics.median(times[SAVES // 10 :])


def _body(rng: random.Random, killmail_id: int) -> dict[str, Any]:
    """A killmail of now among the generated pilots, with as many attackers and items as the generated ones."""
    one = partial(generate.one_of_many, rng)

    def party() -> dict[str, Any]:
        return {
            "character_id": one(generate.PILOTS, 2_100_000_000),
            "corporation_id": one(generate.CORPORATIONS, 98_000_000),
            "alliance_id": one(generate.ALLIANCES, 99_000_000),
            "ship_type_id": one(generate.TYPES, 500),
        }

    items = [{"item_type_id": one(generate.TYPES, 500), "flag": 5, "quantity_dropped": 1, "singleton": 0}
             for _ in range(generate.ITEMS)]  # fmt: skip
    attackers = [{**party(), "weapon_type_id": 2488, "damage_done": 10, "final_blow": number == 0, "security_status": 0.5}
                 for number in range(generate.ATTACKERS)]  # fmt: skip
    return {
        "killmail_id": killmail_id,
        "killmail_time": "2026-08-02T12:00:00Z",
        "solar_system_id": one(generate.SYSTEMS, 30_000_000),
        "victim": {**party(), "damage_taken": 5000, "items": items},
        "attackers": attackers,
    }


def _sizes(database_url: str, stored: int) -> dict[str, Any]:
    database = psycopg2.connect(database_url)
    cursor = database.cursor()
    found: dict[str, Any] = {}
    for table in generate.TABLES:
        cursor.execute("SELECT pg_total_relation_size(%s)", (table,))
        found[table] = round(cursor.fetchone()[0] / stored)  # type: ignore[index]
    database.close()
    return {**found, "all": sum(found.values())}
