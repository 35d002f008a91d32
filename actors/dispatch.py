"""Feeds the detail queue from the ledger: as many killmails as ESI's budget and the workers can take, most urgent first.

Only what can be fetched soon becomes a message. So a backlog of any size never stands in front of a killmail that just
happened, nothing circles through delay queues while the budget is empty, and a wiped broker loses nothing.
"""

from __future__ import annotations

import threading
import uuid
from typing import Any

import dramatiq

import logs
import settings as settings_module
from esi import clock
from esi.client import shared
from models import ledger, runs

log = logs.get("dispatch")

#: Most killmails that are with the workers at a time. Bounds how long a fresh one waits behind those before it.
IN_FLIGHT = 240
_LEASE = "dispatch"
_busy = threading.Lock()


def dispatch() -> int:
    """Send due killmails to the workers; the number sent. One thread of a process at a time: others need not wait."""
    if not _busy.acquire(blocking=False):
        return 0
    try:
        return _dispatch()
    finally:
        _busy.release()


def _dispatch() -> int:
    client = shared(settings_module.current())
    sent = ledger.sent()
    room = max(0, IN_FLIGHT - sent)
    fresh = ledger.claim(min(room, max(0, client.available(backlog=False) - sent)), backlog=False)
    sent += len(fresh)
    room -= len(fresh)
    backlog = ledger.claim(min(room, max(0, client.available(backlog=True) - sent)), backlog=True)
    total = len(fresh) + len(backlog)
    _send([*fresh, *backlog])
    if ledger.is_due():
        a_moment = clock.here(1.0)
        _come_back(a_moment if total else max(a_moment, min(30.0, client.wait(backlog=True))))
    return total


def _send(killmail_ids: list[int]) -> None:
    from actors.killmails import fetch_killmail

    # The message in the middle of a batch asks for the next batch, so workers never run dry between two ticks.
    middle = len(killmail_ids) // 2
    for position, killmail_id in enumerate(killmail_ids):
        fetch_killmail.send(killmail_id, more=position == middle)
    ledger.handed_over(killmail_ids)


def _come_back(seconds: float) -> None:
    """One delayed message over all processes; the scheduler's tick stands in when it is lost."""
    if runs.take_lease(_LEASE, uuid.uuid4().hex, seconds + 5.0):
        dispatch_killmails.send_with_options(delay=int(seconds * 1000))


@dramatiq.actor(queue_name="esi_enqueue_queue", max_retries=0)
def dispatch_killmails(**_newer: Any) -> None:
    """Send what has become due."""
    # This is the one message that `_come_back` let through: the next may be sent.
    runs.end_lease(_LEASE)
    dispatch()
