"""How many killmails of archives are stored a second: `killsync import` as it is run, into an empty database and again.

The killmails have the mean of those that EVE Ref's archives hold: 4.6 attackers and 14.7 items, half of them one attacker.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from bench import generate
from bench.database import migrated
from killsync.prices import store as prices
from killsync.settings import Settings
from models import connect, connection, schema
from simulator import catalog
from tests.support import static_data
from tests.support.deployment import environment
from tests.support.killmail_files import tar
from tests.support.resources import PROJECT

#: Killmails that are imported (fewer with --stored), in so many archives; SQLite gets one of these.
COUNT, DAYS = 40_000, 4
FIRST = 130_000_000


def run(options: Any) -> dict[str, Any]:
    """Rates, CPU and memory: the median of the runs."""
    with tempfile.TemporaryDirectory() as folder:
        count = min(COUNT, options.stored)
        archives = _archives(Path(folder), count)
        runs = []
        for _ in range(options.runs):
            with migrated() as url:
                _prepare()
                runs.append((_import(url, archives), _import(url, archives)))
        url = f"sqlite:///{folder}/killsync.db"
        connect(Settings(database_url=url))  # type: ignore[call-arg]
        schema.migrate()
        _prepare()
        alone = _import(url, archives[:1])
        quarter = _quarter(archives)
    new, again = zip(*runs, strict=True)
    mean = {name: statistics.median(each[name] for each in new) for name in new[0]}
    return {
        "goal": "4,000 killmails/s on two cores, memory flat",
        "killmails/s": round(mean["rate"]),
        "CPU s/1,000": f"{mean['cpu']:.2f} of the import, {mean['server']:.2f} of PostgreSQL",
        "killmails/s passed over by a second import": round(statistics.median(each["rate"] for each in again)),
        "killmails/s, SQLite": round(alone["rate"]),
        "peak RSS of all its processes, MB": round(mean["rss"] / 2**20),
        "peak RSS for a quarter of the killmails, MB": round(quarter / 2**20),
        "attackers and items a killmail": f"{_shape['attackers'] / count:.1f}, {_shape['items'] / count:.1f}",
    }


_shape = {"attackers": 0, "items": 0}


def _quarter(archives: list[Path]) -> float:
    with migrated() as url:
        _prepare()
        return _import(url, archives[: len(archives) // 4])["rss"]


def _prepare() -> None:
    """Static data and prices, so that everything is classified and valued."""
    static_data.load()
    with connection():
        prices.enter(date(2026, 8, 1), {type_id: (1_000_000 * (type_id % 977 + 1), None) for type_id in catalog.TYPES})


def _import(url: str, archives: list[Path]) -> dict[str, float]:
    """One `killsync import`: killmails a second, CPU s/1,000 of it and of the server, peak memory, bytes."""
    began, before = time.monotonic(), os.times()
    with _watched(url) as watched:
        done = subprocess.Popen(
            [sys.executable, "-m", "killsync.cli.main", "import", *map(str, archives)],
            env=environment(DATABASE_URL=url), cwd=PROJECT, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        watched["pid"] = done.pid
        said, _ = done.communicate()
    seconds, after = time.monotonic() - began, os.times()
    counted = [int(number.replace(",", "")) for number in re.findall(r"([\d,]+) (?:killmails stored|were)", said)]
    if done.returncode or len(counted) != 2:
        raise RuntimeError(said)
    number = sum(counted)
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return {
        "rate": number / seconds, "cpu": cpu * 1000 / number, "server": watched["server"] * 1000 / number,
        "rss": watched["rss"],
    }  # fmt: skip


@contextmanager
def _watched(url: str) -> Iterator[dict[str, float]]:
    """The peak memory of the process `pid` and its children, and the CPU time of PostgreSQL for this database."""
    found: dict[str, float] = {"rss": 0, "server": 0}
    stopped = threading.Event()
    name = url.rpartition("/")[2]
    spent: dict[int, float] = {}

    def watch() -> None:
        while not stopped.wait(0.2):
            with _gone():
                ours = psutil.Process(int(found["pid"]))
                found["rss"] = max(found["rss"], sum(each.memory_info().rss for each in _family(ours)))
            for each in psutil.process_iter():
                with _gone():
                    if name in " ".join(each.cmdline()) and each.name() == "postgres":
                        times = each.cpu_times()
                        spent[each.pid] = times.user + times.system
        found["server"] = sum(spent.values())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield found
    finally:
        stopped.set()
        thread.join()


def _family(ours: psutil.Process) -> list[psutil.Process]:
    return [ours, *ours.children(recursive=True)]


@contextmanager
def _gone() -> Iterator[None]:
    """Processes end while they are looked at."""
    try:
        yield
    except (psutil.Error, KeyError):
        return


def _archives(folder: Path, count: int) -> list[Path]:
    rng = random.Random(1)
    made = []
    a_day = count // DAYS
    for day in range(DAYS):
        members = {}
        for place in range(a_day):
            number = FIRST + day * a_day + place
            members[f"killmails/{number}.json"] = json.dumps(
                _body(rng, number, day, place), separators=(",", ":")
            ).encode()
        made.append(tar(folder / f"killmails-2026-08-{day + 1:02d}.tar.bz2", members))
    return made


def _body(rng: random.Random, number: int, day: int, place: int) -> dict[str, Any]:
    """A killmail as in an archive of EVE Ref."""
    types = list(catalog.TYPES)

    one = partial(generate.one_of_many, rng)

    def party() -> dict[str, Any]:
        return {
            "character_id": one(generate.PILOTS, 2_100_000_000),
            "corporation_id": one(generate.CORPORATIONS, 98_000_000),
            **({"alliance_id": one(generate.ALLIANCES, 99_000_000)} if rng.random() < 0.7 else {}),
            "ship_type_id": rng.choice(types),
        }

    attackers = [
        {**party(), "weapon_type_id": rng.choice(types), "damage_done": rng.randrange(5_000), "final_blow": place_ == 0,
         "security_status": round(rng.uniform(-10, 5), 1)}
        for place_ in range(min(300, int(rng.paretovariate(1.13))))
    ]  # fmt: skip
    items = [
        {"flag": rng.choice((5, 11, 19, 27, 92)), "item_type_id": rng.choice(types), "singleton": 0,
         rng.choice(("quantity_dropped", "quantity_destroyed")): rng.choice((1, 1, 1, 250))}
        for _ in range(int(rng.expovariate(1 / 15.2)))
    ]  # fmt: skip
    _shape["attackers"] += len(attackers)
    _shape["items"] += len(items)
    moment = time.gmtime(1_785_542_400 + day * 86_400 + place * 86_400 // 10_000)
    return {
        "attackers": attackers,
        "http_last_modified": "2026-08-18T11:00:00Z",
        "killmail_hash": hashlib.sha1(str(number).encode(), usedforsecurity=False).hexdigest(),
        "killmail_id": number,
        "killmail_time": time.strftime("%Y-%m-%dT%H:%M:%SZ", moment),
        "solar_system_id": rng.choice(list(catalog.SYSTEMS)),
        "victim": {
            **party(), "damage_taken": rng.randrange(100_000), "items": items,
            "position": {axis: rng.uniform(-8e12, 8e12) for axis in "xyz"},
        },
    }  # fmt: skip
