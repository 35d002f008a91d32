"""Killmails a second through the real pipeline, beside the simplest worker and beside the bare limit of the machine.

ESI is the simulator with its limits off and 50 ms of latency, in this process; everything shares the machine's cores.
"""

from __future__ import annotations

import asyncio
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import aiohttp
import psutil

import simulator
from models import connect, connection, schema
from models.base import insert_rows, transaction, utcnow
from models.killmails import Attacker, Killmail, KillmailItem, Victim
from models.mapping import ATTACKER_COLUMNS, ITEM_COLUMNS, KILLMAIL_COLUMNS, VICTIM_COLUMNS, map_killmail
from tests.deployment import Deployment, deployed, wait_until
from tests.places import postgres_database
from tests.player import Player
from tests.simulated import HEADERS

USERS = 20


def run(killmails: int = 2000) -> dict[str, Any]:
    """Rates of all three ways, and their ratios."""
    config = simulator.SimulatorConfig(
        characters=60, kills=(killmails // USERS,) * USERS, limits=False, latency=0.05, many_items=True
    )
    handle = simulator.run_in_thread(config)
    try:
        ours = _ours(handle)
        listed = _listed(handle)
        simple = _simple(handle.url, listed[:240])
        bare = asyncio.run(_bare(handle.url, listed))
    finally:
        handle.stop()
    return {
        **ours,
        "one message a user, killmails/s": round(simple, 1),
        "bare fetch and insert, killmails/s": round(bare, 1),
        "ratio to one message a user": round(ours["killmails/s"] / simple, 1),
        "ratio to bare": round(ours["killmails/s"] / bare, 2),
        "goals": "40 and 0.5",
    }


def _listed(handle: simulator.Handle) -> list[tuple[int, str]]:
    universe = handle.simulator.universe
    pilots = list(universe.characters)[:USERS]
    found: dict[int, str] = {}
    for pilot in pilots:
        found.update(universe.listed("character", pilot, handle.simulator.clock.now()))
    return sorted(found.items())


def _ours(handle: simulator.Handle) -> dict[str, Any]:
    expected = len(_listed(handle))
    with tempfile.TemporaryDirectory() as folder, deployed(Path(folder), handle, LOG_LEVEL="WARNING") as place:
        place.start_web()
        asyncio.run(_log_in(place, list(handle.simulator.universe.characters)[:USERS]))
        place.start("worker", "dramatiq", "actors", "--processes", "2", "--threads", "24")
        wait_until(lambda: place.sql("SELECT count(*) FROM killmail_ref")[0][0] > 0, "the first page", 60)
        began = time.monotonic()
        cpu = _cpu(place)
        wait_until(lambda: place.sql("SELECT count(*) FROM killmail")[0][0] >= expected, "all is stored", 300)
        seconds = time.monotonic() - began
        worker = psutil.Process(place.processes["worker"].pid)
        return {
            "killmails": expected,
            "killmails/s": round(expected / seconds, 1),
            "worker CPU s/1,000": round((_cpu(place) - cpu) * 1000 / expected, 2),
            "largest worker RSS, MB": max(each.memory_info().rss for each in worker.children(recursive=True)) // 2**20,
        }


def _cpu(place: Deployment) -> float:
    worker = psutil.Process(place.processes["worker"].pid)
    return sum(sum(each.cpu_times()[:2]) for each in [worker, *worker.children(recursive=True)])


async def _log_in(place: Deployment, pilots: list[int]) -> None:
    for pilot in pilots:
        async with Player(place.url) as player:
            assert (await player.log_in(pilot)).status == 302


def _simple(url: str, listed: list[tuple[int, str]]) -> float:
    """One message a user, three users at a time: details one after the other, 50 ms between them, a row an INSERT."""
    with postgres_database() as database_url:
        _prepare(database_url)
        parts = [listed[number::3] for number in range(3)]
        began = time.monotonic()
        threads = [threading.Thread(target=lambda part=part: asyncio.run(_simple_user(url, part))) for part in parts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return len(listed) / (time.monotonic() - began)


def _prepare(database_url: str) -> None:
    from settings import Settings

    connect(Settings(database_url=database_url))  # type: ignore[call-arg]
    schema.migrate()


async def _simple_user(url: str, listed: list[tuple[int, str]]) -> None:
    async with aiohttp.ClientSession(headers=HEADERS) as http:
        for number, digest in listed:
            async with http.get(f"{url}/killmails/{number}/{digest}") as answer:
                mapped = map_killmail(await answer.json(), digest, utcnow())
            with connection():
                Killmail.insert(dict(zip(KILLMAIL_COLUMNS, mapped.killmail, strict=True))).execute()
                Victim.insert(dict(zip(VICTIM_COLUMNS, mapped.victim, strict=True))).execute()
                for row in mapped.attackers:
                    Attacker.insert(dict(zip(ATTACKER_COLUMNS, row, strict=True))).execute()
                for item in mapped.items:
                    row = (number, None, *item.columns)
                    KillmailItem.insert(dict(zip(ITEM_COLUMNS, row, strict=True))).execute()
            await asyncio.sleep(0.05)


async def _bare(url: str, listed: list[tuple[int, str]], concurrency: int = 48) -> float:
    """What the machine can do without queue, ledger, budget, names and events: fetch, and insert a hundred at a time."""
    with postgres_database() as database_url:
        _prepare(database_url)
        waiting = list(reversed(listed))
        done: list[Any] = []
        began = time.monotonic()
        async with aiohttp.ClientSession(headers=HEADERS, connector=aiohttp.TCPConnector(limit=concurrency)) as http:

            async def fetch() -> None:
                while waiting:
                    number, digest = waiting.pop()
                    async with http.get(f"{url}/killmails/{number}/{digest}") as answer:
                        done.append(map_killmail(await answer.json(), digest, utcnow()))
                    if len(done) >= 100:
                        batch, done[:] = list(done), []
                        await asyncio.get_running_loop().run_in_executor(None, _insert, batch)

            await asyncio.gather(*(fetch() for _ in range(concurrency)))
            _insert(done)
        return len(listed) / (time.monotonic() - began)


def _insert(batch: list[Any]) -> None:
    if not batch:
        return
    with connection(), transaction():
        insert_rows("killmail", KILLMAIL_COLUMNS, [each.killmail for each in batch])
        insert_rows("victim", VICTIM_COLUMNS, [each.victim for each in batch])
        insert_rows("attacker", ATTACKER_COLUMNS, [row for each in batch for row in each.attackers])
        items = [(each.killmail_id, None, *item.columns) for each in batch for item in each.items]
        if items:
            insert_rows("killmail_item", ITEM_COLUMNS, items)
