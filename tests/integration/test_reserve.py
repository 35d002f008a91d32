"""What a backlog leaves of a bucket to what is fresh."""

from __future__ import annotations

import pytest

from killsync.esi import routes
from killsync.esi.rate_limit.rate_limit import Bucket, RateLimit
from models import connection


@pytest.mark.parametrize(
    ("route", "percent", "left"),
    [
        (routes.CHARACTER_KILLMAILS, 5, 1),  # of 15 pages in a quarter of an hour: a long first walk waits for each
        (routes.CHARACTER_KILLMAILS, 40, 6),
        (routes.KILLMAIL, 5, 90),
        (routes.KILLMAIL, 0, 3),
    ],
)
def test_a_backlog_leaves_its_share_and_one_call_at_least(
    settings: object, route: routes.Route, percent: int, left: int
) -> None:
    bucket, limit = Bucket(str(route.group), "ip:here", route.limit, route.window), RateLimit(percent)
    cost = routes.TOKENS[2]
    all_calls = route.limit // cost
    with connection():
        # In parts: a large bucket's history goes on at its pace once half of it is used, which is not what is looked at here.
        limit.take_some(bucket, cost, all_calls - left - 1, backlog=False)
        assert limit.room(bucket, cost).backlog <= 1
        granted = limit.take_some(bucket, cost, 2, backlog=True)
        assert len(granted.reservations) == 1, "one more, and then no other"
        assert limit.take_some(bucket, cost, 1, backlog=False).reservations, "what is fresh goes on"
