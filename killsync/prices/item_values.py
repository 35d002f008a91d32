"""What each item of a stored killmail was worth, by the prices of the day that its killmail was valued by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date

from killsync.killmails.killmail import Item, Killmail
from killsync.prices import book
from killsync.prices.valuation import CENTS, Prices, container_flag, item_price, stack_value
from killsync.static_data import catalog
from killsync.static_data.catalog import Catalog


def add(killmails: Iterable[Killmail]) -> None:
    """Give the items of these killmails their values: no statement for killmails of now, one at most for others."""
    valued = [killmail for killmail in killmails if killmail.value is not None and killmail.items]
    if not valued:
        return
    days = {day_of(killmail) for killmail in valued}
    known = (
        book.current()
        .get()
        .holding(days, lambda: {item.item_type.id for killmail in valued for item in _all(killmail.items)})
    )
    types = catalog.current().get()
    for killmail in valued:
        priced = known.of(day_of(killmail))
        if priced is not None:
            _value(killmail.items, None, priced[1], types)


def day_of(killmail: Killmail) -> date:
    """The day of the prices that a valued killmail was valued by."""
    assert killmail.value is not None and killmail.value.priced_on is not None
    return date.fromisoformat(killmail.value.priced_on)


def _all(items: list[Item]) -> Iterator[Item]:
    for item in items:
        yield item
        yield from item.items


def _value(items: list[Item], outer: int | None, prices: Prices, types: Catalog) -> None:
    for item in items:
        flag = item.flag if outer is None else container_flag(item.flag, outer)
        price = item_price(item.item_type.id, flag, item.singleton, prices, types)
        item.value = stack_value(price, (item.quantity_dropped or 0) + (item.quantity_destroyed or 0)) / CENTS
        if item.items:
            _value(item.items, item.flag, prices, types)
