"""The simulation behind `make bench-polling`, small: its figures are those that arithmetic gives, and its lists are ESI's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bench.activity import DAY, HOUR, PAST, SHAPES, SPAN, Activity
from bench.activity_weekly import HELD, WEEK, with_weekly
from bench.polling_ours import Ours
from bench.polling_rules import Fixed, Zkillboard
from bench.polling_world import World, simulate

CHARACTERS = 4_000


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


def test_weekly_operations_come_back_at_their_hour_and_are_as_many_as_those_they_replace() -> None:
    rng, number, span = np.random.default_rng(5), 8_000, (-PAST, SPAN)
    leader, start = rng.integers(0, 50_000, number), rng.uniform(*span, number)
    who, begin = with_weekly(rng, leader, start, np.full(50_000, 20.0), 0.5, span)
    assert np.array_equal(who[:4_000], leader[4_000:]) and np.array_equal(begin[:4_000], start[4_000:])
    again, moments = who[4_000:], begin[4_000:]
    assert len(again) == pytest.approx(4_000, rel=0.03) and moments.min() >= -PAST and moments.max() < SPAN
    slots, counts = np.unique(again, return_counts=True)
    alone = [np.sort(moments[again == slot]) for slot in slots[counts <= 14]]
    apart = np.concatenate([np.diff(each) for each in alone]) / WEEK
    assert (abs(apart - np.round(apart)) < 0.01).all(), "whole weeks, but for an hour or so"
    assert (np.round(apart) == 1).mean() == pytest.approx(HELD, abs=0.03), "some weeks nobody calls"
    hours = np.concatenate(alone) % DAY / HOUR
    assert np.quantile((hours - 20 + 12) % 24 - 12, (0.1, 0.5, 0.9)) == pytest.approx([-3.8, 0.0, 3.8], abs=0.5)


def test_half_of_weekly_fleets_are_weekly_and_they_bring_as_much_as_fleets() -> None:
    weekly, fleets = (SHAPES[name](np.random.default_rng(5), 20_000) for name in ("weekly fleets", "fleets"))
    assert len(weekly.times) == pytest.approx(len(fleets.times), rel=0.1)
    later = len(weekly.sessions.who), len(fleets.sessions.who)
    assert 0.3 < later[0] / later[1] < 3, "the rule that knows everything knows these as well"

    def seen_again(activity: Activity) -> float:
        """The part of (corporation, hour) in which the corporation was seen a week before as well."""
        mail = activity.mail_of_member
        hours = np.floor((activity.times[mail] + PAST) / HOUR).astype(int)
        seen = np.unique(activity.corporation[activity.members] * 10_000 + hours)
        return float(np.isin(seen - 168, seen).mean())

    assert seen_again(weekly) > 1.3 * seen_again(fleets)


def alone(gangs: Activity) -> Activity:
    """The same killmails, each of one character alone and on one list."""
    first = gangs.members[gangs.starts[:-1]]
    nobody = np.full(len(first), -1)
    return replace(gangs, starts=np.arange(len(first) + 1), members=first, blow=first, victim=nobody)


def test_a_fixed_interval_costs_and_delays_what_arithmetic_says(gangs: Activity) -> None:
    found = simulate(alone(gangs), Fixed(1800.0), directed=0.0)
    assert found.requests == pytest.approx(2 * CHARACTERS, rel=0.01)
    assert found.refreshes == pytest.approx(2 * CHARACTERS, rel=0.01), "each token has died by the next poll"
    assert found.mean == pytest.approx(900.0, rel=0.1) and found.p95 == pytest.approx(0.95 * 1800, rel=0.1)
    often = simulate(alone(gangs), Fixed(300.0), directed=0.0)
    assert often.refreshes == pytest.approx(12 * CHARACTERS / 5, rel=0.05), "one in five polls"


def test_a_killmail_is_on_the_lists_of_its_victim_and_its_final_blow_alone(gangs: Activity) -> None:
    world = World(gangs, np.random.default_rng(1))
    owner, mail = world.named
    ours = owner < world.characters
    assert np.bincount(mail[ours]).max() == 2 and np.bincount(mail[ours]).min() == 1
    assert ((owner == gangs.blow[mail]) | (owner == gangs.victim[mail]))[ours].all()
    read = {int(feed) for feed in world.feed if feed >= 0}
    assert read == set(range(world.characters, world.number)) and set(owner[~ours]) <= read
    named = {(int(k), int(who)) for k, who in zip(gangs.mail_of_member, gangs.members, strict=True)}
    for lists in (gangs.blow, gangs.victim):
        assert all((k, int(who)) in named for k, who in enumerate(lists) if who >= 0), "who has it is on it"
    together = simulate(gangs, Fixed(1800.0), directed=0.0)
    assert together.mean == pytest.approx(900.0, rel=0.1), "named with others is not found by others"


def test_zkillboards_rule_is_activity_first_then_the_age_of_the_last_kill(gangs: Activity) -> None:
    ages = np.array([0.0, 6.9 * DAY, 8 * DAY, 40 * DAY, 100 * DAY, 400 * DAY])
    rule = Zkillboard()
    assert list(rule._interval(ages)) == [900.0, 900.0, HOUR, 4 * HOUR, 24 * HOUR, 72 * HOUR]
    world = World(gangs, np.random.default_rng(1))
    world.polled, world.due = np.zeros(world.number), np.full(world.number, 1e9)
    rule.begin(world)
    mail = int(np.searchsorted(gangs.times, 20_000.0))
    now = float(gangs.times[mail]) + 60.0
    on_it = gangs.members[gangs.starts[mail] : gangs.starts[mail + 1]]
    world.last_kill[on_it] = gangs.times[mail]
    rule.heard(world, np.array([mail]), np.array([now]))
    assert (world.due[on_it] == now).all() and (np.delete(world.due, on_it) == 1e9).all()
    assert (rule.after(world, on_it, np.full(len(on_it), now + 9599.0)) == 300.0).all()
    assert (rule.after(world, on_it, np.full(len(on_it), now + 9601.0)) > 800.0).all()
    assert (
        rule.after(world, np.arange(world.characters, world.number), np.zeros(len(set(world.feed)) - 1)) == 305.0
    ).all()


def test_less_waiting_for_fewer_requests_even_in_a_small_world(gangs: Activity) -> None:
    """Learned from the past, judged by the time after it."""
    rival, ours = simulate(gangs, Zkillboard()), simulate(gangs, Ours(20_000.0))
    assert ours.cost < 0.9 * rival.cost and ours.mean < 0.8 * rival.mean
    with_logins = simulate(gangs, Ours(20_000.0, logins=1.0))
    assert with_logins.mean < ours.mean, "who logs in before a fight is asked at once, and soon again"
