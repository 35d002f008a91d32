"""The fit of a stored killmail: by slot, as texts, and what it could do. What was calculated is remembered by fit."""

from __future__ import annotations

import json
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from typing import Any

from killsync.fitting import engine
from killsync.fitting.engine import Engine
from killsync.fitting.racks import CHARGE, RACKS, quantity, racks
from killsync.fitting.stats import stats
from killsync.fitting.values import FittedModule, Fitting, ShipStats
from killsync.killmails.fitting_slots import is_fitted
from killsync.killmails.killmail import Item, Killmail
from killsync.logging import get_logger
from killsync.process import OnePerProcess
from killsync.static_data import catalog
from models.work import CURRENT

log = get_logger("fitting")

SHIP, STRUCTURE = 6, 65
#: The engine counts in 32 bits.
MOST_QUANTITY = 2**31 - 1
#: Kinds of things that a fit lists: nobody reads more, and each costs the engine time.
MOST_STACKS = 500
#: The same for drones, fighters, implants and boosters that are calculated: the engine makes an object of each drone, and of two
#: billion it never comes back. No ship launches as many as this.
MOST_WORKING, MOST_WORKING_STACKS = 60, 60
#: What remembered figures may take together, bytes, and about what one takes beside its key.
CACHE_BYTES, ENTRY_BYTES = 4_000_000, 2_000
DRONE_BAY, FIGHTER_BAY, CARGO = 87, 158, 5
#: Flags that change what a ship can do, beside its slots: drones, fighters, implants, boosters.
_WORKING = frozenset({DRONE_BAY, FIGHTER_BAY, 88, 89})

NO_ENGINE = "the fitting engine is not installed on this server"
NO_SHIP = "it has no slots"

#: What was lost, as the engine is asked for it: flag and type with how many.
_Key = tuple[int, tuple[tuple[int, int, int], ...]]


class StatsCache:
    """Figures by fit, the ones used last kept, within CACHE_BYTES."""

    def __init__(self, most_bytes: int = CACHE_BYTES) -> None:
        self._lock = threading.Lock()
        self._most_bytes = most_bytes
        self._bytes = 0
        self._held: OrderedDict[_Key, ShipStats | None] = OrderedDict()

    def get(self, key: _Key, calculate: Callable[[], ShipStats | None]) -> ShipStats | None:
        """The figures of a fit, calculated if they are not there."""
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
                return self._held[key]
        made = calculate()
        with self._lock:
            if key not in self._held:
                self._held[key] = made
                self._bytes += _size(key)
            while self._bytes > self._most_bytes and self._held:
                self._bytes -= _size(self._held.popitem(last=False)[0])
        return made

    def __len__(self) -> int:
        return len(self._held)


def _size(key: _Key) -> int:
    # A tuple of three numbers takes about 150 bytes.
    return ENTRY_BYTES + 150 * len(key[1])


_cache = OnePerProcess(StatsCache)


def add_fittings(killmails: Iterable[Killmail], *, with_stats: bool) -> None:
    """Give each killmail its fitting. Blocking; stops when the operation's time is up.

    Raises:
        OutOfTime: see `models.work`.
    """
    work = CURRENT.get()
    for killmail in killmails:
        if work is not None:
            work.check()
        killmail.fitting = fitting(killmail, with_stats=with_stats)


def fitting(killmail: Killmail, *, with_stats: bool = True) -> Fitting:
    """The fit of a killmail. Blocking: 2 ms, with figures that are not remembered 20 ms.

    What is newer than the engine's data, or fails in it, leaves the texts empty and says why.
    """
    found = engine.get()
    known = catalog.current().get()

    def category_of(type_id: int) -> int | None:
        facts = known.type(type_id)
        category = facts.category_id if facts is not None else None
        return category if category is not None or found is None else found.data.category_of(type_id)

    by_rack = racks(killmail.items, category_of)
    made = Fitting()
    for rack, modules in by_rack.items():
        setattr(made, rack, modules)
    hull = killmail.victim.ship_type
    if category_of(hull.id) not in (SHIP, STRUCTURE, None):
        made.problem = NO_SHIP
        return made
    made.dna = _dna(hull.id, by_rack, killmail.items, category_of)
    made.problem = _newer(killmail, by_rack, found)
    if made.problem is None and found is not None:
        try:
            _write(made, killmail, by_rack, found, with_stats=with_stats)
        except (ValueError, TypeError, OverflowError, RuntimeError) as error:
            log.warning("fit not written", killmail_id=killmail.killmail_id, reason=str(error))
            made.problem = "the fitting engine does not understand this fit"
    return made


def _newer(killmail: Killmail, by_rack: dict[str, list[FittedModule]], found: Engine | None) -> str | None:
    """Why no fit can be made of a killmail: there is no engine, or it does not know the hull or a module."""
    if found is None:
        return NO_ENGINE
    fitted = [part for rack in by_rack.values() for each in rack for part in (each.item_type, each.charge) if part]
    for entity in (killmail.victim.ship_type, *fitted):
        if found.data.category_of(entity.id) is None:
            return f"{entity.name or f'type {entity.id}'} is newer than the data of the fitting engine (build {found.build})"
    return None


def _write(
    made: Fitting, killmail: Killmail, by_rack: dict[str, list[FittedModule]], found: Engine, *, with_stats: bool
) -> None:
    hull = killmail.victim.ship_type
    slots = [
        (RACKS[rack].start + each.place, part.id, 1)
        for rack, modules in by_rack.items()
        for each in modules
        for part in (each.item_type, each.charge)
        if part is not None
    ]
    stacks: Counter[tuple[int, int]] = Counter()
    for item in killmail.items:
        # Slots are done above; fighter tubes count as fitted and are none.
        if not is_fitted(item.flag) or 159 <= item.flag < 164:
            stacks[item.flag, item.item_type.id] += max(1, quantity(item))
    carried = [
        (flag, type_id, min(count, MOST_QUANTITY))
        for (flag, type_id), count in sorted(stacks.items())[:MOST_STACKS]
        if found.data.category_of(type_id) is not None
    ]
    fit = found.fit_of(_body(killmail.killmail_id, hull.id, [*slots, *carried]))
    made.eft = found.eft(fit).strip() + "\n"
    made.esi = json.dumps(found.esi_fitting(fit), ensure_ascii=False)
    made.link = found.link(fit)
    if with_stats:
        working = [
            (flag, type_id, min(count, MOST_WORKING))
            for flag, type_id, count in carried
            if flag in _WORKING or 159 <= flag < 164
        ][:MOST_WORKING_STACKS]
        key: _Key = hull.id, (*slots, *working)
        made.stats = _cache().get(key, lambda: stats(found.calculate(found.fit_of(_body(0, hull.id, list(key[1]))))[1]))


def _body(killmail_id: int, hull: int, items: list[tuple[int, int, int]]) -> dict[str, Any]:
    """As much of ESI's body as the engine reads."""
    carried = [{"flag": flag, "item_type_id": type_id, "quantity_destroyed": count} for flag, type_id, count in items]
    return {"killmail_id": killmail_id, "victim": {"ship_type_id": hull, "items": carried}}


def _dna(
    hull: int, by_rack: dict[str, list[FittedModule]], items: list[Item], category_of: Callable[[int], int | None]
) -> str:
    """The fit as the game's chat links it: hull, subsystems, modules from high to rigs, then drones, fighters and charges."""
    modules: Counter[int] = Counter()
    loose: Counter[int] = Counter()
    for rack in ("subsystems", "high", "mid", "low", "rigs", "services"):
        for each in by_rack[rack]:
            modules[each.item_type.id] += 1
            if each.charge is not None:
                loose[each.charge.id] += max(1, each.charge_quantity)
    for item in items:
        is_charge = item.flag == CARGO and category_of(item.item_type.id) == CHARGE
        if item.flag in (DRONE_BAY, FIGHTER_BAY) or 159 <= item.flag < 164 or is_charge:
            loose[item.item_type.id] += max(1, quantity(item))
    parts = [*modules.items(), *list(loose.items())[:MOST_STACKS]]
    return ":".join([str(hull), *(f"{type_id};{min(count, MOST_QUANTITY)}" for type_id, count in parts)]) + "::"
