"""Prices in the tables: those of a day are entered once, and what was not there yet is added."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

from killsync.prices.valuation import MICROS, to_isk, to_micros
from models import ItemPrice, PriceDay
from models.db import in_transaction
from models.expressions import either, now, one_of
from models.sql import add_rows

#: What a type costs, millionths of an ISK: (traded on average, CCP's own); one of them at least.
Pair = tuple[int | None, int | None]


def enter(day: date, prices: Mapping[int, Pair]) -> int:
    """Enter the prices of *day*. A price that is there stands: what was valued by it stays right. How many are new."""
    return in_transaction(lambda: _enter(day, prices))


def _enter(day: date, prices: Mapping[int, Pair]) -> int:
    # The row of the day first: of two processes the second waits here and then finds what the first entered.
    PriceDay.insert(day=day, stored_at=now()).on_conflict(
        conflict_target=[PriceDay.day], preserve=[PriceDay.day]
    ).execute()
    there: Any = ItemPrice.select(ItemPrice.type_id).where(ItemPrice.day == day)
    known = {number for (number,) in there.tuples()}
    rows = [
        (type_id, day.isoformat(), *(None if micros is None else to_isk(micros, MICROS) for micros in pair))
        for type_id, pair in sorted(prices.items())
        if type_id not in known
    ]
    add_rows("item_price", ("type_id", "day", "average", "adjusted"), rows)
    if rows and known:
        PriceDay.update(stored_at=now(), settled_at=None).where(PriceDay.day == day).execute()
    return len(rows)


def days() -> list[tuple[date, Any]]:
    """(day, when it was stored) of all days of which there are prices, the oldest first."""
    query: Any = PriceDay.select(PriceDay.day, PriceDay.stored_at).order_by(PriceDay.day)
    return list(query.tuples())


def of_day(day: date) -> dict[int, int]:
    """The price of each type on *day*, millionths of an ISK: traded, else CCP's own."""
    return _prices(ItemPrice.day == day).get(day, {})


def of_types(wanted: Iterable[date], types: Iterable[int]) -> dict[date, dict[int, int]]:
    """The same for some types on several days, in one statement."""
    return _prices(ItemPrice.day.in_(sorted(wanted)) & one_of(ItemPrice.type_id, sorted(types)))


def _prices(condition: Any) -> dict[date, dict[int, int]]:
    query: Any = ItemPrice.select(ItemPrice.day, ItemPrice.type_id, ItemPrice.average, ItemPrice.adjusted)
    found: dict[date, dict[int, int]] = {}
    for day, type_id, average, adjusted in query.where(condition).tuples().iterator():
        price = to_micros(average) or to_micros(adjusted)
        if price is not None:
            found.setdefault(day, {})[type_id] = price
    return found


def as_day(text: Any) -> Any:
    """A day written as text, as a value of a column of days."""
    return either(postgres=text.cast("DATE"), sqlite=text)
