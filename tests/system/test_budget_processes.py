"""The shared budget over a real database: threads and processes together never spend what is not there."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from typing import Any

from killsync.esi.rate_limit.budget import Bucket, Budget, Taken
from models import connection
from models.sql import rows
from tests.support.deployment import environment
from tests.support.resources import PROJECT


def bucket(limit: int = 100, subject: str = "ip:test") -> Bucket:
    return Bucket("killmail", subject, limit, 900.0)


def test_threads_together_take_exactly_what_is_there(settings: Any) -> None:
    budget, taken = Budget(5), []

    def take() -> None:
        for _ in range(20):
            result = budget.take(bucket(), 2, backlog=False)
            if isinstance(result, Taken):
                taken.append(result)

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 50


def test_a_backlog_leaves_the_reserve_to_fresh_calls(settings: Any) -> None:
    budget = Budget(10)
    backlog = 0
    while isinstance(budget.take(bucket(90), 2, backlog=True), Taken):
        backlog += 1
    fresh = 0
    while isinstance(budget.take(bucket(90), 2, backlog=False), Taken):
        fresh += 1
    assert (backlog, fresh) == (40, 5), "nine tokens of ninety are kept, an odd one of them useless"


def test_a_refused_reservation_says_how_long_to_wait(settings: Any) -> None:
    budget = Budget(5)
    for _ in range(50):
        assert isinstance(budget.take(bucket(), 2, backlog=False), Taken)
    wait = budget.take(bucket(), 2, backlog=False)
    assert isinstance(wait, float) and 880 < wait <= 911


def test_a_call_that_cost_less_or_more_is_settled(settings: Any) -> None:
    budget = Budget(5)
    taken = budget.take(bucket(), 2, backlog=False)
    assert isinstance(taken, Taken)
    budget.settle(taken, 0, limit=None, remaining=None)
    assert budget.room(bucket(), 2).fresh == 50
    taken = budget.take(bucket(), 2, backlog=False)
    assert isinstance(taken, Taken)
    budget.settle(taken, 5, limit=None, remaining=None)
    assert budget.room(bucket(), 2).fresh == 47
    taken = budget.take(bucket(), 2, backlog=False)
    assert isinstance(taken, Taken)
    budget.settle(taken, 2, limit=(100, 900.0), remaining=11)
    assert budget.room(bucket(), 2).fresh == 5, "another application on our address has spent the rest"


def test_a_reservation_of_a_process_that_died_comes_back_with_its_window(settings: Any, monkeypatch: Any) -> None:
    from killsync.esi import clock

    moment = time.time()
    monkeypatch.setattr(clock, "source", lambda: moment)
    budget = Budget(5)
    for _ in range(50):
        assert isinstance(budget.take(bucket(), 2, backlog=False), Taken)
    assert budget.room(bucket(), 2).fresh == 0
    moment += 911
    assert budget.room(bucket(), 2).fresh == 50


def test_a_block_holds_for_every_process_and_a_shorter_one_does_not_lift_it(settings: Any) -> None:
    Budget(5).block(bucket(), 60.0)
    Budget(5).block(bucket(), 5.0)
    wait = Budget(5).take(bucket(), 2, backlog=False)
    assert isinstance(wait, float) and 55 < wait <= 60
    assert Budget(5).room(bucket(), 2).fresh == 0
    assert isinstance(Budget(5).take(bucket(subject="ip:other"), 2, backlog=False), Taken)


PROCESS = """
import sys, threading
import settings
from models import connect
from esi.budget import Bucket, Budget, Taken
connect(settings.current())
budget, count, lock = Budget(5), [0], threading.Lock()
def take():
    for _ in range(40):
        if isinstance(budget.take(Bucket("killmail", "ip:shared", 1000, 900.0), 2, backlog=False), Taken):
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
