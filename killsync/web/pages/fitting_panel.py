"""The fitting panel of a killmail's page: racks with their empty slots, a wheel of them, and the ship's figures. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

from killsync.fitting.values import FittedModule, Fitting, ShipStats

#: (rack, title, the angle of its middle in degrees clockwise from the top) in the order in which players read a fit.
_RACKS = (
    ("high", "High slots", 0.0),
    ("mid", "Mid slots", 92.0),
    ("low", "Low slots", 180.0),
    ("rigs", "Rigs", 245.0),
    ("subsystems", "Subsystems", 292.0),
    ("services", "Service slots", 270.0),
)
#: Degrees between two slots, and how far they are from the middle of a wheel that is 100 wide.
_STEP, _RADIUS = 10.6, 42.0


@dataclass(frozen=True)
class Slot:
    """One slot: what is in it, if anything, and where it stands on the wheel."""

    module: FittedModule | None
    x: float
    y: float


@dataclass(frozen=True)
class Rack:
    """The slots of one kind."""

    name: str
    title: str
    slots: list[Slot]

    @property
    def filled(self) -> int:
        """How many slots have something in them."""
        return sum(slot.module is not None for slot in self.slots)


def racks(fitting: Fitting) -> list[Rack]:
    """The racks that the ship had, or that something stood in."""
    made = []
    for name, title, middle in _RACKS:
        modules: dict[int, FittedModule] = {module.place: module for module in getattr(fitting, name)}
        count = max([fitting.stats.slots.get(name, 0) if fitting.stats else 0, *(place + 1 for place in modules)])
        slots = [Slot(modules.get(place), *_position(middle, place, count)) for place in range(count)]
        if slots:
            made.append(Rack(name, title, slots))
    return made


def _position(middle: float, place: int, count: int) -> tuple[float, float]:
    angle = math.radians(middle + _STEP * (place - (count - 1) / 2))
    return round(50 + _RADIUS * math.sin(angle), 2), round(50 - _RADIUS * math.cos(angle), 2)


def figures(stats: ShipStats) -> list[tuple[str, str, str]]:
    """(what, how much, more about it) of a ship's figures."""
    capacitor = (
        f"stable at {stats.capacitor_percent:.0f} %"
        if stats.capacitor_stable
        else f"lasts {_time(stats.capacitor_seconds)}"
    )
    drones = f"{stats.drone_damage_per_second:,.0f} by drones" if stats.drone_damage_per_second >= 0.5 else ""
    return [
        ("Effective hit points", f"{stats.effective_hit_points:,.0f}", "against even damage"),
        ("Damage per second", f"{stats.damage_per_second:,.0f}", drones),
        ("Volley", f"{stats.volley:,.0f}", ""),
        ("Speed", f"{stats.speed:,.0f} m/s", ""),
        ("Align time", f"{stats.align_time:.1f} s", ""),
        ("Capacitor", capacitor, ""),
        ("Signature", f"{stats.signature_radius:,.0f} m", ""),
    ]


def defences(stats: ShipStats) -> list[tuple[str, str, list[tuple[str, str]]]]:
    """(layer, effective hit points, what it took off of each kind of damage)."""
    return [
        (
            title,
            f"{layer.effective_hit_points:,.0f}",
            [(kind, f"{100 * part:.0f} %") for kind, part in
             (("EM", layer.em), ("thermal", layer.thermal), ("kinetic", layer.kinetic), ("explosive", layer.explosive))],
        )
        for title, layer in (("Shield", stats.shield), ("Armor", stats.armor), ("Hull", stats.hull))
    ]  # fmt: skip


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
