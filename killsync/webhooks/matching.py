"""Which webhooks want what was stored: reads the log, enters deliveries, and sends the webhooks that are due to workers.

What is to be delivered stands in the database; a message only says which webhook has something, and the sweep sends it
again. A killmail is delivered after it is stored, never before, and nothing here runs in the transaction that saves it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from datetime import timedelta

import dramatiq

from killsync.broker.messages import send
from killsync.killmails import queries
from killsync.logging import get_logger
from killsync.process import OnePerProcess
from killsync.webhooks import delivery, reader
from killsync.webhooks.reader import Choice, Reading, Stored, Subscriber
from models import connection

log = get_logger("notifications")

#: One process asks at most this often for the log to be read, once for the first of a burst and once for its rest.
COLLECT_MS = 300
#: How often a process looks whether there is any webhook, seconds.
LOOK_SECONDS = 10.0


class Announcer:
    """When this process last had the log read: the killmails of a burst share two messages."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._looked_at = self._sent_at = self._rest_at = float("-inf")
        self._has_webhooks = False

    def killmails_saved(self) -> None:
        """Have the log read: at once for the first of a burst, COLLECT_MS later for its rest."""
        now = time.monotonic()
        with self._lock:
            if now - self._looked_at >= LOOK_SECONDS:
                self._looked_at = now
                with connection():
                    self._has_webhooks = reader.has_active()
            is_first = now - self._sent_at >= COLLECT_MS / 1000
            if not self._has_webhooks:
                return
            if is_first:
                self._sent_at = now
        if is_first:
            _send_announce()
        else:
            self.read_later()

    def read_later(self) -> None:
        """Have the log read COLLECT_MS later, unless that is about to happen anyway."""
        now = time.monotonic()
        with self._lock:
            if now < self._rest_at:
                return
            self._rest_at = now + COLLECT_MS / 1000
        _send_announce(COLLECT_MS)


def _send_announce(delay_ms: int | None = None) -> None:
    try:
        send("announce", delay_ms=delay_ms)
    except dramatiq.errors.BrokerConnectionError:
        log.warning("webhooks are notified late: the broker does not answer")


_announcer = OnePerProcess(Announcer)


def killmails_saved() -> None:
    """Killmails were stored: have webhooks notified. Costs next to nothing when there are none."""
    _announcer().killmails_saved()


def announce() -> None:
    """Read what was stored, and send the webhooks that are due. While another worker reads, its turn comes later."""
    found = Reading.MORE
    while found is Reading.MORE:
        found = reader.read_log(choose)
    if found is Reading.BUSY:
        _announcer().read_later()
    delivery.send_all_due()


def sweep() -> None:
    """Whatever a lost message or a dead worker left: read the log, send what is due."""
    if reader.has_active():
        announce()
    else:
        reader.stop_reading()


def choose(stored: Sequence[Stored], subscribers: Sequence[Subscriber]) -> Choice:
    """Who wants which killmail, in the order of the log. A webhook that cannot be asked does not stop the others."""
    choice = Choice()
    longest = timedelta(seconds=max(each.filter.max_age for each in subscribers))
    young = reader.young_enough([each.killmail_id for each in stored], min(each.stored_at for each in stored) - longest)
    killmails = {each.killmail_id: each for each in queries.killmails(young, items=False)}
    for each in stored:
        killmail = killmails.get(each.killmail_id)
        if killmail is None:
            continue
        for subscriber in subscribers:
            if each.stored_at < subscriber.since or subscriber.webhook_id in choice.unusable:
                continue
            try:
                is_wanted = subscriber.filter.matches(killmail, subscriber.character_ids, each.stored_at)
            except Exception:
                log.exception("webhook not evaluated", webhook_id=subscriber.webhook_id, killmail_id=each.killmail_id)
                choice.unusable[subscriber.webhook_id] = "Its conditions cannot be used"
                continue
            if is_wanted:
                choice.pairs.append((subscriber.webhook_id, each.killmail_id))
    return choice
