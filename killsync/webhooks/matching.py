"""Which trackers want what was stored: reads the log, enters deliveries, and sends the webhooks that are due to workers.

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
from killsync.webhooks.index import TrackerIndex
from killsync.webhooks.reader import Choice, Reading, Stored
from killsync.webhooks.subscribers import Subscriber, has_active
from models import connection

log = get_logger("notifications")

#: One process asks at most this often for the log to be read, once for the first of a burst and once for its rest.
COLLECT_MS = 300
#: How often a process looks whether there is any webhook, seconds.
LOOK_SECONDS = 10.0


class Announcer:
    """When this process last had the log read: the killmails of a burst share two messages.

    The second of them is sent by one thread that stays: a thread of its own for each would leave a connection to RabbitMQ each.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._looked_at = self._sent_at = float("-inf")
        self._rest_at: float | None = None
        self._thread: threading.Thread | None = None
        self._has_webhooks = False

    def killmails_saved(self) -> None:
        """Have the log read: at once for the first of a burst, COLLECT_MS later for its rest."""
        now = time.monotonic()
        with self._changed:
            if now - self._looked_at >= LOOK_SECONDS:
                self._looked_at = now
                with connection():
                    self._has_webhooks = has_active()
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
        # Dramatiq looks at what is delayed once a second, and that would be most of the way from the save to the request.
        # What a process that ends takes with it, the sweep finds.
        with self._changed:
            if self._rest_at is not None:
                return
            self._rest_at = time.monotonic() + COLLECT_MS / 1000
            if self._thread is None:
                self._thread = threading.Thread(target=self._send_rests, name="announcer", daemon=True)
                self._thread.start()
            self._changed.notify()

    def _send_rests(self) -> None:
        while _announcer() is self:
            with self._changed:
                if self._rest_at is None:
                    self._changed.wait(LOOK_SECONDS)
                rest_at = self._rest_at
            if rest_at is None:
                continue
            time.sleep(max(0.0, rest_at - time.monotonic()))
            with self._changed:
                self._rest_at = None
            if _announcer() is self:
                _send_announce()


def _send_announce() -> None:
    try:
        send("announce")
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
    if has_active():
        announce()
    else:
        reader.stop_reading()


class Matcher:
    """The index of the trackers, made anew when one of them has changed."""

    def __init__(self) -> None:
        self._known: tuple[Sequence[Subscriber], TrackerIndex] | None = None

    def of(self, subscribers: Sequence[Subscriber]) -> TrackerIndex:
        """The index of these."""
        known = self._known
        if known is None or known[0] is not subscribers:
            known = self._known = subscribers, TrackerIndex(subscribers)
        return known[1]


_matcher = OnePerProcess(Matcher)


def choose(stored: Sequence[Stored], subscribers: Sequence[Subscriber]) -> Choice:
    """Who wants which killmail, in the order of the log. A tracker that cannot be asked does not stop the others."""
    choice = Choice()
    index = _matcher().of(subscribers)
    ids = _young_enough(stored, subscribers)
    killmails = {each.killmail_id: each for each in queries.killmails(ids, items=False)}
    for each in stored:
        killmail = killmails.get(each.killmail_id)
        if killmail is None:
            continue
        for subscriber in index.candidates(killmail):
            if each.stored_at < subscriber.since or subscriber.tracker_id in choice.unusable:
                continue
            try:
                is_wanted = subscriber.filter.matches(killmail)
            except Exception:
                log.exception("tracker not evaluated", tracker_id=subscriber.tracker_id, killmail_id=each.killmail_id)
                choice.unusable[subscriber.tracker_id] = "Its filter cannot be used"
                continue
            if is_wanted:
                choice.pairs.append((subscriber, each.killmail_id))
    return choice


def _young_enough(stored: Sequence[Stored], subscribers: Sequence[Subscriber]) -> list[int]:
    """Those that are young enough for anybody: so a backfill is passed over cheaply."""
    ids = [each.killmail_id for each in stored]
    ages = [each.filter.max_age for each in subscribers]
    if any(age is None for age in ages):
        return ids
    longest = timedelta(seconds=max(age for age in ages if age is not None) + 1)
    return reader.young_enough(ids, min(each.stored_at for each in stored) - longest)
