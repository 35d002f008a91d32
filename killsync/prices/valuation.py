"""The value of a killmail, by the rules that other killboards use. Pure.

Sums are exact: every price is a whole number of hundredths of an ISK (`int`), and whole numbers do not drift, whatever the
quantity. What ESI or an operator gives is rounded to that once, when it is taken in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any

from killsync.killmails.fitting_slots import is_fitted
from killsync.static_data.catalog import Catalog

#: Hundredths of an ISK in one ISK.
CENTS = 100
#: What has no price, and what is worth nothing by rule: 0.01 ISK.
LEAST = 1
#: 10,000 ISK: what a capsule itself is worth.
CAPSULE_PRICE = 10_000 * CENTS
#: No price is believed above this, ISK: the dearest hull ever sold was far below.
MOST_PRICE = 10**15
#: No value is stored above this, hundredths of an ISK: what fits NUMERIC(20, 2).
MOST_VALUE = 10**20 - 1

CAPSULE, GENOLUTION_CAPSULE = 670, 33328
GOLDEN_IMPLANT = 33329
SKIN = 91
BLUEPRINT_COPY = 2
ESCAPE_BAY, IMPLANTS = 179, 89

#: The price of a type, hundredths of an ISK; None for none.
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


def to_cents(isk: Any) -> int | None:
    """A price of ISK in hundredths; None for what is no sensible price: negative, endless, absurd, or no number at all."""
    if isk is None or isinstance(isk, bool):
        return None
    try:
        amount = Decimal(str(isk))
    except InvalidOperation:
        return None
    if not amount.is_finite() or amount < 0 or amount > MOST_PRICE:
        return None
    return int((amount * CENTS).quantize(Decimal(1), rounding=ROUND_HALF_UP))


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
        each = item_price(item, flag, prices, catalog)
        gone, left = each * (item.get("quantity_destroyed") or 0), each * (item.get("quantity_dropped") or 0)
        destroyed += gone
        dropped += left
        if is_fitted(flag):
            fitted += gone + left
    return Value(min(destroyed, MOST_VALUE), min(dropped, MOST_VALUE), min(fitted, MOST_VALUE))


def price_of(type_id: int, prices: Prices) -> int:
    """The price of one of a type; never less than 0.01 ISK."""
    return max(LEAST, prices(type_id) or 0)


def item_price(item: Mapping[str, Any], flag: int, prices: Prices, catalog: Catalog) -> int:
    """The price of one of an item, by the place where it was.

    Blueprint copies, SKINs, ships in an escape bay and the golden implant worn are worth 0.01 ISK.
    """
    type_id = item["item_type_id"]
    facts = catalog.type(type_id)
    if (
        item.get("singleton") == BLUEPRINT_COPY
        or flag == ESCAPE_BAY
        or (facts is not None and facts.category_id == SKIN)
    ):
        return LEAST
    if type_id == GOLDEN_IMPLANT and flag == IMPLANTS:
        return LEAST
    return price_of(type_id, prices)


def _flat(items: Iterable[Mapping[str, Any]]) -> Iterable[tuple[Mapping[str, Any], int]]:
    """Items and what lay in them, with the place where each was: what lies in a container is where the container is.

    What became of a container is not what became of its content: each has its own quantities.
    """
    for item in items:
        yield item, item["flag"]
        for inner in item.get("items") or ():
            # Nothing in a container is fitted, wherever the container stood.
            yield inner, inner["flag"] if not is_fitted(inner["flag"]) else item["flag"]
