"""`python -m tests.chaos --soak MINUTES`: no fault, only time. Memory, threads, open files and connections of each process
at the start, in the middle and at the end, while kills arrive, pages are read and subscribers come and go."""

from __future__ import annotations

import datetime
import json
import tempfile
import threading
import time
import urllib.request
import uuid
from dataclasses import dataclass
from pathlib import Path

import psutil

import simulator
from tests.chaos.report import put
from tests.chaos.services import Postgres, Rabbit
from tests.chaos.world import Subscriber, Verdict, World

SPEED = 20.0
CONFIG = {
    "kills": (600, 300, 150), "latency": 0.02, "list_cache_seconds": 60.0, "new_kill_interval": 0.3, "speed": SPEED,
    "access_token_seconds": 360.0,
}  # fmt: skip
#: What a process may grow from the middle to the end before it counts as a leak.
MOST_GROWTH = 1.10
WARM_UP_SECONDS = 60.0
#: A shorter soak shows too little to be written into the documentation.
LEAST_MINUTES = 10.0


@dataclass(frozen=True)
class Sample:
    """One process at one moment."""

    rss_mb: float
    threads: int
    files: int


def run(postgres: Postgres, rabbit: Rabbit, minutes: float) -> int:
    """Soak for *minutes*; the exit code."""
    with tempfile.TemporaryDirectory(prefix="killsync-soak-") as name:
        handle = simulator.run_in_thread(simulator.SimulatorConfig(**CONFIG))
        database = f"soak_{uuid.uuid4().hex[:8]}"
        postgres.sql(f"CREATE DATABASE {database}")
        rabbit.add_vhost(database)
        settings = {"DATABASE_URL": postgres.url(database), "BROKER_URL": rabbit.url(database)}
        world = World(
            Path(name), handle, SYNC_INTERVAL_SECONDS="5", LOG_LEVEL="WARNING", WEBHOOK_ALLOW_PRIVATE="1", **settings
        )
        world.command("killsync", "migrate")
        stopped = threading.Event()
        readers = [
            threading.Thread(target=read, args=(world.url, stopped)),
            threading.Thread(target=come_and_go, args=(world.url, stopped)),
        ]
        try:
            world.begin({"CHAOS_FAST": f"{handle.simulator.clock._started!r}:{SPEED}"})
            for reader in readers:
                reader.start()
            return _watch(world, rabbit, database, minutes)
        finally:
            stopped.set()
            for reader in readers:
                reader.join()
            world.end()
            handle.stop()


def _watch(world: World, rabbit: Rabbit, database: str, minutes: float) -> int:
    began = time.monotonic()
    end = began + minutes * 60
    moments = [began + WARM_UP_SECONDS, began + WARM_UP_SECONDS + (end - began - WARM_UP_SECONDS) / 2, end]
    samples, links = [], []
    for moment in moments:
        time.sleep(max(0.0, moment - time.monotonic()))
        samples.append(measure(world))
        links.append((_database_connections(world), _broker_connections(rabbit, database)))
        print(
            f"after {time.monotonic() - began:.0f} s: {world.stored()} stored, {samples[-1]}, {links[-1]}", flush=True
        )
    verdict = Verdict()
    world.compare(verdict, dead=0)
    queues = {**world.depths(), **{f"{name}.DQ": depth for name, depth in world.depths(".DQ").items()}}
    if world.restarts:
        verdict.problems.append(f"{world.restarts} processes ended by themselves")
    lines = _lines(samples, links, minutes, verdict, queues)
    print("\n".join(lines))
    verdict.problems.extend(_leaks(samples, links))
    if verdict.problems:
        print("\n".join(verdict.problems))
    elif minutes >= LEAST_MINUTES:
        put("soak", lines)
    return int(bool(verdict.problems or verdict.lost or verdict.doubled))


def measure(world: World) -> dict[str, Sample]:
    """Each process, the workers' children numbered."""
    found: dict[str, Sample] = {}
    for name, process in sorted(world.processes.items()):
        master = psutil.Process(process.pid)
        workers = [each for each in master.children() if each.num_threads() > 4] if name == "worker" else []
        for label, each in [(name, master), *((f"{name} {n}", each) for n, each in enumerate(workers, 1))]:
            found[label] = Sample(round(each.memory_info().rss / 2**20, 1), each.num_threads(), each.num_fds())
    return found


def _database_connections(world: World) -> int:
    sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'killsync'"
    return int(world.sql(sql)[0][0])


def _broker_connections(rabbit: Rabbit, vhost: str) -> int:
    return rabbit.control("list_connections", "--no-table-headers", "vhost").split().count(vhost)


def _leaks(samples: list[dict[str, Sample]], links: list[tuple[int, int]]) -> list[str]:
    found = []
    for name, last in samples[-1].items():
        middle = samples[1][name]
        if last.rss_mb > middle.rss_mb * MOST_GROWTH:
            found.append(f"{name} grew from {middle.rss_mb} MB to {last.rss_mb} MB")
        if last.threads > middle.threads + 4 or last.files > middle.files + 10:
            found.append(f"{name} opened more and more: {middle} -> {last}")
    if links[-1][0] > links[1][0] + 5 or links[-1][1] > links[1][1] + 8:
        found.append(f"connections (database, broker) grew: {links[1]} -> {links[-1]}")
    return found


def _lines(
    samples: list[dict[str, Sample]],
    links: list[tuple[int, int]],
    minutes: float,
    verdict: Verdict,
    queues: dict[str, int],
) -> list[str]:
    stamp = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d")
    left = ", ".join(f"{name} {depth}" for name, depth in queues.items() if depth) or "all empty"
    lines = [
        f"{minutes:.0f} minutes on {stamp}, {minutes * SPEED / 60:.1f} simulated hours: {verdict.listed} killmails listed, "
        f"{verdict.stored} stored, {verdict.doubled} doubled, {verdict.lost} lost. Queues at the end: {left}.",
        "",
        "| | Start | Middle | End |",
        "|---|---:|---:|---:|",
    ]
    for name in samples[0]:
        row = [each[name] for each in samples if name in each]
        shown = " | ".join(f"{each.rss_mb:.0f} MB, {each.threads} threads, {each.files} files" for each in row)
        lines.append(f"| {name} | {shown} |")
    lines.append("| connections to PostgreSQL | " + " | ".join(str(each) for each, _ in links) + " |")
    lines.append("| connections to RabbitMQ | " + " | ".join(str(each) for _, each in links) + " |")
    return lines


def read(url: str, stopped: threading.Event) -> None:
    """Read a page twice a second, as browsers do."""
    query = {
        "query": "{ killmails(first: 20) { edges { node { id victim { character { name } } attackers { damageDone } } } } }"
    }
    while not stopped.wait(0.5):
        request = urllib.request.Request(
            f"{url}/graphql", json.dumps(query).encode(), {"Content-Type": "application/json"}
        )
        try:
            urllib.request.urlopen(request, timeout=10).read()
        except OSError:
            continue


def come_and_go(url: str, stopped: threading.Event) -> None:
    """A subscriber that comes every few seconds, listens, and goes."""
    while not stopped.wait(1):
        subscriber = Subscriber(url)
        stopped.wait(3)
        subscriber.stop()
