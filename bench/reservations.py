"""Reservations of the shared rate limit: 32 threads on two processes against one PostgreSQL row."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from bench.database import migrated
from tests.support.deployment import environment
from tests.support.resources import PROJECT

SECONDS = 6.0
PROCESS = f"""
import threading, time
from killsync import settings
from models import connect
from killsync.esi.rate_limit.rate_limit import Bucket, RateLimit, Reservation
connect(settings.current())
rate_limit, counts = RateLimit(5), []
bucket = Bucket("killmail", "ip:bench", 100_000_000, 900.0)
rate_limit.take(bucket, 2, backlog=False)
until = time.monotonic() + {SECONDS}
def take():
    number = 0
    while time.monotonic() < until:
        assert isinstance(rate_limit.take(bucket, 2, backlog=False), Reservation)
        number += 1
    counts.append(number)
threads = [threading.Thread(target=take) for _ in range(16)]
[thread.start() for thread in threads]; [thread.join() for thread in threads]
print(sum(counts))
"""


def run(_options: Any) -> dict[str, Any]:
    """Reservations a second of both processes together, and the goal."""
    with migrated() as database_url:
        values = {"DATABASE_URL": database_url, "PYTHONPATH": str(PROJECT)}
        command = [sys.executable, "-c", PROCESS]
        running = [
            subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment(**values)) for _ in range(2)
        ]
        total = sum(int(process.communicate(timeout=120)[0]) for process in running)
    return {"reservations/s, 32 threads, 2 processes": round(total / SECONDS), "goal": 500}
