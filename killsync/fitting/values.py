"""A fit and what it could do, as pages and GraphQL read them. Values only."""

from __future__ import annotations

import msgspec

from killsync.killmails.killmail import Entity


class FittedModule(msgspec.Struct, kw_only=True):
    """What stood in one slot, and the charge in it. `place` is the slot's number in its rack, from 0."""

    item_type: Entity
    charge: Entity | None = None
    quantity: int = 1
    charge_quantity: int = 0
    place: int = 0
    #: Whether it can be looted.
    dropped: bool = False


class Layer(msgspec.Struct, kw_only=True):
    """Shield, armor or hull: effective hit points, and the part of each kind of damage that it takes off, from 0 to 1."""

    effective_hit_points: float
    em: float
    thermal: float
    kinetic: float
    explosive: float


class ShipStats(msgspec.Struct, kw_only=True):
    """What the ship could do with all skills at level V and every module on. Hit points, metres and seconds.

    Effective hit points are against even damage. `capacitor_seconds` is how long the capacitor lasted, `capacitor_percent` where
    it settled if it was stable.
    """

    effective_hit_points: float
    shield: Layer
    armor: Layer
    hull: Layer
    damage_per_second: float
    damage_per_second_with_reload: float
    drone_damage_per_second: float
    volley: float
    speed: float
    align_time: float
    signature_radius: float
    capacitor_capacity: float
    capacitor_stable: bool
    capacitor_percent: float
    capacitor_seconds: float
    #: Slots by rack, empty ones among them.
    slots: dict[str, int]


class Fitting(msgspec.Struct, kw_only=True):
    """A fit as texts and by slot. Texts are empty where they cannot be written; `problem` then says why."""

    eft: str = ""
    dna: str = ""
    esi: str = ""
    link: str = ""
    high: list[FittedModule] = []
    mid: list[FittedModule] = []
    low: list[FittedModule] = []
    rigs: list[FittedModule] = []
    subsystems: list[FittedModule] = []
    services: list[FittedModule] = []
    stats: ShipStats | None = None
    problem: str | None = None
