"""What a fault does inside a worker: loaded beside the actors (`dramatiq actors tests.chaos.hooks`), and CHAOS_* says what
to do. Nothing of it is in the product."""

from __future__ import annotations

import functools
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from killsync.broker import rabbitmq
from killsync.esi import clock
from killsync.killmails import dispatch, fetch, ledger, store
from killsync.scheduling import enqueue
from killsync.sync import characters, corporations, list_sync, lists

_lock = threading.Lock()
_calls = 0


def die_once(after: int) -> bool:
    """Kill this process at the call number *after*, but one process only: the first to make the mark."""
    global _calls
    with _lock:
        _calls += 1
        if _calls < after:
            return False
        try:
            Path(os.environ["CHAOS_MARK"]).touch(exist_ok=False)
        except FileExistsError:
            return False
        os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(60)
        return True


def before(function: Callable[..., Any], after: int) -> Callable[..., Any]:
    @functools.wraps(function)
    def dying(*arguments: Any, **options: Any) -> Any:
        die_once(after)
        return function(*arguments, **options)

    return dying


def behind(function: Callable[..., Any], after: int) -> Callable[..., Any]:
    @functools.wraps(function)
    def dying(*arguments: Any, **options: Any) -> Any:
        result = function(*arguments, **options)
        die_once(after)
        return result

    return dying


def _claimed(limit: int, **options: Any) -> list[int]:
    found = _claim(limit, **options)
    if found:
        die_once(1)
    return found


_claim = ledger.claim


def kill_at(step: str) -> None:
    """Make this process die by SIGKILL when it reaches *step*."""
    if step == "before the ledger":
        ledger.record_page = before(ledger.record_page, 2)
    elif step == "inside the ledger's transaction":
        ledger._record = behind(ledger._record, 2)
    elif step == "after the ledger":
        ledger.record_page = behind(ledger.record_page, 2)
    elif step == "after the page is remembered":
        lists.store_page = behind(lists.store_page, 2)
    elif step == "after killmails are claimed":
        dispatch.ledger.claim = _claimed
    elif step == "before the commit":
        store._save = behind(store._save, 10)
    elif step == "after the commit":
        fetch.save_killmails = behind(fetch.save_killmails, 5)
    elif step == "before the ack":
        rabbitmq._ParkingConsumer.ack = before(rabbitmq._ParkingConsumer.ack, 15)
    elif step == "while the token is refreshed":
        list_sync.access_token = behind(list_sync.access_token, 1)
    else:
        raise ValueError(step)


def setup() -> None:
    """Do what the environment says."""
    if step := os.environ.get("CHAOS_KILL_AT"):
        kill_at(step)
    if skew := os.environ.get("CHAOS_SKEW"):
        import datetime

        import time_machine

        moved = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=float(skew))
        time_machine.travel(moved, tick=True).start()
    if fast := os.environ.get("CHAOS_FAST"):
        started, speed = map(float, fast.split(":"))
        clock.shared.use(clock.Clock(lambda: started + (time.time() - started) * speed, speed))
    if claim := os.environ.get("CHAOS_CLAIM_SECONDS"):
        ledger.SENDING_SECONDS = ledger.CLAIM_SECONDS = float(claim)
        for module in (corporations, enqueue, list_sync, characters):
            module.IN_FLIGHT_SECONDS = float(claim)


setup()
