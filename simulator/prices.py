"""What things cost in the simulated universe: of the real magnitude, and a little different each day. Pure."""

from __future__ import annotations

import random
from typing import Any

from simulator import catalog

DAY = 86_400.0
SHIPS, MODULES, CHARGES, DRONES, IMPLANTS, BLUEPRINTS, STRUCTURES = 6, 7, 8, 18, 20, 9, 65
#: ISK for one of a group.
_GROUPS = {
    "Frigate": 600_000, "Destroyer": 1_500_000, "Interdictor": 62_000_000, "Corvette": 9_000, "Cruiser": 13_000_000,
    "Combat Battlecruiser": 62_000_000, "Heavy Assault Cruiser": 260_000_000, "Force Recon Ship": 290_000_000,
    "Strategic Cruiser": 310_000_000, "Battleship": 240_000_000, "Carrier": 2_900_000_000, "Dreadnought": 3_400_000_000,
    "Hauler": 1_700_000, "Exhumer": 330_000_000, "Shuttle": 12_000, "Mineral": 5.2, "Ice Product": 290, "Fuel Block": 21_500,
    "PLEX": 5_600_000, "Skill Injectors": 870_000_000, "Nanite Repair Paste": 24_000, "Citadel": 1_400_000_000,
    "Refinery": 2_100_000_000, "Light Fighter": 28_000_000, "Permanent SKIN": 96_000_000,
}  # fmt: skip
#: The same for a category, where the group says nothing.
_CATEGORIES = {SHIPS: 50_000_000, MODULES: 900_000, CHARGES: 240, DRONES: 450_000, IMPLANTS: 45_000_000,
               BLUEPRINTS: 7_500_000, STRUCTURES: 900_000_000, 32: 32_000_000, 66: 85_000_000}  # fmt: skip
#: What nobody trades: CCP's own price is all there is.
_UNTRADED = ("Titan", "Supercarrier")
#: Factors of how well a thing is made: Tech I, Tech II, Faction, Officer.
_META = {1: 0.4, 2: 1.3, 4: 6.0, 5: 90.0}


def prices(now: float) -> list[dict[str, Any]]:
    """The answer of GET /markets/prices at a moment."""
    day = int(now // DAY)
    return [entry for type_id in catalog.TYPES if (entry := _entry(type_id, day))]


def _entry(type_id: int, day: int) -> dict[str, Any] | None:
    group, meta = catalog.group_of(type_id), catalog.TYPES[type_id][3]
    category = catalog.GROUPS[catalog.TYPES[type_id][1]][1]
    if group in _UNTRADED:
        return {"type_id": type_id, "adjusted_price": round(52e9 * random.Random(type_id).uniform(0.4, 1.6), 2)}
    base = _GROUPS.get(group) or _CATEGORIES.get(category)
    if base is None:
        return None
    own = random.Random(type_id).uniform(0.6, 1.6)
    if group not in _GROUPS:
        own *= _META.get(meta, 1.0)
    traded = base * own * random.Random(f"{type_id}:{day}").uniform(0.97, 1.03)
    # As at the real ESI, the one has two decimals and the other as many as it happens to have.
    return {"type_id": type_id, "average_price": max(0.01, round(traded, 2)), "adjusted_price": base * own * 0.98}
