"""When a list is asked next: the law itself, its limits, and how much of what is due a tick takes. Pure."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from killsync.scheduling.enqueue import LEAST_OVERDUE, OVERDUE_SECONDS, SPREAD_SECONDS, share
from killsync.sync.hazard import DAY, EDGES, HOUR, LATE_AFTER, LATE_COST, RECENT_EDGES, Hazard, by_law
from killsync.sync.schedule import (
    LATE,
    NO_RHYTHM,
    SPREAD,
    Known,
    PollLimits,
    early_poll_delay,
    known_by,
    next_poll,
    phase_of,
    wait,
)

NOW = datetime(2026, 8, 18, 12, 0, tzinfo=UTC)
LIMITS = PollLimits(floor=300.0, ceiling=6 * HOUR, busy_gap=3 * HOUR)
rates = st.floats(1e-8, 1.0)
tokens = st.floats(0.0, 1200.0)


LAW = by_law()


def evenly(rate: float) -> Hazard:
    """A table that expects the same of everybody at any age."""
    return Hazard([[[rate] * len(RECENT_EDGES)] * len(EDGES)] * len(EDGES))


def interval(rate: float, token_left: float, limits: PollLimits = LIMITS) -> float:
    return wait(DAY, NO_RHYTHM, evenly(rate), limits, token_left=token_left)


@given(rates, tokens)
def test_an_interval_keeps_its_limits(expected: float, token_left: float) -> None:
    assert LIMITS.floor <= interval(expected, token_left) <= LIMITS.ceiling


@given(rates, rates)
def test_who_is_expected_to_fight_more_is_never_asked_less(one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert interval(high, 0.0) <= interval(low, 0.0) * (1 + 1e-9)


def test_four_times_as_busy_is_twice_as_often() -> None:
    busy = 1 / LIMITS.busy_gap
    assert interval(busy, 0.0) * 2 == pytest.approx(interval(busy / 4, 0.0))
    assert interval(busy, 1200.0) == LIMITS.floor
    assert interval(busy / 4, 1200.0) == pytest.approx(2 * LIMITS.floor)


@pytest.mark.parametrize("floor", [60.0, 300.0, 900.0, 3600.0])
def test_a_list_as_busy_as_the_setting_says_is_asked_at_the_floor_and_a_quieter_one_later(floor: float) -> None:
    limits = PollLimits(floor=floor, ceiling=DAY, busy_gap=3 * HOUR)
    busy = 1 / limits.busy_gap
    assert [interval(each, 1e9, limits) for each in (busy, 4 * busy)] == pytest.approx([floor, floor])
    assert interval(busy / 4, 1e9, limits) > 1.5 * floor


@given(rates, tokens)
def test_the_life_of_a_token_is_used_where_that_is_the_cheapest(expected: float, token_left: float) -> None:
    """Against a search over all intervals, with the cost of a poll as the law has it: waiting, and requests at a price."""
    price = LIMITS.floor**2 / (2 * LIMITS.busy_gap)
    endless = PollLimits(floor=1e-3, ceiling=1e9, busy_gap=LIMITS.busy_gap * (1e-3 / LIMITS.floor) ** 2)

    def burden(seconds: float) -> float:
        requests = 1 if seconds <= token_left * (1 + 1e-6) else 2  # as good as the same, in floats
        late = LATE_COST * max(0.0, seconds - LATE_AFTER) / seconds
        return expected * (seconds / 2 + late) + price * requests / seconds

    chosen = interval(expected, token_left, endless)
    best = min(burden(chosen * factor / 200) for factor in range(40, 1000))
    assert burden(chosen) <= best * (1 + 1e-6)


@given(rates, st.floats(0.0, 1200.0), st.integers(0, 1000))
def test_a_poll_that_is_in_time_for_the_token_at_hand_stays_so(expected: float, left: float, seed: int) -> None:
    """Were it spread past the token's end, it would come at the price of two requests at the pace of one."""
    until, table = NOW + timedelta(seconds=left), evenly(expected)
    planned = wait(DAY, NO_RHYTHM, table, LIMITS, token_left=max(0.0, left - LATE))
    due = next_poll(
        NOW, limits=LIMITS, table=table, known=Known(age=DAY), token_until=until, jitter=random.Random(seed)
    )
    seconds = (due - NOW).total_seconds()
    assert planned - 1e-3 <= seconds <= planned * (1 + SPREAD) + 1e-3
    if planned <= left - LATE:
        assert due <= until - timedelta(seconds=LATE) + timedelta(milliseconds=1), "it has until then to begin"


def poll(**known: object) -> float:
    seen = known_by(known.pop("seen", ()))  # type: ignore[arg-type]
    known = {
        "limits": LIMITS, "table": LAW, "known": seen, "token_until": NOW + timedelta(minutes=15),
        "jitter": random.Random(1), **known,
    }  # fmt: skip
    return (next_poll(NOW, **known) - NOW).total_seconds()  # type: ignore[arg-type]


def test_the_longer_a_list_is_quiet_the_less_it_is_expected_to_bring() -> None:
    silence = [poll(seen=[age], limits=PollLimits(1.0, 1e9, 1.0), token_until=None)
               for age in (0.0, HOUR, DAY, 7 * DAY, 60 * DAY, 300 * DAY)]  # fmt: skip
    assert silence == sorted(silence)


def test_what_is_known_of_a_character_decides() -> None:
    year = 365 * DAY
    assert poll(logged_in_at=NOW - timedelta(seconds=year)) >= LIMITS.ceiling, "quiet for a year: the ceiling"
    assert 3 * HOUR < poll() < LIMITS.ceiling, "nothing on a list of three months: hours"
    assert poll(seen=[60.0] * 2) < 1.1 * LIMITS.floor, "a fight of this minute: the floor"
    assert poll(logged_in_at=NOW - timedelta(minutes=50)) < 1.1 * LIMITS.floor, "just logged in: the floor"
    assert 600 < poll(seen=[5 * HOUR]) < 3 * HOUR, "a fight of this morning: in between"
    assert poll(seen=[60.0], covered=True) >= LIMITS.ceiling, "the corporation's list brings it"


def test_a_priority_user_waits_a_quarter_of_the_ceiling_at_most() -> None:
    assert poll(limits=LIMITS.for_priority(1)) <= LIMITS.ceiling / 4 * 1.05
    assert PollLimits(300.0, 600.0, 3 * HOUR).for_priority(1).ceiling == 300.0


@given(st.floats(0.0, 2000.0), st.booleans())
def test_esis_cache_and_the_floor_are_never_undercut(cache: float, is_busy: bool) -> None:
    due = next_poll(
        NOW,
        limits=LIMITS,
        table=LAW,
        known=known_by([1.0] * 50 * is_busy),
        expires_at=NOW + timedelta(seconds=cache),
        logged_in_at=None,
    )
    assert due > NOW + timedelta(seconds=cache) and due >= NOW + timedelta(seconds=LIMITS.floor)


def test_a_fight_of_many_spreads_their_polls() -> None:
    pilot = known_by([3 * DAY, 2 * DAY, DAY]).rhythm
    moments = sorted(early_poll_delay(60.0, pilot, phase_of(number), LAW, LIMITS) for number in range(100))
    gaps = [later - sooner for sooner, later in pairwise(moments)]
    assert LIMITS.floor / 2 < moments[-1] <= 2 * LIMITS.floor and max(gaps) < LIMITS.floor / 10, (
        "all of them soon, since no list but their own names what is theirs, but not all at once"
    )


@given(st.integers(0, 1_000_000), st.floats(0.0, 1.0))
def test_a_tick_takes_all_that_just_became_due_and_a_part_of_the_rest(due: int, part: float) -> None:
    late = int(due * part)
    taken = share(due, late, tick_seconds=5.0)
    assert due - late <= taken <= due
    assert taken >= min(due, LEAST_OVERDUE)


def test_an_eight_hour_stop_of_100_000_is_worked_off_evenly() -> None:
    late, taken = 100_000, []
    while late:
        taken.append(share(late, late, tick_seconds=5.0))
        late -= taken[-1]
    assert max(taken) <= 100_000 * 5 / SPREAD_SECONDS + 1, "no herd: not more a second than spread evenly"
    assert len(taken) * 5 < 4 * SPREAD_SECONDS, "and no end of it in hours"


def test_an_even_load_is_never_held_back() -> None:
    due = 0
    for _ in range(200):
        due += 700  # more than ever wait in the sync queue
        due -= min(share(due, 0, tick_seconds=5.0), 700)
    assert due == 0 and OVERDUE_SECONDS > 2 * 5.0
