"""What the pipeline is compared with: the simplest worker, and the bare limit of the machine.

Both fetch from the same simulator and store through the same mapping into the same schema.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from contextlib import nullcontext
from typing import Any

import aiohttp
import dramatiq
import orjson

from killsync.killmails.mapping import map_killmail
from models import connect, connection, schema
from models.db import transaction
from models.fields import utcnow
from models.killmails import AttackerRow, KillmailItemRow, KillmailRow, VictimRow
from models.sql import insert_rows
from tests.support.deployment import BIN, environment, wait_until
from tests.support.esi_application import HEADERS
from tests.support.resources import PROJECT, postgres_database, rabbitmq_vhost

Listed = list[tuple[int, str]]


def simplest(url: str, listed: Listed, users: int = 20) -> float:
    """Killmails a second of the simplest worker: a message a user over RabbitMQ, three users at a time.

    Details come one after the other with 50 ms after each, and every row is an INSERT of its own.
    """
    import psycopg2
    from dramatiq.brokers.rabbitmq import RabbitmqBroker

    with postgres_database() as database_url, rabbitmq_vhost() as broker_url:
        _prepare(database_url)
        values = {
            "DATABASE_URL": database_url,
            "SIMPLEST_BROKER": broker_url,
            "SIMPLEST_ESI": url,
            "PYTHONPATH": str(PROJECT),
        }
        broker = RabbitmqBroker(url=broker_url)
        broker.declare_queue("simplest", ensure=True)
        worker = subprocess.Popen(
            [BIN / "dramatiq", "bench.simplest", "--processes", "1", "--threads", "3"],
            cwd=PROJECT, env=environment(**values), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            database = psycopg2.connect(database_url)
            database.autocommit = True

            def stored() -> int:
                cursor = database.cursor()
                cursor.execute("SELECT count(*) FROM killmail")
                return int(cursor.fetchone()[0])  # type: ignore[index]

            def send(part: Listed) -> None:
                broker.enqueue(dramatiq.Message("simplest", "sync_user", (part,), {}, {}))

            send(listed[:1])  # so that it has started when the clock does
            wait_until(lambda: stored() == 1, "the simplest worker starts", 60)
            began = time.monotonic()
            for number in range(users):
                send(listed[1 + number :: users])
            wait_until(lambda: stored() >= len(listed), "the simplest worker is done", 600)
            seconds = time.monotonic() - began
            database.close()
        finally:
            worker.terminate()
            worker.wait(timeout=30)
            broker.close()
        return (len(listed) - 1) / seconds


def bare(url: str, listed: Listed, concurrency: int, sqlite: str = "") -> float:
    """Killmails a second of a process that only fetches, and inserts a hundred at a time; into PostgreSQL by default."""
    with nullcontext(sqlite) if sqlite else postgres_database() as database_url:
        _prepare(database_url)
        done = subprocess.run(
            [sys.executable, "-m", "bench.sides", url, str(concurrency)], input=json.dumps(listed),
            capture_output=True, text=True, cwd=PROJECT, timeout=300, check=True,
            env=environment(DATABASE_URL=database_url, BROKER_URL="memory://"),
        )  # fmt: skip
        return float(done.stdout)


def _prepare(database_url: str) -> None:
    from killsync.settings import Settings

    connect(Settings(database_url=database_url))  # type: ignore[call-arg]
    schema.migrate()


async def _bare(url: str, listed: Listed, concurrency: int) -> float:
    waiting = list(reversed(listed))
    done: list[Any] = []
    connector = aiohttp.TCPConnector(limit=concurrency)
    async with aiohttp.ClientSession(headers=HEADERS, connector=connector) as http:

        async def fetch() -> None:
            while waiting:
                number, digest = waiting.pop()
                async with http.get(f"{url}/killmails/{number}/{digest}") as answer:
                    done.append(map_killmail(orjson.loads(await answer.read()), digest, utcnow()))
                if len(done) >= 100:
                    batch, done[:] = list(done), []
                    await asyncio.get_running_loop().run_in_executor(None, _insert, batch)

        began = time.monotonic()
        await asyncio.gather(*(fetch() for _ in range(concurrency)))
        _insert(done)
        return len(listed) / (time.monotonic() - began)


def _insert(batch: list[Any]) -> None:
    if not batch:
        return
    with connection(), transaction():
        insert_rows("killmail", KillmailRow._fields, [each.killmail for each in batch])
        insert_rows("victim", VictimRow._fields, [each.victim for each in batch])
        insert_rows("attacker", AttackerRow._fields, [row for each in batch for row in each.attackers])
        items = [(each.killmail_id, None, *item[:-1]) for each in batch for item in each.items]
        if items:
            insert_rows("killmail_item", KillmailItemRow._fields, items)


def main() -> None:
    """Be the bare side: the list on standard input, the rate on standard output."""
    from killsync import settings

    connect(settings.load("database"))
    listed = [(number, digest) for number, digest in json.load(sys.stdin)]
    print(asyncio.run(_bare(sys.argv[1], listed, int(sys.argv[2]))))


if __name__ == "__main__":
    main()
