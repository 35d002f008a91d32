"""The pipeline on embedded defaults: SQLite and the in-process broker, everything but ESI in one process."""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

from bench import sides
from bench.pipeline import CONCURRENCY, USERS
from bench.simulated import simulated
from tests.support.deployment import CLIENT, environment
from tests.support.resources import PROJECT, free_port


def run(options: Any) -> dict[str, Any]:
    """Rate and cost beside the bare limit on the same kind of database: medians over the runs."""
    wanted = round(options.killmails / USERS * 1.02)
    ours, bare = [], []
    with simulated([wanted] * USERS) as esi:
        for _ in range(options.runs):
            with tempfile.TemporaryDirectory() as folder:
                port = free_port()
                values = {
                    "DATABASE_URL": f"sqlite:///{folder}/killsync.db", "BROKER_URL": "memory://", "ESI_URL": esi.url,
                    "SSO_URL": esi.url, "SSO_CLIENT_ID": CLIENT[0], "SSO_CLIENT_SECRET": CLIENT[1],
                    "SSO_CALLBACK_URL": f"http://127.0.0.1:{port}/auth/callback", "WEB_PORT": str(port),
                    "ESI_USER_AGENT": "Killsync-Bench/1.0 (bench@localhost)", "SECRET_KEYS": _key(),
                    "LOG_LEVEL": "WARNING",
                }  # fmt: skip
                pilots = ",".join(map(str, esi.pilots(USERS)))
                done = subprocess.run(
                    [sys.executable, "-m", "bench.embedded", pilots], capture_output=True, text=True, cwd=PROJECT,
                    env=environment(**values), timeout=600, check=True,
                )  # fmt: skip
                figures = json.loads(done.stdout.splitlines()[-1])
                ours.append(figures)
                bare.append(sides.bare(esi.url, figures.pop("listed"), CONCURRENCY, f"sqlite:///{folder}/bare.db"))
    rate = statistics.median(each["rate"] for each in ours)
    middle = sorted(ours, key=lambda each: each["rate"])[len(ours) // 2]
    return {
        "ratio to bare": round(rate / statistics.median(bare), 2),
        "killmails/s": round(rate, 1),
        "bare fetch and insert into SQLite, killmails/s": round(statistics.median(bare), 1),
        "killmails": middle["killmails"],
        "CPU s/1,000": round(middle["cpu"] * 1000 / middle["killmails"], 2),
        "peak RSS, MB": middle["rss"] // 2**20,
    }


def _key() -> str:
    from killsync.sso.vault import generate_key

    return generate_key()


def main() -> None:
    """Be the embedded process: log the pilots in, sync them all, print the figures."""
    import actors  # noqa: F401 - makes the broker, before the web server sends anything
    from bench.place import peak_rss
    from killsync import settings as settings_module
    from killsync.cli.embedded import log_in
    from killsync.cli.inprocess import web_server, worker
    from killsync.logging import setup_logging
    from killsync.startup import spare_garbage_collection
    from models import connect, connection, schema
    from models.sql import rows

    settings = settings_module.load("database", "esi", "sso", "secrets")
    setup_logging(settings)
    connect(settings)
    schema.migrate()
    pilots = list(map(int, sys.argv[1].split(",")))
    with web_server(settings):
        asyncio.run(log_in(f"http://127.0.0.1:{settings.web_port}", pilots))
    began, cpu = time.monotonic(), time.process_time()
    with worker(), connection():
        spare_garbage_collection()
        while rows("SELECT count(*) FROM sync_run WHERE finished_at IS NOT NULL") != [(len(pilots),)]:
            time.sleep(0.05)
        seconds, cpu = time.monotonic() - began, time.process_time() - cpu
        listed = rows("SELECT killmail_id, killmail_hash FROM killmail")
    import psutil

    figures = {"rate": len(listed) / seconds, "cpu": cpu, "killmails": len(listed), "listed": listed}
    print(json.dumps({**figures, "rss": peak_rss(psutil.Process(os.getpid()))}))


if __name__ == "__main__":
    main()
