"""Delivering to one webhook what waits for it, in order, at least once, and what to do about its receiver's answers.

Few deliveries are under way in one process. A webhook that finds no free slot stays due in the table and costs no message:
whoever begins or ends a delivery sends the next one that is due, and so does the sweep.
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
from killsync.process import OnePerProcess
from killsync.sso.errors import VaultError
from killsync.sso.vault import Vault
from killsync.webhooks import deliveries, formats, sender
from killsync.webhooks.deliveries import Target, Waiting
from killsync.webhooks.sender import Verdict
from models import utcnow

log = get_logger("notifications")

#: A webhook is held this long without a sign of life, and one message works at most this long on it, seconds.
LEASE_SECONDS = 60.0
SLICE_SECONDS = 10.0
#: Deliveries under way in one process: slow receivers never take the threads that fetch killmails.
SLOTS = 3
#: A message waits this long for the names in it, seconds.
NAMES_SECONDS = 20.0
#: A pause that is longer than this needs no message of its own: the sweep finds the webhook when it is due, seconds.
LONGEST_DELAY = 30.0
#: A receiver that is not well is asked again after 5 s, 10 s, 20 s ... at most half an hour, and given up after 5 days.
FIRST_PAUSE, LONGEST_PAUSE = 5.0, 1_800.0
GIVE_UP_AFTER = timedelta(days=5)
#: A receiver that takes nothing at this address (401, 403, 404, 410) is given up after this many answers in a row.
LOST_AT = 3
LOST_PAUSE = 60.0
#: A message that is refused is tried this often, then the next one; so many failures in a row end a webhook.
MOST_REFUSALS = 3
REFUSED_AT = 15

delivery_slots = OnePerProcess(lambda: threading.BoundedSemaphore(SLOTS))


def send_due(limit: int) -> None:
    """Send up to *limit* webhooks that are due to the workers; those who begin with them send more."""
    for webhook_id in deliveries.claim_due(limit, LEASE_SECONDS):
        send("deliver", webhook_id)


def deliver(webhook_id: int) -> None:
    """Deliver what waits for one webhook, one after the other, until there is nothing or its receiver wants a pause."""
    slots = delivery_slots()
    if not slots.acquire(blocking=False):
        deliveries.unclaim(webhook_id)
        if not slots.acquire(blocking=False):
            return
        # A slot became free meanwhile, and whoever freed it did not see this webhook yet.
        slots.release()
        send_due(1)
        return
    try:
        _deliver(webhook_id)
    finally:
        slots.release()
        send_due(1)


def _deliver(webhook_id: int) -> None:
    message = dramatiq.middleware.CurrentMessage.get_current_message()
    message_id = str(message.message_id) if message else uuid.uuid4().hex
    holder = f"{message_id}:{uuid.uuid4().hex}"
    target = deliveries.lease(webhook_id, holder, message_id, LEASE_SECONDS)
    if target is None:
        return
    try:
        # Another slot, here or in another process, takes the next one: so all slots are busy while much is due.
        send_due(1)
        Delivery(target, holder).run()
    finally:
        deliveries.release(webhook_id, holder)


def _schedule(webhook_id: int, seconds: float) -> None:
    """Go on in *seconds*."""
    if seconds <= LONGEST_DELAY:
        send("deliver", webhook_id, delay_ms=int(seconds * 1000) + 50)


class Delivery:
    """The deliveries of one leased webhook."""

    def __init__(self, target: Target, holder: str) -> None:
        self.target = target
        self.holder = holder
        self.settings = settings_module.current()
        self.log = log.bind(webhook_id=target.webhook_id, kind=target.kind)

    def run(self) -> None:
        """Deliver until nothing waits, a pause is due, or the slice of time is used up: then it is due again."""
        ends = time.monotonic() + SLICE_SECONDS
        while time.monotonic() <= ends:
            waiting = deliveries.next_waiting(self.target.webhook_id)
            if waiting is None or not self._one(waiting):
                return

    def _one(self, waiting: Waiting) -> bool:
        """One delivery; whether the next may follow at once."""
        found = queries.killmails([waiting.killmail_id], items=False)
        if not found:
            deliveries.skip(waiting.delivery_id, deliveries.GONE)
            return True
        killmail = found[0]
        if formats.names_missing(killmail) and (utcnow() - waiting.entered_at).total_seconds() < NAMES_SECONDS:
            self._defer(1.0)
            return False
        try:
            url, message = self._prepared(killmail, waiting)
        except VaultError as error:
            self._defer(LONGEST_PAUSE)
            self.log.warning("webhook not readable", reason=str(error))
            return False
        started = time.monotonic()
        posting = sender.post(url, message.body, message.headers, allow_private=self.settings.webhook_allow_private)
        verdict = sender.judge(http_session.run(posting))
        metrics.webhook_delivery(self.target.kind, verdict.kind, time.monotonic() - started)
        counters.add(counters.WEBHOOKS, verdict.kind)
        return self._handle(verdict, waiting)

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

    def _handle(self, verdict: Verdict, waiting: Waiting) -> bool:
        """Record what the receiver's answer means; whether the next delivery may follow at once."""
        log = self.log.bind(killmail_id=waiting.killmail_id)
        if verdict.kind == "taken":
            log.info("webhook delivered")
            return self._delivered(waiting, verdict.pause or 0.0)
        log.warning("webhook not delivered", reason=verdict.reason)
        failures = self.target.failures
        if verdict.kind == "later":
            pause = verdict.pause or 1.0
            if verdict.everywhere:
                deliveries.defer_kind(self.target.kind, pause)
            self._defer(pause)
        elif verdict.kind == "refused" and waiting.attempts + 1 >= MOST_REFUSALS:
            self._failed(verdict, waiting, 0.0)
            deliveries.skip(waiting.delivery_id, deliveries.REFUSED)
            _schedule(self.target.webhook_id, 0.0)
        elif verdict.kind == "lost":
            self._failed(verdict, waiting, LOST_PAUSE * 5.0**failures)
        else:
            self._failed(verdict, waiting, max(verdict.pause or 0.0, _backoff(failures)))
        return False

    def _delivered(self, waiting: Waiting, pause: float) -> bool:
        is_held = deliveries.record_delivery(
            self.target.webhook_id, waiting.delivery_id, self.holder, pause, LEASE_SECONDS
        )
        if is_held and pause > 0:
            self._defer(pause)
        return is_held and not pause

    def _defer(self, seconds: float) -> None:
        deliveries.defer(self.target.webhook_id, self.holder, seconds)
        _schedule(self.target.webhook_id, seconds)

    def _failed(self, verdict: Verdict, waiting: Waiting, pause: float) -> None:
        webhook_id = self.target.webhook_id
        deliveries.record_failure(webhook_id, waiting.delivery_id, self.holder, verdict.reason, pause)
        reason = self._reason_to_disable(verdict)
        if reason is not None:
            deliveries.disable(webhook_id, reason)
            self.log.warning("webhook disabled", reason=reason)
        elif pause > 0:
            _schedule(webhook_id, pause)

    def _reason_to_disable(self, verdict: Verdict) -> str | None:
        failures, failing_since = self.target.failures + 1, self.target.failing_since
        if verdict.kind == "lost" and failures >= LOST_AT:
            return f"{failures} times in a row: {verdict.reason}"
        if verdict.kind == "refused" and failures >= REFUSED_AT:
            return f"It takes none of our messages: {verdict.reason}"
        if failing_since is not None and utcnow() - failing_since > GIVE_UP_AFTER:
            return f"Nothing could be delivered for {GIVE_UP_AFTER.days} days: {verdict.reason}"
        return None


def _backoff(failures: int) -> float:
    pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures, 12))
    return pause * random.uniform(1.0, 1.2)  # noqa: S311
