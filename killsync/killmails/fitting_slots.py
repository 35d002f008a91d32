"""Where an item was when the ship died: ESI's `flag` numbers as places with words, in the order players read a fit.

The numbers and their meaning are CCP's: `eve_glue/location_flag.py` of https://github.com/esi/eve-glue (its enumerations
PersonalLocationFlagEnumV4 and CorporationLocationFlagEnumV4). Pure: no database, no request.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Section:
    """A group of slots or one bay of the fit; `position` is its place among the others."""

    position: int
    title: str


#: (title, flags) in the order in which a killmail shows them: the fit from high to low, then what was carried.
_SECTIONS: tuple[tuple[str, tuple[int, ...]], ...] = (
    ("High slots", tuple(range(27, 35))),
    ("Mid slots", tuple(range(19, 27))),
    ("Low slots", tuple(range(11, 19))),
    ("Rigs", tuple(range(92, 100))),
    ("Subsystems", tuple(range(125, 133))),
    ("Services", tuple(range(164, 172))),
    ("Drone bay", (87,)),
    ("Fighter tubes", tuple(range(159, 164))),
    ("Fighter bay", (158,)),
    ("Cargo", (5,)),
    ("Fleet hangar", (155,)),
    ("Ship hangar", (90,)),
    ("Frigate escape bay", (179,)),
    ("Fuel bay", (133,)),
    ("Structure fuel", (172,)),
    ("Ammunition hold", (143,)),
    ("Ore hold", (134,)),
    ("Ice hold", (181,)),
    ("Asteroid hold", (182,)),
    ("Gas hold", (135,)),
    ("Mineral hold", (136,)),
    ("Salvage hold", (137,)),
    ("Ship hold", (138,)),
    ("Small ship hold", (139,)),
    ("Medium ship hold", (140,)),
    ("Large ship hold", (141,)),
    ("Industrial ship hold", (142,)),
    ("Command center hold", (148,)),
    ("Planetary commodities hold", (149,)),
    ("Material bay", (151,)),
    ("Mobile depot hold", (183,)),
    ("Quafe bay", (154,)),
    ("Booster bay", (176,)),
    ("Subsystem bay", (177,)),
    ("Structure deed bay", (180,)),
    ("Corpse bay", (174,)),
    ("Implants", (89,)),
    ("Boosters", (88,)),
    ("Hangar", (4, 1000)),
    ("Corporation hangar", tuple(range(115, 122))),
    ("Deliveries", (62, 173, 184)),
    ("Asset safety", (36,)),
    ("Wardrobe", (3,)),
    ("Skills", (7,)),
    ("Locked", (63,)),
    ("Unlocked", (64,)),
    ("Hidden modifiers", (156,)),
    ("Fitted automatically", (0,)),
)  # fmt: skip

_BY_FLAG = {flag: Section(position, title) for position, (title, flags) in enumerate(_SECTIONS, 1) for flag in flags}


def section(flag: int) -> Section:
    """The section of a flag; flags that CCP adds later each have their own behind the known ones, by number."""
    return _BY_FLAG.get(flag) or Section(1000 + flag, f"Place {flag}")


#: Slots whose modules and charges count as fitted: high, mid and low slots, rigs, subsystems, services and fighter tubes.
_FITTED = frozenset(
    {
        *range(27, 35),
        *range(19, 27),
        *range(11, 19),
        *range(92, 100),
        *range(125, 133),
        *range(164, 172),
        *range(159, 164),
    }
)


def is_fitted(flag: int) -> bool:
    """Whether what has this flag stood in a slot, rather than in a hold or bay."""
    return flag in _FITTED
