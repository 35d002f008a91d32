"""Which webhooks want what was stored: reads the events, enters deliveries, and sends the webhooks that are due to workers.

What is to be delivered stands in the database; a message only says which webhook has something, and the sweep sends it
again. A killmail is delivered after it is stored, never before, and nothing here runs in the transaction that saves it.
"""

from __future__ import annotations

import threading
import time
from datetime import timedelta

from killsync.broker.messages import send
from killsync.killmails import queries
from killsync.process import OnePerProcess
from killsync.webhooks import delivery, reader
from killsync.webhooks.reader import Stored, Subscriber
from models import connection

#: One process asks at most this often for the events to be read, once for the first of a burst and once for its rest.
COLLECT_MS = 300
#: How often a process looks whether there is any webhook, seconds.
LOOK_SECONDS = 10.0


class Announcer:
    """When this process last had the events read: the killmails of a burst share two messages."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._looked_at = self._sent_at = float("-inf")
        self._has_webhooks = False
        self._is_rest_scheduled = False

    def killmails_saved(self) -> None:
        """Have the events read: at once for the first of a burst, COLLECT_MS later for its rest."""
        now = time.monotonic()
        with self._lock:
            if now - self._looked_at >= LOOK_SECONDS:
                self._looked_at = now
                with connection():
                    self._has_webhooks = reader.has_active()
            is_first = now - self._sent_at >= COLLECT_MS / 1000
            if not self._has_webhooks or (self._is_rest_scheduled and not is_first):
                return
            self._is_rest_scheduled = not is_first
            if is_first:
                self._sent_at = now
        send("announce", delay_ms=None if is_first else COLLECT_MS)


_announcer = OnePerProcess(Announcer)


def killmails_saved() -> None:
    """Killmails were stored: have webhooks notified. Costs next to nothing when there are none."""
    _announcer().killmails_saved()


def announce() -> None:
    """Read what was stored, and send the webhooks that are due."""
    place: int | None = None
    while True:
        place = reader.read_events(place, choose)
        if place is None:
            break
    delivery.send_due(delivery.SLOTS)


def sweep() -> None:
    """Whatever a lost message or a dead worker left: read the events, send what is due."""
    if reader.has_active():
        announce()


def choose(stored: list[Stored], subscribers: list[Subscriber]) -> list[tuple[int, int]]:
    """(webhook id, killmail id) of each delivery, in the order of the events."""
    longest = timedelta(seconds=max(each.filter.max_age for each in subscribers))
    young = reader.young_enough([each.killmail_id for each in stored], min(each.stored_at for each in stored) - longest)
    killmails = {each.killmail_id: each for each in queries.killmails(young, items=False)}
    return [
        (subscriber.webhook_id, each.killmail_id)
        for each in stored
        if each.killmail_id in killmails
        for subscriber in subscribers
        if each.stored_at >= subscriber.since
        and subscriber.filter.matches(killmails[each.killmail_id], subscriber.character_ids, each.stored_at)
    ]
