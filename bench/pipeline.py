"""Killmails a second through the real pipeline, beside the simplest worker and beside the bare limit of the machine.

ESI is the simulator with its limits off and 50 ms of latency; it, RabbitMQ, PostgreSQL and the workers share the cores.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any

import psutil

from bench import place as places
from bench import sides
from bench.simulated import Simulated, simulated
from tests.support.deployment import Deployment, wait_until

USERS = 20
PROCESSES, THREADS = 2, 16
#: Killmails of the user whose sync makes a new worker warm.
WARM = 60
#: Killmails of the simplest worker, whose rate is the same with more.
SIMPLEST = 1_000
#: Requests at a time of the bare side: as many as the workers have in the air.
CONCURRENCY = 240


def run(options: Any) -> dict[str, Any]:
    """Rates of all three ways, and their ratios: medians over the runs."""
    wanted = round(options.killmails / USERS * 1.02)
    with simulated([wanted] * USERS + [WARM]) as esi:
        ours, listed = [], []
        simple, bare = [], []
        for _ in range(options.runs):
            figures, listed = measure(esi)
            ours.append(figures)
            bare.append(sides.bare(esi.url, listed, CONCURRENCY))
            simple.append(sides.simplest(esi.url, listed[:SIMPLEST]))
    rate = statistics.median(figures.rate for figures in ours)
    middle = sorted(ours, key=lambda figures: figures.rate)[len(ours) // 2]
    return {
        "ratio to one message a user": round(rate / statistics.median(simple), 1),
        "ratio to bare": round(rate / statistics.median(bare), 2),
        "goals": "40 and 0.7",
        "killmails/s": round(rate, 1),
        "killmails/s, each run": [round(figures.rate) for figures in ours],
        "one message a user, killmails/s": round(statistics.median(simple), 1),
        "bare fetch and insert, killmails/s": round(statistics.median(bare), 1),
        "killmails": middle.killmails,
        "CPU s/1,000": {name: round(seconds, 2) for name, seconds in middle.cpu.items()},
        "SQL statements/killmail": round(middle.statements, 2),
        "messages/killmail": round(middle.messages, 3),
        "peak RSS of a worker, MB": middle.rss // 2**20,
    }


@dataclass
class Figures:
    """One run; rates and costs are for each killmail or, where it says so, a thousand of them."""

    killmails: int
    rate: float
    cpu: dict[str, float]
    statements: float
    messages: float
    rss: int


def measure(esi: Simulated) -> tuple[Figures, sides.Listed]:
    """One run on services of its own: all users are queued at once, a warm worker fetches everything they list."""
    with places.deployment(esi) as place:
        return measure_in(place, esi)


def measure_in(place: Deployment, esi: Simulated) -> tuple[Figures, sides.Listed]:
    """The same on a deployment in which nothing runs yet."""
    place.start_web()
    places.log_in(place, esi.pilots(USERS + 1))
    place.stop("web")
    place.start_worker(processes=PROCESSES, threads=THREADS, module="bench.counted")
    users = [row[0] for row in place.sql('SELECT character_id FROM "user" ORDER BY id')]
    queue(place, users[-1:])
    wait_until(lambda: _synced(place) == 1, "the worker is warm", 60)
    warm, marker = _fetched(place), place.sql("SELECT clock_timestamp()")[0][0]
    cpu = places.Cpu(place, esi)
    queue(place, users[:-1])
    wait_until(lambda: _synced(place) == USERS + 1, "all is stored", 300)
    used, expected = cpu.used(), _fetched(place)
    rss = places.peak_rss(psutil.Process(place.processes["worker"].pid))
    began, ended = place.sql(
        "SELECT extract(epoch FROM min(discovered_at)), (SELECT extract(epoch FROM max(created_at)) FROM killmail_log) "
        "FROM killmail_ref WHERE discovered_at > %s", (marker,)
    )[0]  # fmt: skip
    listed = place.sql(
        "SELECT killmail_id, killmail_hash FROM killmail_ref WHERE run_id IS NOT NULL ORDER BY killmail_id"
    )
    place.stop("worker")
    counts = dict(place.sql("SELECT name, sum(number) FROM bench_count GROUP BY name"))
    new = expected - warm
    return Figures(
        killmails=new,
        rate=new / float(ended - began),
        cpu={name: seconds * 1000 / new for name, seconds in used.items()},
        statements=float(counts["statements"]) / expected,
        messages=float(counts["messages"]) / expected,
        rss=rss,
    ), [(number, digest) for number, digest in listed]


def queue(place: Deployment, characters: list[int]) -> None:
    """Queue a sync of each character, as an operator does."""
    chosen = [part for character in characters for part in ("--character", str(character))]
    place.command("killsync", "queue", "user-killmails", *chosen)


def _synced(place: Deployment) -> int:
    """Syncs that have ended: all they listed is stored."""
    return int(place.sql("SELECT count(*) FROM sync_run WHERE finished_at IS NOT NULL")[0][0])


def _fetched(place: Deployment) -> int:
    return int(place.sql("SELECT count(*) FROM killmail_ref WHERE run_id IS NOT NULL AND state = 'fetched'")[0][0])
