"""What a tick costs with many users, on PostgreSQL and RabbitMQ: seconds and memory, and how both grow.

A tick is timed when everybody has just become due (as much as the queue takes is sent) and after an eight-hour stop (all are
late). The process is one of its own, so that its memory is its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import psycopg2

from bench.database import migrated
from tests.support.deployment import environment
from tests.support.resources import PROJECT, rabbitmq_vhost

SIZES = (1_000, 10_000, 100_000)
TICKS = 5
#: As in killsync.scheduling.enqueue.
MOST_COUNTED = 180_000
PROCESS = f"""
import json, resource, statistics, time
import dramatiq
from killsync import startup
from killsync.broker.queues import USER_KILLMAILS
from killsync.broker.setup import make_broker
from killsync.scheduling import enqueue
from killsync.sync import user_polls
from models import connection
make_broker(startup.start("database", "broker"))

def timed(work):
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000

whole, counting, claiming = [], [], []
for _ in range({TICKS}):
    dramatiq.get_broker().flush(USER_KILLMAILS)
    with connection():
        whole.append(timed(enqueue.enqueue_due_users))
        counting.append(timed(lambda: user_polls.count_due(enqueue.OVERDUE_SECONDS, enqueue.MOST_COUNTED)))
        claiming.append(timed(lambda: user_polls.claim_due_users(enqueue.BATCH, 900)))
memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
print(json.dumps([max(whole), statistics.median(counting), statistics.median(claiming), memory]))
"""


def run(_options: Any) -> dict[str, Any]:
    """The figures of a tick at each number of users."""
    with migrated() as url:
        return measure(url)


def measure(database_url: str) -> dict[str, Any]:
    """The slowest of some ticks at each size, what of it grows with the number of users, and that for a million.

    Claiming is by an index and sending is bounded, so only counting who is due grows, up to what is counted at most.
    """
    database = psycopg2.connect(database_url)
    database.autocommit = True
    cursor = database.cursor()
    figures: dict[str, Any] = {"goals": "2 s and 200 MB at 100,000"}
    grown: dict[str, dict[int, float]] = {"just due": {}, "late": {}}
    stored = 0
    for size in SIZES:
        cursor.execute(
            'INSERT INTO "user" (character_id, character_name, priority, scopes) '
            "SELECT 90000000 + g, 'Pilot ' || g, (g %% 50 = 0)::int, '' FROM generate_series(%s::int, %s::int) g",
            (stored + 1, size),
        )
        stored = size
        for name, due in (("just due", "interval '1 minute'"), ("late", "interval '8 hours'")):
            cursor.execute(f'UPDATE "user" SET next_sync_at = now() - random() * {due}, claimed_until = NULL')
            cursor.execute('VACUUM ANALYZE "user"')
            whole, counting, claiming, megabytes = _ticks(database_url)
            grown[name][size] = counting
            figures[f"{size:,} users, all {name}"] = {
                "slowest of five ticks, ms": round(whole),
                "of it counting": round(counting, 1),
                "claiming a batch": round(claiming, 1),
                "MB": megabytes,
            }
    most = min(1_000_000, MOST_COUNTED)
    last, before = SIZES[-1], SIZES[-2]
    figures["1,000,000 users, extrapolated"] = {
        f"counting, all {name}, ms": round(
            at[last] + max(0.0, at[last] - at[before]) / (last - before) * (most - last), 1
        )
        for name, at in grown.items()
    }
    database.close()
    return figures


def _ticks(database_url: str) -> tuple[float, float, float, int]:
    with rabbitmq_vhost() as broker_url:
        values = {
            "DATABASE_URL": database_url,
            "BROKER_URL": broker_url,
            "PYTHONPATH": str(PROJECT),
            "LOG_LEVEL": "ERROR",
        }
        done = subprocess.run(
            [sys.executable, "-c", PROCESS], capture_output=True, text=True, timeout=300, env=environment(**values)
        )
        if done.returncode:
            raise RuntimeError(done.stderr)
        whole, counting, claiming, megabytes = json.loads(done.stdout.splitlines()[-1])
        return whole, counting, claiming, megabytes
