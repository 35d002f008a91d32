"""`python -m bench polling-cost`: what it takes to learn the polling table of 100,000 users, and to decide a next poll."""

from __future__ import annotations

import multiprocessing
import random
import resource
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import psutil
import psycopg2

from bench.database import migrated
from killsync.settings import Settings
from killsync.sync import poll_table, schedule
from killsync.sync.hazard import DAY
from models import connect, connection
from models.sql import rows

USERS, KILLMAILS, CORPORATION_SIZE = 100_000, 500_000, 20
#: Decisions that are timed, and killmails that the quickest and the slowest user's are made by.
DECISIONS, FEWEST, MOST = 5_000, 1, 60
LIMITS = schedule.PollLimits(floor=300.0, ceiling=21_600.0, busy_gap=10_800.0)
#: A killmail's moment, and the user whose final blow it is: a few have most.
_MOMENT = "now() - interval '90 days' * ((hashint8(g * 31 + 5) & 1048575) / 1048576.0)"
_USER = f"1 + floor({USERS} * power(((hashint8(g * 7919 + 1) & 1048575) / 1048576.0)::float8, 3))::bigint"


def run(_options: Any) -> dict[str, Any]:
    """CPU and memory of a making of the table, in a process of its own, and CPU of a decision by that table."""
    with migrated() as database_url:
        _fill(database_url)
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            making, decisions = pool.apply(_measured, (database_url,))
    return {
        f"table of {USERS:,} users with {KILLMAILS:,} killmails": making,
        "a decision, CPU us": decisions,
        "goals": "30 s and 200 MB, 50 us",
    }


def _fill(database_url: str) -> None:
    database = psycopg2.connect(database_url)
    database.autocommit = True
    cursor = database.cursor()
    cursor.execute("SET session_replication_role = replica; SET synchronous_commit = off")
    cursor.execute(
        'INSERT INTO "user" (id, character_id, character_name, character_owner_hash, scopes, status, priority, refusals, '
        "logged_in_at, created_at, updated_at) SELECT g, 2100000000 + g, 'Pilot ' || g, '', '', 'active', 0, 0, now(), now(), "
        f"now() FROM generate_series(1::bigint, {USERS}) g"
    )
    cursor.execute(
        f"CREATE TEMPORARY TABLE fought AS SELECT g id, {_USER} who, {_MOMENT} moment "
        f"FROM generate_series(1::bigint, {KILLMAILS}) g"
    )
    pilot, corporation = "2100000000 + who", f"98000000 + who / {CORPORATION_SIZE}"
    for filled in (
        "killmail (killmail_id, killmail_hash, killmail_time, solar_system_id, attacker_count, created_at) "
        "SELECT id, md5(id::text), moment, 30000142, 1, now() FROM fought",
        "victim (killmail_id, ship_type_id, damage_taken) SELECT id, 587, 1 FROM fought",
        "attacker (killmail_id, character_id, corporation_id, damage_done, final_blow) "
        f"SELECT id, {pilot}, {corporation}, 1, true FROM fought",
        "involved_attacker (character_id, corporation_id, killmail_time, killmail_id) "
        f"SELECT {pilot}, {corporation}, moment, id FROM fought",
        "user_killmail (user_id, killmail_id) SELECT who, id FROM fought",
    ):
        cursor.execute(f"INSERT INTO {filled}")
    cursor.execute("VACUUM ANALYZE")
    database.close()


def _measured(database_url: str) -> tuple[dict[str, Any], dict[str, float]]:
    connect(Settings(database_url=database_url))  # type: ignore[call-arg]
    with connection():
        server = psutil.Process(rows("SELECT pg_backend_pid()")[0][0])
        before, began, served, ticked = _peak(), time.process_time(), _used(server), time.perf_counter()
        counted = poll_table.make()
        used, took, peak = time.process_time() - began, time.perf_counter() - ticked, _peak()
        served = _used(server) - served
    making = {
        "killmails counted": counted,
        "worker's CPU s": round(used, 1),
        "PostgreSQL's CPU s": round(served, 1),
        "s": round(took, 1),
        "MB more than before": round(peak - before),
        "MB of the process at most": round(peak),
    }
    return making, {f"of {number} killmails": round(_decision(number), 1) for number in (FEWEST, MOST)}


def _used(process: psutil.Process) -> float:
    """CPU seconds that a process has used."""
    times = process.cpu_times()
    return float(times.user + times.system)


def _peak() -> float:
    """MB that this process has held at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _decision(killmails: int) -> float:
    """Microseconds of CPU from the ages of somebody's newest killmails to the moment of their next poll."""
    rng, now, table = random.Random(1), datetime.now(UTC), poll_table.current().read()
    lists = [sorted((rng.expovariate(1 / (5 * DAY)) for _ in range(killmails)), reverse=True) for _ in range(DECISIONS)]
    until, habit = now + timedelta(seconds=600), next(iter(table.hours.values()), "")
    began = time.process_time()
    for ages in lists:
        known = schedule.known_by(ages, habit)
        schedule.next_poll(
            now, limits=LIMITS, table=table, known=known, logged_in_at=now - timedelta(days=2), token_until=until
        )
    return (time.process_time() - began) / DECISIONS * 1e6
