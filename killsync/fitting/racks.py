"""Which module stood in which slot of a ship that died, and with which charge. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from killsync.fitting.values import FittedModule
from killsync.killmails.killmail import Item

#: ESI's flags of each rack, in the order of its slots.
RACKS = {
    "high": range(27, 35),
    "mid": range(19, 27),
    "low": range(11, 19),
    "rigs": range(92, 100),
    "subsystems": range(125, 133),
    "services": range(164, 172),
}
_RACK_OF = {flag: rack for rack, flags in RACKS.items() for flag in flags}
CHARGE = 8


def racks(items: list[Item], category_of: Callable[[int], int | None]) -> dict[str, list[FittedModule]]:
    """The modules of each rack, by slot. A charge stands in the same slot as its module.

    A slot holds one module and one kind of charge; what ESI says of it beside those is left to the list of items.
    """
    slots: dict[int, list[Item]] = defaultdict(list)
    for item in items:
        if item.flag in _RACK_OF:
            slots[item.flag].append(item)
    made: dict[str, list[FittedModule]] = {rack: [] for rack in RACKS}
    for flag in sorted(slots):
        module = _module(slots[flag], category_of)
        if module is not None:
            module.place = flag - RACKS[_RACK_OF[flag]].start
            made[_RACK_OF[flag]].append(module)
    return made


def _module(items: list[Item], category_of: Callable[[int], int | None]) -> FittedModule | None:
    # Modules first, in ESI's order: the engine takes the first of two as well.
    ordered = sorted(items, key=lambda item: category_of(item.item_type.id) == CHARGE)
    first = ordered[0]
    if category_of(first.item_type.id) == CHARGE:
        # A charge alone: its module is not on the killmail.
        return None
    charge = next((item for item in ordered[1:] if category_of(item.item_type.id) == CHARGE), None)
    return FittedModule(
        item_type=first.item_type,
        quantity=max(1, quantity(first)),
        charge=None if charge is None else charge.item_type,
        charge_quantity=0 if charge is None else quantity(charge),
        dropped=bool(first.quantity_dropped),
    )


def quantity(item: Item) -> int:
    """How many there were, dropped or destroyed."""
    return (item.quantity_dropped or 0) + (item.quantity_destroyed or 0)
