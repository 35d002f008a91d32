"""The hazard's mathematics: where it is constant it is the square root, what it learns is what was so, arrays are alike."""

from __future__ import annotations

import random
from math import inf, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.polling_ours import Arrays
from killsync.sync.hazard import (
    DAY,
    EDGES,
    GAP_OF_ONE,
    HABIT_EDGES,
    HOUR,
    LATE_AFTER,
    LATE_COST,
    QUIET,
    RECENT_EDGES,
    Hazard,
    Rhythm,
    by_law,
    habit_of,
    index_of,
    law,
    rhythm_of,
)
from killsync.sync.hazard_learning import Learner

LAW = by_law()
HABITS = (0.1, 0.2, 0.3, 0.6, 0.9, 1.1, 1.6, 2.0, 3.0, 4.0)
ages = st.floats(0.0, 400 * DAY)
rhythms = st.builds(Rhythm, st.floats(60.0, 90 * DAY), st.floats(0.0, 60.0))
prices = st.floats(1e-3, 100.0)
habits = st.text("0123456789", min_size=24, max_size=24)


def constant(rate: float) -> Hazard:
    return Hazard([[[rate] * len(RECENT_EDGES)] * len(EDGES)] * len(EDGES))


@given(st.floats(1e-7, 1e-2), ages, rhythms, prices)
def test_a_constant_hazard_gives_the_square_root(rate: float, age: float, rhythm: Rhythm, price: float) -> None:
    once, twice, expected = constant(rate).waits(age, rhythm, price, 1e12)
    assert expected == pytest.approx(rate, rel=1e-6)
    for found, cost in ((once, price), (twice, 2 * price)):
        beyond = sqrt(2 * max(0.0, cost / rate - LATE_COST * LATE_AFTER))
        assert found == pytest.approx(min(sqrt(2 * cost / rate), max(LATE_AFTER, beyond)), rel=1e-6)
    if twice < LATE_AFTER:
        assert twice == pytest.approx(sqrt(2) * once, rel=1e-6), "what costs twice is asked 1.41 times as seldom"


@given(st.floats(1e-7, 1e-2), prices)
def test_of_all_waits_it_is_the_one_with_the_least_waiting_and_requests_a_second(rate: float, price: float) -> None:
    """Against a search, with the waits of an even rate's killmails summed one by one: the late ones count more."""
    (found, _, _) = constant(rate).waits(DAY, Rhythm(), price, 1e12)

    def burden(seconds: float) -> float:
        waits = (np.arange(20_000) + 0.5) / 20_000 * seconds
        return float(price + rate * seconds * np.mean(waits + LATE_COST * (waits > LATE_AFTER))) / seconds

    assert burden(found) <= min(burden(found * factor / 100) for factor in range(30, 300)) * 1.001


def test_many_lists_are_asked_just_before_what_they_name_is_late() -> None:
    price = 4.0
    once = [constant(rate).waits(DAY, Rhythm(), price, 1e12)[0] for rate in (1.2e-5, 1e-5, 7e-6, 5e-6)]
    assert once[0] < LATE_AFTER and once[1] == once[2] == LATE_AFTER
    assert sqrt(2 * price / 7e-6) > 1.2 * LATE_AFTER, "without that they were asked after eighteen minutes"
    assert constant(1e-6).waits(DAY, Rhythm(), price, 1e12)[0] > LATE_AFTER, "but not the quiet ones"


@given(ages, rhythms, prices, habits, st.floats(0.0, 2e9))
def test_the_dearer_a_request_the_later_and_never_later_than_the_most(
    age: float, rhythm: Rhythm, price: float, habit: str, moment: float
) -> None:
    table = Hazard(LAW.rates, HABITS)
    once, twice, expected = table.waits(age, rhythm, price, 6 * HOUR, moment=moment, habit=habit)
    assert 0 < once <= twice <= 6 * HOUR and expected > 0
    sooner = table.waits(age, rhythm, price, 6 * HOUR, moment=moment, habit=habit, extra=1e-4)
    assert sooner[0] <= once + 1e-6 and sooner[1] <= twice + 1e-6, "who is expected to bring more is never asked later"


@given(ages, rhythms, prices, habits, st.floats(0.0, 1e6))
def test_a_wait_is_where_the_integral_reaches_the_price(
    age: float, rhythm: Rhythm, price: float, habit: str, moment: float
) -> None:
    table = Hazard(LAW.rates, HABITS)
    found, twice, expected = table.waits(age, rhythm, price, 6 * HOUR, moment=moment, habit=habit)

    def summed(until: float) -> tuple[float, float]:
        """Killmails expected until then, and the law's left side, by many small steps."""
        steps = np.linspace(0.0, until, 4001)
        middle = (steps[1:] + steps[:-1]) / 2
        rates = [table.rates[index_of(age + u, EDGES)][index_of(rhythm.gap, EDGES)][index_of(rhythm.recent, RECENT_EDGES)]
                 * (HABITS[int(habit[int((moment + u) // HOUR) % 24])] if age + u >= QUIET else 1.0) for u in middle]  # fmt: skip
        parts = np.array(rates) * np.diff(steps)
        late = float(parts[middle < LATE_AFTER].sum()) if until > LATE_AFTER else 0.0
        return float(parts.sum()), float((parts * middle).sum()) + LATE_COST * late

    assert summed(twice)[0] / twice == pytest.approx(expected, rel=0.02)
    side = summed(found)[1]
    if found == LATE_AFTER:
        assert side <= price * 1.02 and summed(found + 1e-3)[1] >= price * 0.98, "later would be late"
    elif found < 6 * HOUR:
        assert side == pytest.approx(price, rel=0.02)
    else:
        assert side <= price * 1.02


@given(
    st.lists(
        st.tuples(ages, rhythms, st.floats(0.0, 1e6), st.sampled_from((0.0, 1e-6, 1e-4))), min_size=1, max_size=20
    ),
    prices,
    habits,
)
def test_one_list_and_an_array_of_them_are_treated_alike(
    lists: list[tuple[float, Rhythm, float, float]], price: float, habit: str
) -> None:
    table = Hazard(LAW.rates, HABITS, {0: habit})
    alone = [
        table.waits(age, known, price, 6 * HOUR, moment=at, habit=habit, extra=more) for age, known, at, more in lists
    ]
    age, gap, recent, moment, extra = (np.array(each) for each in zip(
        *((age, known.gap, known.recent, at, more) for age, known, at, more in lists), strict=True))  # fmt: skip
    nobody = np.zeros(len(lists), dtype=np.int64)
    together = Arrays(table, 1).waits(age, gap, recent, price, 6 * HOUR, moment, nobody, extra)
    for here, there in zip(together, np.transpose(alone), strict=True):
        assert here == pytest.approx(there, rel=1e-3)


def test_rhythms_tell_who_fights_often() -> None:
    assert rhythm_of([0.0]) == Rhythm(GAP_OF_ONE, 1.0)
    often, seldom = rhythm_of([n * 3 * HOUR for n in range(40)]), rhythm_of([n * 5 * DAY for n in range(15)])
    assert often.gap < 10 * HOUR < DAY < seldom.gap and often.recent > 30 > 6 > seldom.recent
    assert Rhythm(DAY, 3.0).seen_after(QUIET).gap < DAY and Rhythm(DAY, 3.0).seen_after(inf) == Rhythm(GAP_OF_ONE, 1.0)


def test_the_typical_gap_is_that_between_sittings() -> None:
    """Twenty killmails of an evening say that it was a good one, not that the next one is near."""
    evenings = [day * 4 * DAY + minute * 300.0 for day in range(10) for minute in range(20)]
    one_each = [day * 4 * DAY for day in range(10)]
    many, few = rhythm_of(evenings), rhythm_of(one_each)
    assert many.gap == pytest.approx(few.gap, rel=0.05) and many.gaps == few.gaps == 9
    assert many.recent > 10 * few.recent
    assert rhythm_of(evenings[:20]).gap == pytest.approx(GAP_OF_ONE), "one sitting has no gap yet"


def test_the_first_gaps_count_alike() -> None:
    """As the mean of their logarithms, that of who was seen once among them."""
    gaps = [3 * HOUR, DAY, 9 * DAY, 5 * HOUR]
    expected = np.exp(np.mean(np.log([GAP_OF_ONE, *gaps])))
    assert rhythm_of(np.cumsum([0.0, *gaps]).tolist()).gap == pytest.approx(expected)


def test_a_habit_is_of_the_hours_at_which_somebody_is_seen() -> None:
    assert habit_of([0.0] * 24) == str(index_of(1.0, HABIT_EDGES)) * 24, "who was never seen has none"
    evenings = habit_of([0.0] * 19 + [20.0, 30.0, 20.0] + [0.0] * 2)
    assert evenings[20] > evenings[17] > evenings[8] in "01"


@given(ages, st.floats(60.0, 90 * DAY), st.floats(1.0, 60.0))
def test_the_law_without_history_fades_with_silence_and_grows_with_killmails(
    age: float, gap: float, seen: float
) -> None:
    assert law(age, gap, seen) >= law(age + HOUR, gap, seen)
    assert law(age, gap, seen) <= law(age, gap, 2 * seen)


def test_a_board_without_history_has_the_law() -> None:
    made = Learner(0.0, -20 * DAY).hazard()
    for plane, of_law in zip(made.rates, LAW.rates, strict=True):
        for row, expected in zip(plane, of_law, strict=True):
            assert list(row) == pytest.approx(list(expected))
    assert made.habits == (1.0,) * len(HABIT_EDGES)


def test_what_is_learned_is_what_was_so() -> None:
    """Killmails of an even rate, by day alone: the table finds the rate, and that nights have none."""
    rng, learner = random.Random(3), Learner(0.0, -45 * DAY)
    habit = habit_of([0.0] * 12 + [30.0] * 12)
    for _ in range(400):
        moment, seen = -90 * DAY, []
        while moment < 0:
            moment += rng.expovariate(1 / (DAY / 2))
            if moment < 0 and moment % DAY >= DAY / 2:
                seen.append((moment, True))
        learner.add(seen, habit)
    table = learner.hazard({7: habit})
    assert table.hours == {7: habit}
    assert table.habits[int(habit[18])] > 1.6 and table.habits[int(habit[6])] < 0.2, (
        "twice as many by day, none at night"
    )
    rates = [table.rates[index_of(age, EDGES)][index_of(0.7 * DAY, EDGES)][index_of(9.0, RECENT_EDGES)]
             for age in (HOUR, 3 * HOUR)]  # fmt: skip
    by_day = 2 / DAY
    assert all(0.5 * by_day < rate < 1.5 * by_day for rate in rates)


def test_who_is_seen_on_others_lists_has_no_killmails_of_their_own() -> None:
    """A fleet's pilots of whom one in fifteen has final blows: the hazard of a list falls far below the law's."""
    rng, learner = random.Random(5), Learner(0.0, -20 * DAY)
    for number in range(300):
        moment, seen = -80 * DAY + number * 1000.0, []
        for _ in range(30):
            moment += rng.expovariate(1 / 600.0)
            seen.append((moment, number % 15 == 0))
        learner.add(seen)
    table, pilot = learner.hazard(), rhythm_of([minute * 600.0 for minute in range(30)])
    cell = index_of(700.0, EDGES), index_of(pilot.gap, EDGES), index_of(pilot.recent, RECENT_EDGES)
    learned, before = (each.rates[cell[0]][cell[1]][cell[2]] for each in (table, LAW))
    assert learned < before / 5
