"""Thousands of trackers against ten new killmails a second: the processor time of matching, and from the save to the request."""

from __future__ import annotations

import random
import threading
import time
from statistics import median, quantiles
from typing import Any

from killsync.killmails import queries
from killsync.webhooks import delivery, matching, reader, subscribers
from killsync.webhooks.index import TrackerIndex
from models import connection
from models.db import in_transaction
from models.webhooks import Tracker, Webhook
from tests.support import static_data
from tests.support.process import begin, change_settings, end, settings_for
from tests.support.receiver import receiving
from tests.support.resources import postgres_database
from tests.support.web_server import save_one
from tests.support.webhook_account import Told

TRACKERS, A_SECOND, SECONDS = 5_000, 10, 20
#: How often what was stored is read, seconds: as `killsync.webhooks.matching.COLLECT_MS` does.
READ_EVERY = matching.COLLECT_MS / 1000


def run(_options: Any) -> dict[str, Any]:
    """The share of one core that matching takes, and the delay of a delivery."""
    with postgres_database() as url, receiving() as receiver:
        begin(settings_for(url))
        told = Told(change_settings(WEBHOOK_ALLOW_PRIVATE="1"), receiver, A_SECOND * SECONDS)
        static_data.load()
        universe = told.universe
        kills = list(universe.kills)[: A_SECOND * SECONDS]
        # Nobody gives names here, and a message waits for those: what is measured is everything else.
        delivery.NAMES_SECONDS = 0.0
        told.webhook()
        _enter(told, kills)
        try:
            return _measure(told, kills, receiver)
        finally:
            end()


def _measure(told: Told, kills: list[int], receiver: Any) -> dict[str, Any]:
    saved: dict[int, float] = {}

    def save() -> None:
        began = time.monotonic()
        for place, number in enumerate(kills):
            time.sleep(max(0.0, began + place / A_SECOND - time.monotonic()))
            save_one(told.universe, number)
            saved[number] = time.monotonic()

    writer = threading.Thread(target=save)
    with connection():
        subscribers.current().get()
        reader.read_log(matching.choose)
    writer.start()
    began, spent, seen = time.monotonic(), 0.0, 0
    delays: list[float] = []
    while writer.is_alive() or seen < len(saved):
        time.sleep(READ_EVERY)
        with connection():
            before = time.thread_time()
            reader.read_log(matching.choose)
            spent += time.thread_time() - before
            _deliver()
        taken = receiver.taken()
        delays += [got.at - saved[int(got.json["killmail"]["id"])] for got in taken[seen:]]
        seen = len(taken)
    took = time.monotonic() - began
    with connection():
        known = subscribers.current().get()
        killmails = queries.killmails(kills, items=False)
    index = TrackerIndex(known)
    asked = median(len(index.candidates(killmail)) for killmail in killmails)
    before = time.thread_time()
    for killmail in killmails[:20]:
        for subscriber in known:
            subscriber.filter.matches(killmail)
    one_by_one = (time.thread_time() - before) / 20
    return {
        "share of a core, 5,000 trackers x 10 killmails/s": round(spent / took, 4),
        "goal, share": 0.1,
        "from save to request, median s": round(median(delays), 3),
        "from save to request, p95 s": round(quantiles(delays, n=20)[-1], 3),
        "goal, s": 1.0,
        "matching, ms a killmail": round(spent / len(kills) * 1000, 2),
        "one by one it would be, ms a killmail": round(one_by_one * 1000, 2),
        "trackers asked for a killmail, of 5,000": asked,
        "killmails": len(kills),
    }


def _deliver() -> None:
    first = Webhook.select(Webhook.id).order_by(Webhook.id).limit(1).scalar()
    delivery.deliver(int(first))


def _enter(told: Told, kills: list[int]) -> None:
    """Trackers as people have them: most of one corporation or alliance, of a place, of a class; some of what is dear."""
    rng = random.Random(7)
    bodies = [told.universe.body(number) for number in kills[:50]]
    systems = sorted({body["solar_system_id"] for body in bodies})

    def wants() -> str:
        chosen = rng.random()
        far = rng.randrange(98_000_000, 99_000_000)
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
        hook = Webhook.select(Webhook.id).limit(1).scalar()
        other = Webhook.insert(account_id=told.account, name="n", kind="json", url="x", url_hint="x").execute()
        assert hook is not None
        values = [(int(other), f"tracker {place}", wants()) for place in range(TRACKERS - 1)]
        columns = (Tracker.webhook_id, Tracker.name, Tracker.wants)
        for start in range(0, len(values), 1000):
            part = values[start : start + 1000]
            in_transaction(lambda part=part: Tracker.insert_many(part, columns).as_rowcount().execute())  # type: ignore[misc]
