"""The simulation behind `make bench-polling`, small: its figures are those that arithmetic gives, and the goals are met."""

from __future__ import annotations

import numpy as np
import pytest

from bench.activity import DAY, HOUR, PAST, SHAPES, Activity
from bench.polling import _meet
from bench.polling_rules import Fixed, Ours, Zkillboard
from bench.polling_world import simulate

CHARACTERS = 12_000


@pytest.fixture(scope="module")
def gangs() -> Activity:
    return SHAPES["small gangs"](np.random.default_rng(3), CHARACTERS)


@pytest.mark.parametrize("name", SHAPES)
def test_activity_is_seeded_in_order_and_heavy_tailed(name: str) -> None:
    one, same = (SHAPES[name](np.random.default_rng(5), 4_000) for _ in range(2))
    assert np.array_equal(one.times, same.times) and np.array_equal(one.members, same.members)
    assert (np.diff(one.times) >= 0).all() and one.times[0] >= -PAST
    assert one.starts[-1] == len(one.members) and (np.diff(one.starts) >= 1).all()
    kills = np.sort(np.bincount(one.members, minlength=4_000))[::-1]
    assert kills[:400].sum() > 0.4 * kills.sum() and (kills == 0).sum() > 400, "a few have most, many none"


def test_a_fixed_interval_costs_and_delays_what_arithmetic_says(gangs: Activity) -> None:
    alone = Activity(gangs.times, np.arange(len(gangs.times) + 1), gangs.members[gangs.starts[:-1]], gangs.quiet_since)
    found = simulate(alone, Fixed(1800.0))
    assert found.requests == pytest.approx(2 * CHARACTERS, rel=0.01)
    assert found.refreshes == pytest.approx(2 * CHARACTERS, rel=0.01), "each token has died by the next poll"
    assert found.mean == pytest.approx(900.0, rel=0.1) and found.p95 == pytest.approx(0.95 * 1800, rel=0.1)
    assert simulate(alone, Fixed(300.0)).refreshes == pytest.approx(12 * CHARACTERS / 5, rel=0.05), "one in five polls"
    assert simulate(gangs, Fixed(1800.0)).mean < found.mean, "a shared killmail is found by whoever is asked first"


def test_zkillboards_rule_is_by_the_age_of_the_last_kill(gangs: Activity) -> None:
    ages = np.array([0.0, 6.9 * DAY, 8 * DAY, 40 * DAY, 100 * DAY, 400 * DAY])
    assert list(Zkillboard()._interval(ages)) == [900.0, 900.0, HOUR, 4 * HOUR, 24 * HOUR, 72 * HOUR]


@pytest.mark.parametrize("name", ["small gangs", "fleets"])
def test_half_the_staleness_at_the_same_requests(name: str) -> None:
    activity = SHAPES[name](np.random.default_rng(3), CHARACTERS)
    rival = simulate(activity, Zkillboard())
    _, ours = _meet(lambda gap: simulate(activity, Ours(gap)), 8_000.0, lambda found: found.cost / rival.cost, 0.5)
    assert ours.cost == pytest.approx(rival.cost, rel=0.05)
    assert ours.mean < rival.mean / 2
