"""What a killmail was worth, rule by rule, and exact to 0.01 ISK whatever the quantities."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from killsync.prices.valuation import CENTS, MOST_PRICE, MOST_VALUE, Value, to_cents, to_isk, to_micros, value_of
from killsync.static_data.catalog import Catalog

RIFTER, CAPSULE, GUN, AMMO, BLUEPRINT, SKIN, IMPLANT, GOLDEN, BOX, NEW = (
    587,
    670,
    2881,
    12608,
    691,
    34748,
    20499,
    33329,
    3465,
    9,
)
#: Hundredths of an ISK.
PRICES = {RIFTER: 500_000_00, GUN: 1_000_000_00, AMMO: 123_45, BLUEPRINT: 9_000_000_00, SKIN: 5_000_000_00,
          IMPLANT: 80_000_000_00, GOLDEN: 10_000_000_000_00, BOX: 20_000_00, CAPSULE: 777_00}  # fmt: skip
CATALOG = Catalog(types=[(SKIN, 1950, None), (RIFTER, 25, None)], categories={1950: 91, 25: 6})


def price(type_id: int, prices: dict[int, int] = PRICES) -> int | None:
    """The price of a type in the unit of prices, millionths of an ISK."""
    return prices[type_id] * 10_000 if type_id in prices else None


def item(type_id: int, flag: int = 5, destroyed: int = 0, dropped: int = 0, **more: Any) -> dict[str, Any]:
    quantities = {"quantity_destroyed": destroyed, "quantity_dropped": dropped}
    return {"item_type_id": type_id, "flag": flag, "singleton": 0, **{k: v for k, v in quantities.items() if v}, **more}


def worth(*items: dict[str, Any], hull: int = RIFTER) -> Value:
    return value_of({"victim": {"ship_type_id": hull, "items": list(items)}}, price, CATALOG)


def test_a_hull_alone_is_destroyed_and_fitted() -> None:
    found = worth()
    assert (found.total, found.destroyed, found.dropped, found.fitted) == (500_000_00, 500_000_00, 0, 500_000_00)


def test_destroyed_and_dropped_together_are_the_total() -> None:
    found = worth(item(GUN, 27, destroyed=1), item(GUN, 28, dropped=1), item(AMMO, 27, destroyed=40, dropped=2))
    assert found.destroyed == 500_000_00 + 1_000_000_00 + 40 * 123_45
    assert found.dropped == 1_000_000_00 + 2 * 123_45
    assert found.total == found.destroyed + found.dropped
    assert found.fitted == found.total, "all of it stood in slots, dropped or not"


def test_cargo_counts_but_is_not_fitted() -> None:
    found = worth(item(GUN, 5, destroyed=3))
    assert (found.destroyed, found.fitted) == (500_000_00 + 3 * 1_000_000_00, 500_000_00)


@pytest.mark.parametrize(
    ("why", "carried"),
    [
        ("a blueprint copy", item(BLUEPRINT, dropped=1, singleton=2)),
        ("a SKIN", item(SKIN, dropped=1)),
        ("a ship in the frigate escape bay", item(RIFTER, 179, dropped=1)),
        ("the golden implant, worn", item(GOLDEN, 89, dropped=1)),
        ("a type without a price", item(NEW, dropped=1)),
    ],
)
def test_what_is_worth_next_to_nothing(why: str, carried: dict[str, Any]) -> None:
    assert worth(carried).dropped == 1, why


@pytest.mark.parametrize(
    ("why", "carried", "price"),
    [
        ("a blueprint original", item(BLUEPRINT, dropped=1), 9_000_000_00),
        ("the golden implant in the cargo", item(GOLDEN, 5, dropped=1), 10_000_000_000_00),
        ("an implant that is worn", item(IMPLANT, 89, dropped=1), 80_000_000_00),
    ],
)
def test_what_keeps_its_price(why: str, carried: dict[str, Any], price: int) -> None:
    assert worth(carried).dropped == price, why


def test_a_capsule_is_worth_ten_thousand_whatever_the_market_says() -> None:
    assert worth(hull=CAPSULE).total == 10_000 * CENTS
    assert worth(hull=NEW).total == 1, "a hull without a price"


def test_a_container_and_what_lay_in_it_have_their_own_fate() -> None:
    found = worth(item(BOX, destroyed=1, items=[item(GUN, dropped=2), item(AMMO, destroyed=10), item(BLUEPRINT, dropped=1,
                                                                                                  singleton=2)]))  # fmt: skip
    assert found.destroyed == 500_000_00 + 20_000_00 + 10 * 123_45
    assert found.dropped == 2 * 1_000_000_00 + 1
    assert found.fitted == 500_000_00


def test_quantities_that_esi_does_not_say_count_nothing() -> None:
    assert worth(item(GUN, 27)).total == 500_000_00


@given(
    st.lists(st.tuples(st.integers(0, 10**12), st.integers(0, 10**12), st.integers(0, 10**9)), max_size=30),
)
def test_sums_are_exact_to_a_hundredth(carried: list[tuple[int, int, int]]) -> None:
    prices = {number: cents for number, (_, _, cents) in enumerate(carried)}
    items = [item(number, 5, destroyed, dropped) for number, (destroyed, dropped, _) in enumerate(carried)]
    found = value_of(
        {"victim": {"ship_type_id": RIFTER, "items": items}}, lambda one: price(one, {**prices, RIFTER: 100}), CATALOG
    )
    exact = sum(Decimal(max(1, cents)) * (destroyed + dropped) for destroyed, dropped, cents in carried) + 100
    assert found.total == min(int(exact), MOST_VALUE)


def test_a_price_of_a_fraction_of_a_hundredth_counts_by_the_million() -> None:
    """4.7342 ISK a unit are 4,734,200.00 ISK a million, not 4,730,000."""
    body = {"victim": {"ship_type_id": CAPSULE, "items": [item(AMMO, 5, destroyed=10**6)]}}
    found = value_of(body, lambda _type: to_micros(4.7342), CATALOG)
    assert found.total == 10_000_00 + 4_734_200_00


@pytest.mark.parametrize(
    ("given_price", "micros"),
    [
        (0.01, 10_000), (1, 10**6), (1.0000005, 1_000_001), (123456789.12, 123456789120000), (1e15, 10**21), (1e-9, None),
        (0, None), (-1, None), (-0.01, None), (1e30, None), (float("inf"), None), (float("nan"), None), (None, None),
        ("abc", None), (True, None), ([], None), (Decimal("5.25"), 5_250_000),
    ],
)  # fmt: skip
def test_a_price_is_taken_in_once_and_absurd_ones_never(given_price: Any, micros: int | None) -> None:
    assert to_micros(given_price) == micros
    assert to_micros(MOST_PRICE) is not None


@given(st.integers(0, 70 * 10**12 * CENTS))
def test_values_come_back_from_either_database_as_they_were(cents: int) -> None:
    written = to_isk(cents)
    assert to_cents(Decimal(written)) == cents
    assert to_cents(float(written)) == cents
