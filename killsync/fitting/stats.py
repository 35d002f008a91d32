"""Which of the engine's attributes is which figure. Pure.

Ids above 0 are CCP's (`dogmaAttributes` of the static data export); ids below 0 are those that EVEShip.fit adds for what the
game's client works out itself. Their names are in the data file, and what they mean in the patches of
https://github.com/EVEShipFit/sde-patched (`explain NAME`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from killsync.fitting.values import Layer, ShipStats

MAX_VELOCITY, SIGNATURE_RADIUS, CAPACITOR_CAPACITY = 37, 552, 482
#: Damage that gets through, from 0 to 1: (em, thermal, kinetic, explosive).
SHIELD_RESONANCES, ARMOR_RESONANCES, HULL_RESONANCES = (271, 274, 273, 272), (267, 270, 269, 268), (113, 110, 109, 111)
SLOTS = {"high": 14, "mid": 13, "low": 12, "rigs": 1137, "subsystems": 1367, "services": 2056}
#: alignTime: seconds until a ship at rest is in warp, ln 4 x inertia x mass / 10^6.
ALIGN_TIME = -1
#: capacitorDepletesIn, seconds, below 0 when it never does; capacitorStablePercentage.
CAPACITOR_DEPLETES_IN, CAPACITOR_STABLE_AT = -7, -72
#: damageAlpha: one salvo of all weapons, without drones and fighters.
DAMAGE_ALPHA = -11
#: damagePerSecondWithoutReload and damagePerSecondWithReload: weapons, drones and fighters together.
DAMAGE_PER_SECOND, DAMAGE_PER_SECOND_WITH_RELOAD = -12, -13
DRONE_DAMAGE_PER_SECOND, FIGHTER_DAMAGE_PER_SECOND = -14, -58
#: ehp, and its parts: hit points by the average of what gets through of the four kinds of damage.
EHP, ARMOR_EHP, HULL_EHP, SHIELD_EHP = -43, -28, -29, -30


def stats(calculation: Mapping[str, Any]) -> ShipStats | None:
    """The figures of a calculated fit; None for what has none, such as a hull that is no ship."""
    attributes = calculation["ship"]["attributes"]
    if EHP not in attributes:
        return None

    def value(attribute: int, default: float = 0.0) -> float:
        found = attributes.get(attribute)
        number = default if found is None else float(found["value"])
        return number if math.isfinite(number) else default

    def layer(points: int, resonances: tuple[int, int, int, int]) -> Layer:
        em, thermal, kinetic, explosive = (1.0 - value(each, 1.0) for each in resonances)
        return Layer(effective_hit_points=value(points), em=em, thermal=thermal, kinetic=kinetic, explosive=explosive)

    depletes_in = value(CAPACITOR_DEPLETES_IN, -1.0)
    return ShipStats(
        effective_hit_points=value(EHP),
        shield=layer(SHIELD_EHP, SHIELD_RESONANCES),
        armor=layer(ARMOR_EHP, ARMOR_RESONANCES),
        hull=layer(HULL_EHP, HULL_RESONANCES),
        damage_per_second=value(DAMAGE_PER_SECOND),
        damage_per_second_with_reload=value(DAMAGE_PER_SECOND_WITH_RELOAD),
        drone_damage_per_second=value(DRONE_DAMAGE_PER_SECOND) + value(FIGHTER_DAMAGE_PER_SECOND),
        volley=value(DAMAGE_ALPHA),
        speed=value(MAX_VELOCITY),
        align_time=value(ALIGN_TIME),
        signature_radius=value(SIGNATURE_RADIUS),
        capacitor_capacity=value(CAPACITOR_CAPACITY),
        capacitor_stable=depletes_in < 0,
        capacitor_percent=value(CAPACITOR_STABLE_AT) if depletes_in < 0 else 0.0,
        capacitor_seconds=max(0.0, depletes_in),
        slots={rack: min(8, max(0, int(value(attribute)))) for rack, attribute in SLOTS.items()},
    )
