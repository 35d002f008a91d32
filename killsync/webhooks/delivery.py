"""Telling webhooks of killmails: reads the events, enters who is to be told, and delivers in order, at least once.

What is to be delivered stands in the database; a message only says which webhook has something, and the sweep sends it
again. A killmail is told of after it is stored, never before, and nothing here runs in the transaction that saves it.
"""

from __future__ import annotations

import random
import threading
import time
import uuid
from datetime import timedelta

import dramatiq

from killsync import http_session
from killsync import settings as settings_module
from killsync.broker.messages import send
from killsync.killmails import queries
from killsync.killmails.killmail import Killmail
from killsync.logging import get_logger
from killsync.observability import counters, metrics
from killsync.sso.errors import VaultError
from killsync.sso.vault import Vault
from killsync.webhooks import deliveries, formats, reader, sender
from killsync.webhooks.deliveries import Target, Waiting
from killsync.webhooks.reader import Interest, Saved
from killsync.webhooks.sender import Verdict
from models import connection, utcnow

log = get_logger("notifications")

#: One process asks at most this often for the events to be read, once for the first of a burst and once for its rest.
COLLECT_MS = 300
#: How often a process asks whether there is any webhook, seconds.
LOOK_SECONDS = 10.0
#: A webhook is held this long without a sign of life, and one message works at most this long on it, seconds.
LEASE_SECONDS = 60.0
SLICE_SECONDS = 10.0
#: Deliveries under way in one process: slow receivers never take the threads that fetch killmails.
SLOTS = 3
#: A message waits this long for the names in it, seconds.
NAME_PATIENCE = 20.0
#: A receiver that is not well is asked again after 5 s, 10 s, 20 s ... at most half an hour, and given up after 5 days.
FIRST_PAUSE, LONGEST_PAUSE = 5.0, 1_800.0
GIVE_UP_AFTER = timedelta(days=5)
#: A receiver that takes nothing at this address (401, 403, 404, 410) is given up after this many answers in a row.
LOST_AT = 3
LOST_PAUSE = 60.0
#: A message that is refused is tried this often, then the next one; so many failures in a row end a webhook.
MOST_REFUSALS = 3
REFUSED_AT = 15

_slots = threading.BoundedSemaphore(SLOTS)
_lock = threading.Lock()
_looked_at = _asked_at = float("-inf")
_is_wanted = _rest_asked = False


def announce_soon() -> None:
    """A killmail was stored: have webhooks told. Costs next to nothing when there are none."""
    global _looked_at, _asked_at, _is_wanted, _rest_asked
    now = time.monotonic()
    with _lock:
        if now - _looked_at >= LOOK_SECONDS:
            _looked_at = now
            with connection():
                _is_wanted = reader.is_wanted()
        is_first = now - _asked_at >= COLLECT_MS / 1000
        if not _is_wanted or (_rest_asked and not is_first):
            return
        _rest_asked = not is_first
        if is_first:
            _asked_at = now
    send("announce", delay_ms=None if is_first else COLLECT_MS)


def sweep() -> None:
    """Whatever a lost message or a dead worker left: read the events, send what is due."""
    if reader.is_wanted():
        _follow()


def announce() -> None:
    """Read what was stored, and send the webhooks that are due."""
    _follow()


def _follow() -> None:
    place: int | None = None
    while True:
        place = reader.read_events(place, _choose)
        if place is None:
            break
    for webhook_id in deliveries.claim_due(100, LEASE_SECONDS):
        send("deliver", webhook_id)


def _choose(saved: list[Saved], wanted: list[Interest]) -> list[tuple[int, int]]:
    """(webhook id, killmail id) of each delivery, in the order of the events."""
    oldest = min(each.stored_at for each in saved) - timedelta(seconds=max(each.filter.max_age for each in wanted))
    young = reader.young_enough([each.killmail_id for each in saved], oldest)
    killmails = {each.killmail_id: each for each in queries.killmails(young, items=False)}
    return [
        (interest.webhook_id, each.killmail_id)
        for each in saved
        if each.killmail_id in killmails
        for interest in wanted
        if each.stored_at >= interest.since
        and interest.filter.matches(killmails[each.killmail_id], interest.character_ids, each.stored_at)
    ]


def deliver(webhook_id: int) -> None:
    """Deliver what waits for one webhook, one after the other, until there is nothing or its receiver wants a pause."""
    if not _slots.acquire(blocking=False):
        _come_back(webhook_id, random.uniform(0.5, 1.5))  # noqa: S311
        return
    try:
        _deliver(webhook_id)
    finally:
        _slots.release()


def _deliver(webhook_id: int) -> None:
    message = dramatiq.middleware.CurrentMessage.get_current_message()
    message_id = str(message.message_id) if message else uuid.uuid4().hex
    holder = f"{message_id}:{uuid.uuid4().hex}"
    target = deliveries.lease(webhook_id, holder, message_id, LEASE_SECONDS)
    if target is None:
        return
    try:
        _Delivering(target, holder).run()
    finally:
        deliveries.release(webhook_id, holder)


def _come_back(webhook_id: int, seconds: float) -> None:
    """Go on in *seconds*; what is further away is left to the sweep."""
    if seconds <= 30.0:
        send("deliver", webhook_id, delay_ms=int(seconds * 1000) + 50)


class _Delivering:
    """The deliveries of one leased webhook."""

    def __init__(self, target: Target, holder: str) -> None:
        self.target = target
        self.holder = holder
        self.settings = settings_module.current()
        self.say = log.bind(webhook_id=target.webhook_id, kind=target.kind)

    def run(self) -> None:
        """Deliver until nothing waits, a pause is due, or the slice of time is used up."""
        ends = time.monotonic() + SLICE_SECONDS
        while (waiting := deliveries.next_waiting(self.target.webhook_id)) is not None:
            if time.monotonic() > ends:
                send("deliver", self.target.webhook_id)
                return
            if not self._one(waiting):
                return

    def _one(self, waiting: Waiting) -> bool:
        """One delivery; whether the next may follow at once."""
        found = queries.killmails([waiting.killmail_id], items=False)
        if not found:
            deliveries.skip(waiting.delivery_id, deliveries.GONE)
            return True
        killmail = found[0]
        if formats.names_missing(killmail) and (utcnow() - waiting.entered_at).total_seconds() < NAME_PATIENCE:
            self._put_off(1.0)
            return False
        try:
            url, message = self._prepared(killmail, waiting)
        except VaultError as error:
            self._put_off(LONGEST_PAUSE)
            self.say.warning("webhook not readable", reason=str(error))
            return False
        started = time.monotonic()
        answer = http_session.run(
            sender.post(
                url, message.body, message.headers, allow_private=self.settings.webhook_allow_private
            )
        )  # fmt: skip
        verdict = sender.judge(answer)
        metrics.webhook_delivery(self.target.kind, verdict.kind, time.monotonic() - started)
        counters.add(counters.WEBHOOKS, verdict.kind)
        return self._heed(verdict, waiting)

    def _prepared(self, killmail: Killmail, waiting: Waiting) -> tuple[str, formats.Message]:
        vault = Vault(self.settings.secret_keys)
        chosen, pilots = self.target.filter, self.target.character_ids
        watches = chosen.mine or chosen.corporation_id is not None or chosen.alliance_id is not None
        message = formats.message(
            self.target.kind,
            killmail,
            formats.Place(self.settings.public_url, self.settings.esi_url, self.settings.eve_images),
            is_loss=chosen.is_loss(killmail, pilots) if watches else None,
            delivery_id=waiting.delivery_id,
            secret=vault.decrypt(self.target.secret) if self.target.secret else None,
        )
        return vault.decrypt(self.target.url), message

    def _heed(self, verdict: Verdict, waiting: Waiting) -> bool:
        say = self.say.bind(killmail_id=waiting.killmail_id)
        if verdict.kind == "taken":
            pause = verdict.pause or 0.0
            held = deliveries.record_delivery(
                self.target.webhook_id, waiting.delivery_id, self.holder, pause, LEASE_SECONDS
            )  # fmt: skip
            say.info("webhook told")
            if pause > 0 and held:
                self._put_off(pause)
            return held and not pause
        say.warning("webhook not told", reason=verdict.reason)
        if verdict.kind == "later":
            pause = verdict.pause or 1.0
            if verdict.everywhere:
                deliveries.defer_kind(self.target.kind, pause)
            self._put_off(pause)
        elif verdict.kind == "refused" and waiting.attempts + 1 >= MOST_REFUSALS:
            self._failed(verdict, waiting, 0.0)
            deliveries.skip(waiting.delivery_id, deliveries.REFUSED)
            _come_back(self.target.webhook_id, 0.0)
        elif verdict.kind == "lost":
            self._failed(verdict, waiting, LOST_PAUSE * 5.0**self.target.failures)
        else:
            self._failed(verdict, waiting, max(verdict.pause or 0.0, _backoff(self.target.failures)))
        return False

    def _put_off(self, seconds: float) -> None:
        deliveries.defer(self.target.webhook_id, self.holder, seconds)
        _come_back(self.target.webhook_id, seconds)

    def _failed(self, verdict: Verdict, waiting: Waiting, pause: float) -> None:
        target = self.target
        failures = target.failures + 1
        deliveries.record_failure(target.webhook_id, waiting.delivery_id, self.holder, verdict.reason, pause)
        reason = None
        if verdict.kind == "lost" and failures >= LOST_AT:
            reason = f"{failures} times in a row: {verdict.reason}"
        elif verdict.kind == "refused" and failures >= REFUSED_AT:
            reason = f"It takes none of our messages: {verdict.reason}"
        elif target.failing_since is not None and utcnow() - target.failing_since > GIVE_UP_AFTER:
            reason = f"Nothing could be delivered for {GIVE_UP_AFTER.days} days: {verdict.reason}"
        if reason is not None:
            deliveries.disable(target.webhook_id, reason)
            self.say.warning("webhook disabled", reason=reason)
        elif pause > 0:
            _come_back(target.webhook_id, pause)


def _backoff(failures: int) -> float:
    pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures, 12))
    return pause * random.uniform(1.0, 1.2)  # noqa: S311
