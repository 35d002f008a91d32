"""What was ever spent at ESI: exact for ever, and no dearer to read after years."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from killsync.observability import queries
from killsync.observability.figures import Spent
from models import EsiUsage, connection, utcnow


def spend(hours_ago: int, outcome: str, requests: int, tokens: int) -> None:
    hour = (utcnow() - timedelta(hours=hours_ago)).replace(minute=0, second=0, microsecond=0)
    EsiUsage.insert(hour=hour, route="killmail", outcome=outcome, requests=requests, tokens=tokens).execute()


def test_old_hours_become_one_row_a_route_and_outcome_and_the_sums_stay_exact(settings: Any) -> None:
    with connection():
        for hours_ago in (*range(40), *range(60, 3 * 365 * 24, 24)):
            spend(hours_ago, "2xx", 3, 6)
            spend(hours_ago, "304", 2, 2)
        before = queries.esi_spent()
        assert queries.roll_up_usage() > 2_000
        assert queries.esi_spent() == before
        assert EsiUsage.select().count() <= 2 * 40 + 2
        assert queries.roll_up_usage() == 0, "what was summed up is not summed up again"

        # A process that could not reach the database for days writes an old hour late.
        spend(100, "2xx", 10, 20)
        spend(100, "5xx", 2**40, 0)
        assert queries.roll_up_usage() == 2
        after = queries.esi_spent()
        assert EsiUsage.select().count() <= 2 * 40 + 3
    by_outcome = {use.outcome: use for use in before}
    assert after == [
        Spent("killmail", "2xx", by_outcome["2xx"].requests + 10, by_outcome["2xx"].tokens + 20),
        by_outcome["304"],
        Spent("killmail", "5xx", 2**40, 0),
    ]


def test_two_processes_that_roll_up_at_once_count_nothing_twice(settings: Any) -> None:
    import threading

    with connection():
        for hours_ago in range(60, 1_000):
            spend(hours_ago, "2xx", 1, 2)

    def work() -> None:
        start.wait()
        with connection():
            summed.append(queries.roll_up_usage())

    start, summed = threading.Barrier(4), list[int]()
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with connection():
        assert sum(summed) == 940
        assert queries.esi_spent() == [Spent("killmail", "2xx", 940, 1_880)]
        assert EsiUsage.select().count() == 1
