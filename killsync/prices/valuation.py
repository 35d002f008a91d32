"""The value of a killmail, by the rules that other killboards use. Pure.

Sums are exact: every price is a whole number of millionths of an ISK (`int`), and whole numbers do not drift, whatever the
quantity. What ESI or an operator gives is rounded to that once, when it is taken in, and a sum to hundredths of an ISK once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any

from killsync.killmails.fitting_slots import is_fitted
from killsync.static_data.catalog import Catalog

#: Hundredths of an ISK in one ISK: the unit of values.
CENTS = 100
#: Millionths of an ISK in one ISK: the unit of prices.
MICROS = 1_000_000
_MICROS_OF_CENT = MICROS // CENTS
#: What has no price, and what is worth nothing by rule: 0.01 ISK.
LEAST = _MICROS_OF_CENT
#: 10,000 ISK: what a capsule itself is worth.
CAPSULE_PRICE = 10_000 * MICROS
#: No price is believed above this, ISK: the dearest hull ever sold was far below.
MOST_PRICE = 10**15
#: No value is stored above this, hundredths of an ISK: what fits NUMERIC(20, 2).
MOST_VALUE = 10**20 - 1

CAPSULE, GENOLUTION_CAPSULE = 670, 33328
GOLDEN_IMPLANT = 33329
SKIN = 91
BLUEPRINT_COPY = 2
ESCAPE_BAY, IMPLANTS = 179, 89

#: The price of a type, millionths of an ISK; None for none.
Prices = Callable[[int], int | None]


@dataclass(frozen=True)
class Value:
    """What a killmail was worth, hundredths of an ISK.

    Attributes:
        destroyed: the hull and what was destroyed.
        dropped: what can be looted.
        fitted: the hull and what stood in its slots, dropped or not.
    """

    destroyed: int
    dropped: int
    fitted: int

    @property
    def total(self) -> int:
        return min(self.destroyed + self.dropped, MOST_VALUE)


def to_micros(isk: Any) -> int | None:
    """A price of ISK in millionths; None for what is no sensible price: nothing, negative, endless, absurd, or no number."""
    if isk is None or isinstance(isk, bool):
        return None
    try:
        amount = Decimal(str(isk))
    except InvalidOperation:
        return None
    if not amount.is_finite() or amount <= 0 or amount > MOST_PRICE:
        return None
    return int((amount * MICROS).quantize(Decimal(1), rounding=ROUND_HALF_UP)) or None


def to_isk(number: int, unit: int = CENTS) -> str:
    """A number of hundredths (or of other parts) of an ISK as ISK, exactly, as either database reads it."""
    return f"{number // unit}.{number % unit:0{len(str(unit)) - 1}d}"


def to_cents(stored: Decimal | float | int) -> int:
    """A value of ISK as a database gives it, in hundredths.

    SQLite keeps fractions as doubles: those are exact to a hundredth up to 70,000,000,000,000 ISK.
    """
    amount = stored if isinstance(stored, Decimal | int) else Decimal(f"{stored:.2f}")
    return int(amount * CENTS)


def value_of(body: Mapping[str, Any], prices: Prices, catalog: Catalog) -> Value:
    """The value of a killmail.

    Args:
        body: a checked answer of GET /killmails/{killmail_id}/{killmail_hash}.
        prices: of the day that counts, the operator's own before ESI's.
        catalog: types.
    """
    victim = body["victim"]
    hull = victim["ship_type_id"]
    hull_price = CAPSULE_PRICE if hull in (CAPSULE, GENOLUTION_CAPSULE) else price_of(hull, prices)
    destroyed, dropped, fitted = hull_price, 0, hull_price
    for item, flag in _flat(victim.get("items") or ()):
        each = item_price(item["item_type_id"], flag, item.get("singleton"), prices, catalog)
        gone, left = each * (item.get("quantity_destroyed") or 0), each * (item.get("quantity_dropped") or 0)
        destroyed += gone
        dropped += left
        if is_fitted(flag):
            fitted += gone + left
    return Value(_rounded(destroyed), _rounded(dropped), _rounded(fitted))


def stack_value(price: int, quantity: int) -> int:
    """What so many of a price are worth, hundredths of an ISK."""
    return _rounded(price * quantity)


def _rounded(micros: int) -> int:
    """Millionths of an ISK as hundredths, half up; never less than nothing, whatever quantity ESI gives."""
    return max(0, min((micros + _MICROS_OF_CENT // 2) // _MICROS_OF_CENT, MOST_VALUE))


def price_of(type_id: int, prices: Prices) -> int:
    """The price of one of a type; never less than 0.01 ISK."""
    return max(LEAST, prices(type_id) or 0)


def item_price(type_id: int, flag: int, singleton: int | None, prices: Prices, catalog: Catalog) -> int:
    """The price of one of an item, by the place where it was (what lay in a container: where the container was).

    Blueprint copies, SKINs, ships in an escape bay and the golden implant worn are worth 0.01 ISK.
    """
    if singleton == BLUEPRINT_COPY or flag == ESCAPE_BAY or (type_id == GOLDEN_IMPLANT and flag == IMPLANTS):
        return LEAST
    facts = catalog.type(type_id)
    if facts is not None and facts.category_id == SKIN:
        return LEAST
    return price_of(type_id, prices)


def _flat(items: Iterable[Mapping[str, Any]]) -> Iterable[tuple[Mapping[str, Any], int]]:
    """Items and what lay in them, with the place where each was: what lies in a container is where the container is.

    What became of a container is not what became of its content: each has its own quantities.
    """
    for item in items:
        yield item, item["flag"]
        for inner in item.get("items") or ():
            yield inner, container_flag(inner["flag"], item["flag"])


def container_flag(flag: int, outer: int) -> int:
    """The place of what lay in a container at *outer*. Nothing in a container is fitted, wherever the container stood."""
    return flag if not is_fitted(flag) else outer
