"""Feeds the detail queue from the ledger: as many killmails as ESI's budget and the workers can take, most urgent first.

Only what can be fetched soon becomes a message. So a backlog of any size never stands in front of a killmail that just
happened, nothing circles through delay queues while the budget is empty, and a wiped broker loses nothing.
"""

from __future__ import annotations

import threading
import time
import uuid

from dramatiq.errors import BrokerConnectionError

from killsync import leases
from killsync import settings as settings_module
from killsync.broker.messages import send
from killsync.broker.queues import PRIORITY
from killsync.esi.client import shared
from killsync.esi.rate_limit.rate_limit import Room
from killsync.killmails import ledger
from killsync.logging import get_logger
from killsync.process import OnePerProcess
from models.exactly_once import in_transaction_once
from models.expressions import either

log = get_logger("dispatch")

#: Most killmails that are with the workers at a time. Bounds how long a fresh one waits behind those before it: each message of
#: history that waits for its turn in a process keeps a thread of it.
IN_FLIGHT = 320
#: Killmails of one message: history travels in bulk, what just happened in parts that several threads share.
BATCH, FRESH_BATCH = 40, 5
#: On SQLite. It has one writer, and a commit writes every page that it touched, so a killmail of 160 takes two thirds of the time
#: of one of 40. They too are fewer messages than threads.
IN_FLIGHT_SQLITE, BATCH_SQLITE = 960, 160
_LEASE = "dispatch"


class Dispatcher:
    """Sends due killmails for one process, one thread at a time, and has the rest sent when there is room for it."""

    def __init__(self) -> None:
        self._dispatching = threading.Lock()
        #: Somebody asked since the pass began that is under way: it may have looked before their killmails were due.
        self._asked_again = False
        #: Until when a delayed message of this process is on its way, by the monotonic clock.
        self._scheduled_until = 0.0

    def dispatch(self) -> int:
        """Send due killmails to the workers; the number sent. 0 while another thread is at it, which then looks once more.

        A broker that does not answer is no error of whoever recorded the killmails: they stay due, and the next tick sends
        them.
        """
        sent = 0
        self._asked_again = True
        while self._asked_again and self._dispatching.acquire(blocking=False):
            try:
                self._asked_again = False
                sent += self._dispatch()
            except BrokerConnectionError as error:
                log.warning("killmails not sent: the broker does not answer", reason=type(error).__name__)
            finally:
                self._dispatching.release()
        return sent

    def dispatch_again(self, scheduled_by: str | None) -> None:
        """Send what has become due: the delayed message has come."""
        if scheduled_by is None:
            leases.expire(_LEASE)
        else:
            # It may be late, and another one under way by now: that one stays the only one.
            leases.release(_LEASE, scheduled_by)
        self._scheduled_until = 0.0
        self.dispatch()

    def _dispatch(self) -> int:
        client = shared(settings_module.current())
        room = client.room()
        sent = ledger.count_sent()
        fresh, backlog = in_transaction_once(lambda: _claim(room, sent))
        size = either(postgres=BATCH, sqlite=BATCH_SQLITE)
        _send([*_batches(fresh, FRESH_BATCH), *_batches(backlog, size)], fresh=len(fresh))
        total = len(fresh) + len(backlog)
        if ledger.has_due():
            a_moment = client.clock.here(1.0)
            self._schedule(a_moment if total else max(a_moment, min(30.0, room.wait)))
        return total

    def _schedule(self, seconds: float) -> None:
        """One delayed message over all processes; the scheduler's tick stands in when it is lost."""
        now = time.monotonic()
        if now < self._scheduled_until:
            return
        self._scheduled_until = now + seconds
        holder = uuid.uuid4().hex
        if not leases.acquire(_LEASE, holder, seconds + 5.0):
            return
        try:
            send("dispatch_killmails", scheduled_by=holder, delay_ms=int(seconds * 1000))
        except BrokerConnectionError:
            # It is not under way, so another may be.
            self._scheduled_until = 0.0
            leases.release(_LEASE, holder)
            raise


_dispatcher = OnePerProcess(Dispatcher)


def dispatch() -> int:
    """Send due killmails to the workers; the number sent. One thread of a process at a time: others need not wait."""
    return _dispatcher().dispatch()


def dispatch_again(scheduled_by: str | None = None) -> None:
    """Send what has become due: the delayed message that `dispatch` scheduled has come.

    Args:
        scheduled_by: who scheduled it; None in a message of an earlier version.
    """
    _dispatcher().dispatch_again(scheduled_by)


def _claim(room: Room, sent: int) -> tuple[list[int], list[int]]:
    """Fresh killmails and those of a backlog that may be sent now, while *sent* are with the workers."""
    most = either(postgres=IN_FLIGHT, sqlite=IN_FLIGHT_SQLITE)
    # What is fresh does not wait for room among what a backlog has sent.
    fresh = ledger.claim(min(most, max(0, room.fresh - sent)), backlog=False)
    return fresh, ledger.claim(max(0, min(most, room.backlog) - sent - len(fresh)), backlog=True)


def _batches(killmail_ids: list[int], size: int) -> list[list[int]]:
    return [killmail_ids[start : start + size] for start in range(0, len(killmail_ids), size)]


def _send(batches: list[list[int]], *, fresh: int) -> None:
    # The message in the middle asks for more, so workers never run dry between two ticks.
    middle = len(batches) // 2
    for position, killmail_ids in enumerate(batches):
        priority = PRIORITY if position * FRESH_BATCH < fresh else None
        send("fetch_killmails", killmail_ids, more=position == middle, priority=priority)
    ledger.mark_sent([killmail_id for killmail_ids in batches for killmail_id in killmail_ids])
