"""Thousands of trackers against ten new killmails a second: the processor time of matching, and from the save to the request.

The delay is that of the real way: this process stores killmails and sends what a worker that stored them sends; the workers of
the Procfile read the log and deliver over RabbitMQ and PostgreSQL. No scheduler runs, so nothing is found by a sweep.
"""

from __future__ import annotations

import random
import tempfile
import time
from pathlib import Path
from statistics import median, quantiles
from types import SimpleNamespace
from typing import Any

import psutil

from bench.pipeline import PROCESSES, THREADS
from killsync.broker.setup import make_broker
from killsync.killmails import queries
from killsync.killmails.mapping import map_killmail
from killsync.prices import book
from killsync.static_data import catalog
from killsync.webhooks import matching, reader, subscribers
from killsync.webhooks.index import TrackerIndex
from models import connection
from models.db import in_transaction
from models.fields import utcnow
from models.names import NAME_KEYS
from models.sql import insert_rows
from models.users import Account
from models.webhooks import Tracker, Webhook
from tests.support import static_data
from tests.support.deployment import Deployment, wait_until
from tests.support.process import begin, end, settings_for
from tests.support.receiver import Received, Receiver, receiving
from tests.support.resources import postgres_database, rabbitmq_vhost
from tests.support.web_server import name_all, save_one
from tests.support.webhook_account import Told

TRACKERS, WEBHOOKS, A_SECOND, SECONDS = 5_000, 500, 10, 20
#: A killmail has arrived nowhere when it has not within so many seconds.
PATIENCE = 60.0


def run(_options: Any) -> dict[str, Any]:
    """The share of one core that matching takes, and the delay of a delivery."""
    with postgres_database() as url, rabbitmq_vhost() as broker, receiving() as receiver:
        settings = settings_for(url, BROKER_URL=broker, WEBHOOK_ALLOW_PRIVATE="1")
        begin(settings)
        make_broker(settings)
        told = Told(settings, receiver, 2 * A_SECOND * SECONDS)
        static_data.load()
        first, second = told.kills[: A_SECOND * SECONDS], told.kills[A_SECOND * SECONDS :]
        _name(told)
        _enter(told)
        try:
            return {**_matching(told, first), **_chain(told, second, receiver)}
        finally:
            end()


def _matching(told: Told, kills: list[int]) -> dict[str, Any]:
    """What it takes to find who wants the killmails, read as often as workers read them, and what it would take one by one."""
    spent = 0.0
    at_once = max(1, int(matching.COLLECT_MS / 1000 * A_SECOND))
    with connection():
        known = subscribers.current().get()
        reader.begin_reading()
        reader.read_log(matching.choose)
        for place in range(0, len(kills), at_once):
            for number in kills[place : place + at_once]:
                save_one(told.universe, number)
            before = time.thread_time()
            reader.read_log(matching.choose)
            spent += time.thread_time() - before
        killmails = queries.killmails(kills, items=False)
    index = TrackerIndex(known)
    before = time.thread_time()
    for killmail in killmails[:20]:
        for subscriber in known:
            subscriber.filter.matches(killmail)
    one_by_one = (time.thread_time() - before) / 20
    return {
        "share of a core, 5,000 trackers x 10 killmails/s": round(spent / len(kills) * A_SECOND, 4),
        "goal, share": 0.1,
        "matching, ms a killmail": round(spent / len(kills) * 1000, 2),
        "one by one it would be, ms a killmail": round(one_by_one * 1000, 2),
        "trackers asked for a killmail, of 5,000": median(len(index.candidates(killmail)) for killmail in killmails),
    }


def _chain(told: Told, kills: list[int], receiver: Receiver) -> dict[str, Any]:
    """From the save to the request, over workers of their own."""
    with tempfile.TemporaryDirectory() as folder:
        names = ("database_url", "broker_url", "webhook_allow_private")
        values = {name.upper(): str(getattr(told.settings, name)) for name in names}
        nobody: Any = SimpleNamespace(url="http://127.0.0.1:9")
        place = Deployment(
            Path(folder), nobody, **values, SECRET_KEYS=",".join(told.settings.secret_keys), LOG_LEVEL="INFO"
        )
        try:
            place.start_worker(processes=PROCESSES, threads=THREADS)
            # What the first part left, so that the workers are warm and nothing waits.
            matching.killmails_saved()
            wait_until(lambda: _waiting(told) == 0, "nothing waits", PATIENCE)
            before, seen = _cpu(place), len(receiver.taken())
            saved = _save(told, kills)
            wait_until(lambda: _waiting(told) == 0, "all is told", PATIENCE)
            used = _cpu(place) - before
        finally:
            place.stop_all()
    arrived = receiver.taken()[seen:]
    delays = [got.at - saved[_killmail(got)] for got in arrived]
    cuts = quantiles(delays, n=100, method="inclusive")
    return {
        "from save to request, median s": round(median(delays), 3),
        "from save to request, p95 s": round(cuts[94], 3),
        "from save to request, p99 s": round(cuts[98], 3),
        "goal, s": 1.0,
        "killmails": len(kills),
        "requests": len(arrived),
        "workers' CPU, ms a request": round(used / len(arrived) * 1000, 1),
    }


def _save(told: Told, kills: list[int]) -> dict[int, float]:
    """Store them, A_SECOND a second at random moments; when each was there (monotonic)."""
    saved: dict[int, float] = {}
    rng, due = random.Random(11), time.monotonic()
    for number in kills:
        due += rng.expovariate(A_SECOND)
        time.sleep(max(0.0, due - time.monotonic()))
        save_one(told.universe, number)
        saved[number] = time.monotonic()
        matching.killmails_saved()
    return saved


def _killmail(got: Received) -> int:
    return int(got.json["killmail"]["id"])


def _waiting(told: Told) -> int:
    """Killmails that are still to be read, and deliveries that are still to be made."""
    from killsync.events import store as killmail_log
    from models.killmail_log import LogReader
    from models.webhooks import WebhookDelivery

    with connection():
        read = LogReader.select(LogReader.sequence).where(LogReader.name == reader.READER).scalar() or 0
        return int(
            killmail_log.newest() - read + WebhookDelivery.select().where(WebhookDelivery.ended_at.is_null()).count()
        )


def _cpu(place: Deployment) -> float:
    process = psutil.Process(place.processes["worker"].pid)
    return sum(sum(each.cpu_times()[:2]) for each in [process, *process.children(recursive=True)])


def _name(told: Told) -> None:
    """Everything has its name before it is mentioned: nobody gives names here, and a message waits for those."""
    known, prices = catalog.current().get(), book.current().get()
    with connection():
        for kill in told.universe.kills.values():
            mapped = map_killmail(told.universe.body(kill.killmail_id), kill.killmail_hash, utcnow(), known, prices)
            for table, ids in mapped.named.items():
                rows = [(number,) for number in sorted(ids)]
                in_transaction(
                    lambda table=table, rows=rows: (
                        rows  # type: ignore[misc]
                        and insert_rows(table, (NAME_KEYS[table],), rows, "ON CONFLICT DO NOTHING")
                    )
                )
        name_all(told.universe)


def _enter(told: Told) -> None:
    """Trackers as people have them: most of one corporation or alliance, of a place, of a class; some of what is dear; one of
    everything. A few of those corporations and places are in the news.
    """
    rng = random.Random(7)
    bodies = [told.universe.body(number) for number in told.kills]
    systems = sorted({body["solar_system_id"] for body in bodies})
    corporations = sorted({body["victim"]["corporation_id"] for body in bodies if "corporation_id" in body["victim"]})

    def wants(place: int) -> str:
        chosen = rng.random()
        far = rng.randrange(98_000_000, 99_000_000)
        if place == 0:
            return '{"maxAgeSeconds":7776000}'
        if place <= 2 * len(corporations):
            return f'{{"victimCorporationIds":["{corporations[place % len(corporations)]}"],"maxAgeSeconds":7776000}}'
        if chosen < 0.3:
            return f'{{"victimCorporationIds":["{far}"],"maxAgeSeconds":7776000}}'
        if chosen < 0.5:
            return f'{{"attackerAllianceIds":["{99_000_000 + rng.randrange(9_000)}"],"npc":false}}'
        if chosen < 0.65:
            return f'{{"systemIds":["{rng.choice(systems) + rng.randrange(500)}"],"minAttackers":3}}'
        if chosen < 0.8:
            return f'{{"regionIds":["{10_000_000 + rng.randrange(70)}"],"victimShipGroupIds":["{rng.randrange(25, 2000)}"]}}'
        if chosen < 0.95:
            return f'{{"attackerShipGroupIds":["30","659"],"minValue":{rng.randrange(10**9, 10**11)}}}'
        return f'{{"minValue":{rng.randrange(10**10, 10**12)},"excludeSecurity":["HIGH"]}}'

    with connection():
        hook = told.webhook()
        in_transaction(lambda: Tracker.delete().where(Tracker.webhook_id == hook).execute())
        url = Webhook.select(Webhook.url).where(Webhook.id == hook).scalar()
        hooks, account = [hook], told.account
        for place in range(WEBHOOKS - 1):
            if place % 10 == 0:
                account = int(in_transaction(Account.insert().execute))
            new = Webhook.insert(account_id=account, name="n", kind="json", url=url, url_hint="x")
            hooks.append(int(in_transaction(new.execute)))
        values = [(hooks[place % WEBHOOKS], f"tracker {place}", wants(place)) for place in range(TRACKERS)]
        columns = (Tracker.webhook_id, Tracker.name, Tracker.wants)
        for start in range(0, len(values), 1000):
            part = values[start : start + 1000]
            in_transaction(lambda part=part: Tracker.insert_many(part, columns).as_rowcount().execute())  # type: ignore[misc]
