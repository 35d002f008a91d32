"""How ships of the simulated universe are fitted: modules in slots they fit, ammunition in the guns, cargo. Pure."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from simulator import catalog

Gun = tuple[int, int | None]
#: (flag, type, quantity, singleton) of what a ship carried.
Carried = tuple[int, int, int, int]

HIGH, MID, LOW, RIG, SUBSYSTEM, SERVICE = 27, 19, 11, 92, 125, 164
CARGO, DRONE_BAY, IMPLANTS, MINING_HOLD, FIGHTER_TUBE, STRUCTURE_FUEL = 5, 87, 89, 134, 159, 172


@dataclass(frozen=True)
class Size:
    """What hulls of one size carry. Guns come with their ammunition."""

    guns: tuple[Gun, ...] = ()
    utility: tuple[Gun, ...] = ()
    mids: tuple[Gun, ...] = ()
    lows: tuple[int, ...] = ()
    rigs: tuple[int, ...] = ()
    drones: tuple[int, ...] = ()
    highs: int = 4
    cargo: tuple[tuple[int, int], ...] = field(default=((28668, 50), (32014, 14)))


SMALL = Size(
    guns=((2881, 12608), (3178, 12612), (3041, 12563), (10631, 24471), (2404, 24495), (3074, 12618)),
    utility=((13003, None),), mids=((440, None), (448, None), (527, None), (3831, None)), lows=(2048, 1306, 20349, 519, 1183),
    rigs=(30987, 31788, 31358, 33890), drones=(2456, 2488, 2205), highs=3,
)  # fmt: skip
MEDIUM = Size(
    guns=((2897, 12777), (3146, 12789), (3520, 12818), (2410, 2629), (3082, 12805)), utility=((12267, None),),
    mids=((12076, None), (3244, None), (527, None), (3841, None), (2281, None)), lows=(2048, 20353, 11269, 10190, 2364, 22291),
    rigs=(31055, 31790), drones=(2185, 2456), highs=5,
)  # fmt: skip
LARGE = Size(
    guns=((2929, 12779), (3186, 12791), (3057, 12820), (19739, 24533), (3090, 12807), (2420, 24521)), utility=((12271, None),),
    mids=((12084, None), (3244, None), (2024, 32014), (3841, None), (2281, None)), lows=(2048, 20353, 11269, 3540, 519, 4405),
    rigs=(25894, 26088), drones=(2446, 2185), highs=7,
)  # fmt: skip
CAPITAL = Size(
    guns=LARGE.guns, utility=((12271, None),), mids=((12068, None), (2281, None), (1952, None)), lows=(2048, 11269, 20353),
    rigs=(30993,), highs=4, cargo=((16275, 4000), (16273, 9000)),
)  # fmt: skip
HAULER = Size(
    mids=((440, None), (3841, None)), lows=(1319, 2605), rigs=(31119,), highs=0,
    cargo=((34, 1_250_000), (35, 480_000), (39, 1200), (44992, 500), (40520, 2), (691, 1), (34748, 1), (16272, 9000)),
)  # fmt: skip
MINER = Size(
    guns=((17482, None), (482, None)), mids=((438, None), (2281, None)), lows=(28576, 2048), rigs=(31055,), drones=(10250,),
    highs=2, cargo=(),
)  # fmt: skip

_SIZES = {
    "Frigate": SMALL, "Destroyer": SMALL, "Interdictor": SMALL, "Corvette": SMALL, "Cruiser": MEDIUM,
    "Combat Battlecruiser": MEDIUM, "Heavy Assault Cruiser": MEDIUM, "Force Recon Ship": MEDIUM, "Strategic Cruiser": MEDIUM,
    "Battleship": LARGE, "Carrier": CAPITAL, "Dreadnought": CAPITAL, "Supercarrier": CAPITAL, "Titan": CAPITAL,
    "Hauler": HAULER, "Exhumer": MINER,
}  # fmt: skip
BLUEPRINTS = frozenset(catalog.types_of("Frigate Blueprint", "Battlecruiser Blueprint"))
STRUCTURES = tuple(catalog.types_of("Citadel", "Refinery"))
#: The hulls that are lost, by how often: mostly small ones.
_LOST = ((SMALL, 46), (MEDIUM, 26), (LARGE, 10), (HAULER, 6), (MINER, 5), (CAPITAL, 2))
_HULLS = {size: [hull for hull in catalog.TYPES if _SIZES.get(catalog.group_of(hull)) is size and hull != 32880]
          for size in (SMALL, MEDIUM, LARGE, HAULER, MINER, CAPITAL)}  # fmt: skip
CAPITALS = frozenset(_HULLS[CAPITAL])
CAPSULE, LOKI, CARRIER = 670, 29990, 23757
_IMPLANTS = (13286, 20499, 33959, 2082, 33329)
_LOKI_SUBSYSTEMS = (45633, 45595, 45608, 45621)


def lost_ship(rng: random.Random) -> int:
    """A hull that a pilot loses; now and then the capsule, a shuttle or a rookie ship."""
    chance = rng.random()
    if chance < 0.1:
        return CAPSULE
    if chance < 0.13:
        return rng.choice((672, 11134, 601, 606))
    size = rng.choices([size for size, _ in _LOST], [weight for _, weight in _LOST])[0]
    return rng.choice(_HULLS[size])


def hunter(rng: random.Random, prey: int) -> tuple[int, int]:
    """(ship, weapon) of somebody who helped to kill *prey*: of its size or larger, never a capsule."""
    size = _SIZES.get(catalog.group_of(prey))
    choices = {
        None: (SMALL, MEDIUM), SMALL: (SMALL, SMALL, MEDIUM), MEDIUM: (SMALL, MEDIUM, MEDIUM), HAULER: (SMALL, MEDIUM),
        MINER: (SMALL, MEDIUM), LARGE: (MEDIUM, LARGE), CAPITAL: (LARGE, LARGE, CAPITAL),
    }[size]  # fmt: skip
    chosen = (LARGE, LARGE, CAPITAL) if prey in STRUCTURES else choices
    flown = rng.choice(chosen)
    ship = rng.choice(_HULLS[flown])
    if flown.drones and rng.random() < 0.15:
        return ship, rng.choice(flown.drones)
    return ship, rng.choice(flown.guns)[0]


def fit(rng: random.Random, hull: int) -> list[Carried]:
    """What a hull carried when it died."""
    if hull == CAPSULE:
        return [(IMPLANTS, implant, 1, 1) for implant in rng.sample(_IMPLANTS, rng.randrange(4))]
    if hull in STRUCTURES:
        services = rng.sample((35892, 35894, 45009), 2)
        return [
            (HIGH, 35922, 1, 1), (HIGH + 1, 35921, 1, 1), (MID, 35940, 1, 1),
            *((SERVICE + place, service, 1, 1) for place, service in enumerate(services)),
            (STRUCTURE_FUEL, 4312, 12_000, 0),
        ]  # fmt: skip
    size = _SIZES.get(catalog.group_of(hull))
    if size is None:
        return []
    carried = [*_fitted(rng, size), *_bays(rng, hull, size)]
    for type_id, amount in size.cargo:
        if rng.random() < 0.5:
            carried.append(
                (CARGO, type_id, max(1, int(amount * rng.uniform(0.2, 1.5))), 2 if type_id in BLUEPRINTS else 0)
            )
    return carried


def _fitted(rng: random.Random, size: Size) -> list[Carried]:
    """Modules in their slots, each with its ammunition in the same slot."""
    carried: list[Carried] = []
    guns = [rng.choice(size.guns)] * size.highs if size.guns else []
    if guns and size.utility and rng.random() < 0.4:
        guns[-1] = rng.choice(size.utility)
    for first, modules in ((HIGH, guns), (MID, list(size.mids)), (LOW, [(each, None) for each in size.lows])):
        for place, (module, charge) in enumerate(modules):
            if rng.random() < 0.94:
                carried.append((first + place, module, 1, 1))
                if charge is not None and rng.random() < 0.8:
                    carried.append((first + place, charge, rng.choice((12, 40, 60, 120)), 0))
    rig = rng.choice(size.rigs)
    carried.extend((RIG + place, rig, 1, 1) for place in range(rng.randrange(4)))
    spare = {charge for _, charge in guns if charge is not None}
    carried.extend((CARGO, charge, rng.randrange(100, 2400), 0) for charge in sorted(spare))
    return carried


def _bays(rng: random.Random, hull: int, size: Size) -> list[Carried]:
    carried: list[Carried] = []
    if size.drones and rng.random() < 0.6:
        carried.append((DRONE_BAY, rng.choice(size.drones), rng.randrange(1, 6), 0))
    if hull == CARRIER:
        carried.extend((FIGHTER_TUBE + tube, 40556, rng.randrange(1, 10), 0) for tube in range(3))
    if hull == LOKI:
        carried.extend((SUBSYSTEM + place, each, 1, 1) for place, each in enumerate(_LOKI_SUBSYSTEMS))
    if size is MINER:
        carried.append((MINING_HOLD, rng.choice((1230, 62516)), rng.randrange(500, 12_000), 0))
    return carried
