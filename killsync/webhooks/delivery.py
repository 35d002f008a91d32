"""Delivering to one webhook what waits for it, in order, at least once, and what to do about its receiver's answers.

Few deliveries are under way in one process. A webhook that finds no free slot stays due in the table and costs no message:
whoever begins or ends a delivery sends the next one that is due, and so does the sweep.
"""

from __future__ import annotations

import time
import uuid
from functools import partial

import dramatiq
from yarl import URL

from killsync import http_session
from killsync import settings as settings_module
from killsync.broker.messages import send
from killsync.broker.running import running_message
from killsync.killmails.filter_forms import BadFilter
from killsync.killmails.killmail import Killmail
from killsync.logging import get_logger
from killsync.observability import counters, metrics
from killsync.process import OnePerProcess
from killsync.sso.errors import VaultError
from killsync.sso.vault import Vault
from killsync.webhooks import deliveries, formats, policy, recent, sender
from killsync.webhooks.giving_up import disable_tracker, unusable
from killsync.webhooks.outlook import is_loss, origin_of
from killsync.webhooks.sender import Verdict
from killsync.webhooks.slots import SLOTS, SLOW_SLOTS, Lane, Slots
from killsync.webhooks.subscribers import filter_of
from killsync.webhooks.waiting import Target, Waiting
from models import utcnow
from models.webhooks import DISCORD

log = get_logger("notifications")

#: A webhook is held this long without a sign of life, one message works at most this long on it, and then on others, seconds.
LEASE_SECONDS = 60.0
SLICE_SECONDS = 10.0
TURN_SECONDS = 10.0
#: A receiver that takes longer than this to answer goes to the lane of slow ones, seconds.
SLOW_SECONDS = 2.0
#: A message waits this long for the names in it, and looks for them first after the shorter time, seconds.
NAMES_SECONDS = 20.0
NAMES_PAUSE = 0.3
#: A pause that is longer than this needs no message of its own: the sweep finds the webhook when it is due, seconds.
LONGEST_DELAY = 30.0
#: A webhook whose address cannot be decrypted is looked at again after this long, seconds.
UNREADABLE_PAUSE = 1_800.0

delivery_slots = OnePerProcess(Slots)


def send_due(limit: int, *, is_slow: bool = False) -> None:
    """Send up to *limit* webhooks of one lane that are due to the workers; those who begin with them send more.

    What the broker does not take stays due, and the sweep sends it.
    """
    claimed = deliveries.claim_due(limit, LEASE_SECONDS, is_slow=is_slow)
    while claimed:
        try:
            send("deliver", claimed[0])
        except dramatiq.errors.BrokerConnectionError:
            log.warning("webhooks not sent to workers: the broker does not answer", webhooks=len(claimed))
            for webhook_id in claimed:
                deliveries.unclaim(webhook_id)
            return
        claimed.pop(0)


def send_all_due() -> None:
    """Send as many webhooks that are due as one process has slots for, in either lane."""
    send_due(SLOTS)
    send_due(SLOW_SLOTS, is_slow=True)


def deliver(webhook_id: int) -> None:
    """Deliver what waits for one webhook, one after the other, until there is nothing or its receiver wants a pause."""
    lane = deliveries.lane_of(webhook_id)
    if lane is None:
        send_due(1)
        return
    slots = delivery_slots()
    if not slots.acquire(lane):
        deliveries.unclaim(webhook_id)
        if slots.acquire(lane):
            # A slot became free meanwhile, and whoever freed it did not see this webhook yet.
            slots.release(lane)
            send_due(1, is_slow=lane.is_slow)
        return
    turn = Turn(lane)
    try:
        turn.run(webhook_id)
    finally:
        slots.release(turn.lane)
        # What became due when its turn had passed, and webhooks that changed their lane.
        for is_slow in turn.lanes:
            send_due(1, is_slow=is_slow)


class Turn:
    """One slot's work for a while: a webhook, then others that are due. So much that is due costs few messages.

    Attributes:
        lane: what the slot is held for now.
        lanes: those in which something may be due afterwards: slow ones, others.
    """

    def __init__(self, lane: Lane) -> None:
        self.lane = lane
        self.lanes = {lane.is_slow}
        self._message = running_message()
        self._holder = f"{self._message.id}:{uuid.uuid4().hex}"

    def run(self, webhook_id: int) -> None:
        """Deliver to one webhook, then to others of its lane that are due, for TURN_SECONDS."""
        if self._message.redelivered:
            deliveries.let_go(self._message.id)
        ends = time.monotonic() + TURN_SECONDS
        target = deliveries.lease(webhook_id, self._holder, self._message.id, LEASE_SECONDS)
        if target is not None:
            # Another slot, here or in another process, takes the next one: so all slots are busy while much is due.
            send_due(1, is_slow=self.lane.is_slow)
        while target is not None:
            delivery = Delivery(target, self._holder, self.lane)
            try:
                delivery.run()
            finally:
                self.lanes.add(delivery.is_slow)
                delivery.give_back()
            target = self._next() if time.monotonic() < ends else None

    def _next(self) -> Target | None:
        """The next webhook that is due; the slot is held for it from now on."""
        slots, lane = delivery_slots(), self.lane
        full = slots.full_accounts(lane)
        target = deliveries.take_due(self._holder, LEASE_SECONDS, is_slow=lane.is_slow, but=full)
        if target is None:
            return None
        new = Lane(target.account_id, lane.is_slow)
        if not slots.exchange(lane, new):
            # Another thread has taken the last slot of that account meanwhile.
            deliveries.release(target.webhook_id, self._holder)
            return None
        self.lane = new
        return target


def _schedule(webhook_id: int, seconds: float) -> None:
    """Go on in *seconds*. Called when the lease is given back: a message that finds it held is dropped."""
    if seconds > LONGEST_DELAY:
        return
    try:
        send("deliver", webhook_id, delay_ms=int(seconds * 1000) + 50)
    except dramatiq.errors.BrokerConnectionError:
        log.warning("webhook not scheduled: the broker does not answer", webhook_id=webhook_id)


class Delivery:
    """The deliveries of one leased webhook."""

    def __init__(self, target: Target, holder: str, lane: Lane) -> None:
        self.target = target
        self.holder = holder
        self.lane = lane
        self.is_slow = lane.is_slow
        self.is_held = True
        self.settings = settings_module.current()
        self.log = log.bind(webhook_id=target.webhook_id, kind=target.kind)

    def run(self) -> None:
        """Deliver until nothing waits, a pause is due, or the slice of time is used up: then it is due again."""
        ends = time.monotonic() + SLICE_SECONDS
        waiting = deliveries.next_waiting(self.target.webhook_id)
        while waiting is not None:
            waiting = self._one(waiting)
            if time.monotonic() > ends or (self.is_slow and not self.lane.is_slow):
                return

    def give_back(self) -> None:
        """Give the webhook back, unless that is done: due again as soon as something waits."""
        if self.is_held:
            deliveries.release(self.target.webhook_id, self.holder)

    def _renewed(self) -> Waiting | None:
        """What follows at once, for the webhook as it is now: paused, changed, or told to wait meanwhile."""
        target = deliveries.renew(self.target.webhook_id, self.holder, LEASE_SECONDS)
        if target is None:
            return None
        self.target = target
        return deliveries.next_waiting(target.webhook_id)

    def _one(self, waiting: Waiting) -> Waiting | None:
        """One delivery; the next one that may follow at once."""
        killmail = recent.current().get(waiting.killmail_id)
        if killmail is None:
            deliveries.skip(waiting.delivery_id, deliveries.GONE)
            return self._renewed()
        age = (utcnow() - waiting.entered_at).total_seconds()
        if formats.names_missing(killmail) and age < NAMES_SECONDS:
            # Most names come within a second; those that do not are asked about less and less.
            self._defer(min(max(NAMES_PAUSE, age / 2), 1.0))
            return None
        vault = Vault(self.settings.secret_keys)
        try:
            url = vault.decrypt(self.target.url)
            secret = vault.decrypt(self.target.secret) if self.target.secret else None
        except VaultError as error:
            self._defer(UNREADABLE_PAUSE)
            self.log.warning("webhook not readable", reason=str(error))
            return None
        try:
            message = self._message(killmail, waiting, secret)
        except BadFilter as error:
            # What waits for the tracker is kept for when its owner has mended it; others of the webhook go on.
            disable_tracker(waiting.tracker_id, unusable(error))
            return self._renewed()
        except Exception:
            # This killmail alone: it must not keep those behind it waiting for ever.
            self.log.exception("killmail not written as a message", killmail_id=waiting.killmail_id)
            return self._handle(Verdict("refused", "this killmail could not be written as a message"), waiting)
        started = time.monotonic()
        if waiting.voice.thread_id and self.target.kind == DISCORD:
            url = str(URL(url).update_query(thread_id=waiting.voice.thread_id))
        posting = sender.post(url, message.body, message.headers, allow_private=self.settings.webhook_allow_private)
        verdict = sender.judge(http_session.run(posting))
        took = time.monotonic() - started
        self.is_slow = took >= SLOW_SECONDS
        metrics.webhook_delivery(self.target.kind, verdict.kind, took)
        counters.add(counters.WEBHOOKS, verdict.kind)
        return self._handle(verdict, waiting)

    def _message(self, killmail: Killmail, waiting: Waiting, secret: str | None) -> formats.Message:
        chosen = filter_of(waiting.wants, self.target.account_id)
        return formats.message(
            self.target.kind,
            killmail,
            formats.Place(self.settings.public_url, self.settings.esi_url, self.settings.eve_images),
            is_loss=is_loss(chosen, killmail),
            delivery_id=waiting.delivery_id,
            secret=secret,
            voice=waiting.voice,
            origin=origin_of(chosen, killmail),
        )

    def _handle(self, verdict: Verdict, waiting: Waiting) -> Waiting | None:
        """Record what the receiver's answer means; the next delivery that may follow at once."""
        log = self.log.bind(killmail_id=waiting.killmail_id)
        if verdict.kind == "taken":
            log.info("webhook delivered")
            return self._delivered(waiting, verdict.pause or 0.0)
        log.warning("webhook not delivered", reason=verdict.reason)
        if verdict.kind != "later":
            return self._failed(verdict, waiting)
        pause = verdict.pause or 1.0
        if verdict.everywhere:
            deliveries.defer_kind(self.target.kind, pause)
        self._defer(pause, asked=pause)
        return None

    def _delivered(self, waiting: Waiting, pause: float) -> Waiting | None:
        follows = deliveries.record_delivery(
            self.target.webhook_id, waiting.delivery_id, self.holder, pause, LEASE_SECONDS, is_slow=self.is_slow
        )
        self.is_held = follows.is_held
        self.target = follows.target or self.target
        if follows.is_held and pause > 0:
            self._defer(pause, asked=pause)
        return follows.waiting

    def _defer(self, seconds: float, *, asked: float = 0.0) -> None:
        if deliveries.defer(self.target.webhook_id, self.holder, seconds, asked=asked):
            _schedule(self.target.webhook_id, seconds)

    def _failed(self, verdict: Verdict, waiting: Waiting) -> Waiting | None:
        judge = partial(policy.consequence_of, verdict)
        found = deliveries.record_failure(
            self.target, waiting.delivery_id, self.holder, verdict.reason, judge, is_slow=self.is_slow
        )
        if found is None or found.disable is not None:
            return None
        if not found.skip:
            _schedule(self.target.webhook_id, found.pause)
            return None
        return self._renewed()
