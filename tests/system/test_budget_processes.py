"""The shared rate limit over a real database: threads and processes together never spend what is not there."""

from __future__ import annotations

import contextlib
import ctypes
import random
import subprocess
import sys
import threading
import time
from typing import Any

from killsync.esi.clock import Clock
from killsync.esi.rate_limit.rate_limit import Bucket, RateLimit, Reservation, Wait
from models import connection
from models.sql import rows
from tests.support.deployment import environment
from tests.support.resources import PROJECT


def bucket(limit: int = 100, subject: str = "ip:test") -> Bucket:
    return Bucket("killmail", subject, limit, 900.0)


def test_threads_together_take_exactly_what_is_there(settings: Any) -> None:
    rate_limit, taken = RateLimit(5), []

    def take() -> None:
        for _ in range(20):
            result = rate_limit.take(bucket(), 2, backlog=False)
            if isinstance(result, Reservation):
                taken.append(result)

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 50


def test_a_backlog_leaves_the_reserve_to_fresh_calls(settings: Any) -> None:
    rate_limit = RateLimit(10)
    backlog = 0
    while isinstance(rate_limit.take(bucket(90), 2, backlog=True), Reservation):
        backlog += 1
    fresh = 0
    while isinstance(rate_limit.take(bucket(90), 2, backlog=False), Reservation):
        fresh += 1
    assert (backlog, fresh) == (40, 5), "nine tokens of ninety are kept, an odd one of them useless"


def test_a_refused_reservation_says_how_long_to_wait(settings: Any) -> None:
    rate_limit = RateLimit(5)
    for _ in range(50):
        assert isinstance(rate_limit.take(bucket(), 2, backlog=False), Reservation)
    wait = rate_limit.take(bucket(), 2, backlog=False)
    assert isinstance(wait, Wait) and 880 < wait.seconds <= 911


def test_a_call_that_cost_less_or_more_is_settled(settings: Any) -> None:
    rate_limit = RateLimit(5)
    taken = rate_limit.take(bucket(), 2, backlog=False)
    assert isinstance(taken, Reservation)
    rate_limit.settle(taken, 0, limit=None, remaining=None)
    assert rate_limit.room(bucket(), 2).fresh == 50
    taken = rate_limit.take(bucket(), 2, backlog=False)
    assert isinstance(taken, Reservation)
    rate_limit.settle(taken, 5, limit=None, remaining=None)
    assert rate_limit.room(bucket(), 2).fresh == 47
    taken = rate_limit.take(bucket(), 2, backlog=False)
    assert isinstance(taken, Reservation)
    rate_limit.settle(taken, 2, limit=(100, 900.0), remaining=11)
    assert rate_limit.room(bucket(), 2).fresh == 5, "another application on our address has spent the rest"


def test_a_reservation_of_a_process_that_died_comes_back_with_its_window(settings: Any) -> None:
    moment = time.time()
    rate_limit = RateLimit(5, Clock(lambda: moment))
    for _ in range(50):
        assert isinstance(rate_limit.take(bucket(), 2, backlog=False), Reservation)
    assert rate_limit.room(bucket(), 2).fresh == 0
    moment += 911
    assert rate_limit.room(bucket(), 2).fresh == 50


def test_a_block_holds_for_every_process_and_a_shorter_one_does_not_lift_it(settings: Any) -> None:
    RateLimit(5).block(bucket(), 60.0)
    RateLimit(5).block(bucket(), 5.0)
    wait = RateLimit(5).take(bucket(), 2, backlog=False)
    assert isinstance(wait, Wait) and 55 < wait.seconds <= 60
    assert RateLimit(5).room(bucket(), 2).fresh == 0
    assert isinstance(RateLimit(5).take(bucket(subject="ip:other"), 2, backlog=False), Reservation)


PROCESS = """
import sys, threading
from killsync import settings
from models import connect
from killsync.esi.rate_limit.rate_limit import Bucket, RateLimit, Reservation
connect(settings.current())
rate_limit, count, lock = RateLimit(5), [0], threading.Lock()
def take():
    for _ in range(40):
        if isinstance(rate_limit.take(Bucket("killmail", "ip:shared", 1000, 900.0), 2, backlog=False), Reservation):
            with lock: count[0] += 1
threads = [threading.Thread(target=take) for _ in range(8)]
[thread.start() for thread in threads]; [thread.join() for thread in threads]
print(count[0])
"""


def test_two_processes_share_one_budget(settings: Any) -> None:
    values = {"DATABASE_URL": settings.database_url, "PYTHONPATH": str(PROJECT)}
    running = [
        subprocess.Popen([sys.executable, "-c", PROCESS], stdout=subprocess.PIPE, text=True, env=environment(**values))
        for _ in range(2)
    ]
    counts = [int(process.communicate(timeout=100)[0]) for process in running]
    # 1,000 tokens, of which one is a margin: 499 calls of two.
    assert sum(counts) == 499, counts
    assert min(counts) > 0
    with connection():
        assert len(rows("SELECT 1 FROM esi_bucket WHERE name = 'killmail|ip:shared'")) == 1


class ThrownIn(BaseException):
    """What Dramatiq's time limits throw into a worker's thread, at any bytecode."""


def throw_into(thread: threading.Thread) -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(ThrownIn))


def test_threads_that_are_ended_at_any_moment_never_leave_the_others_waiting(settings: Any) -> None:
    rate_limit, until, left = RateLimit(5), time.monotonic() + 6.0, []

    def take() -> None:
        while time.monotonic() < until:
            with contextlib.suppress(ThrownIn):
                rate_limit.take(bucket(1_000_000), 2, backlog=False)
        left.append(True)

    threads = [threading.Thread(target=take, daemon=True) for _ in range(6)]
    for thread in threads:
        thread.start()
    while time.monotonic() < until - 0.5:
        throw_into(random.choice(threads))
        time.sleep(random.uniform(0.0, 0.004))
    for thread in threads:
        thread.join(timeout=10)
    assert sum(thread.is_alive() for thread in threads) == 0, "each call returned"
    assert isinstance(rate_limit.take(bucket(1_000_000), 2, backlog=False), Reservation)


def test_a_thread_that_is_ended_while_it_waits_for_the_row_holds_up_nobody(settings: Any, monkeypatch: Any) -> None:
    rate_limit = RateLimit(5)
    assert isinstance(rate_limit.take(bucket(), 2, backlog=False), Reservation)
    change, go_on = rate_limit._store.change, threading.Event()

    def slow(*arguments: Any) -> Any:
        go_on.wait(10)
        return change(*arguments)

    monkeypatch.setattr(
        rate_limit._batches["killmail|ip:test"], "_run", lambda works: slow("killmail|ip:test", None, works)
    )
    got: list[Any] = []

    def take() -> None:
        with contextlib.suppress(ThrownIn):
            got.append(rate_limit.take(bucket(), 2, backlog=False))

    threads = [threading.Thread(target=take, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
        time.sleep(0.05)
    throw_into(threads[1])
    threads[1].join(timeout=5)
    assert not threads[1].is_alive(), "it does not wait for the row"
    go_on.set()
    for thread in threads:
        thread.join(timeout=5)
    assert len(got) == 3 and all(isinstance(each, Reservation) for each in got)
    assert isinstance(rate_limit.take(bucket(), 2, backlog=False), Reservation)
