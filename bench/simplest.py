"""The simplest worker there could be, for comparison: `dramatiq bench.simplest`.

A message is a user. Its killmails are fetched one after the other with a pause after each, and each row is inserted by
a statement and a transaction of its own, through the same models.
"""

from __future__ import annotations

import asyncio
import os

import aiohttp
import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker

from killsync import settings
from killsync.killmails.mapping import map_killmail
from models import connect, connection
from models.fields import utcnow
from models.killmails import Attacker, Killmail, KillmailItem, KillmailItemRow, Victim
from tests.support.esi_application import HEADERS

PAUSE = 0.05

os.environ["BROKER_URL"] = "memory://"  # this module's own broker is named below
connect(settings.load("database"))
dramatiq.set_broker(RabbitmqBroker(url=os.environ["SIMPLEST_BROKER"]))


@dramatiq.actor(queue_name="simplest", max_retries=0, time_limit=3_600_000)
def sync_user(listed: list[tuple[int, str]]) -> None:
    """Fetch and store what one user's list names."""
    asyncio.run(_sync(listed))


async def _sync(listed: list[tuple[int, str]]) -> None:
    async with aiohttp.ClientSession(headers=HEADERS) as http:
        for number, digest in listed:
            async with http.get(f"{os.environ['SIMPLEST_ESI']}/killmails/{number}/{digest}") as answer:
                mapped = map_killmail(await answer.json(), digest, utcnow())
            with connection():
                Killmail.insert(mapped.killmail._asdict()).execute()
                Victim.insert(mapped.victim._asdict()).execute()
                for row in mapped.attackers:
                    Attacker.insert(row._asdict()).execute()
                for item in mapped.items:
                    KillmailItem.insert(KillmailItemRow(number, None, *item[:-1])._asdict()).execute()
            await asyncio.sleep(PAUSE)
