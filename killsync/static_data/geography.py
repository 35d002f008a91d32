"""Distances in New Eden: jumps by the gates, breadth first, and light years by the systems' positions. In memory.

Systems of wormhole and abyssal space have no gates: no number of jumps leads there.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from killsync.process import OnePerProcess
from killsync.static_data.catalog import Current
from models import SolarSystem, Stargate

#: Metres in a light year, as the game counts.
LIGHT_YEAR = 9.4607e15

Position = tuple[float, float, float]


class Geography:
    """The map of one build. Safe to share between threads: nothing in it changes.

    Args:
        gates: (system, destination) of each gate.
        positions: of the systems, metres, by their ids.
    """

    def __init__(self, gates: Iterable[tuple[int, int]], positions: Mapping[int, Position]) -> None:
        self._positions = dict(positions)
        neighbours: dict[int, list[int]] = {}
        for system_id, destination_id in gates:
            neighbours.setdefault(system_id, []).append(destination_id)
            neighbours.setdefault(destination_id, [])
        self._neighbours = {system_id: tuple(found) for system_id, found in neighbours.items()}

    def jumps(self, origin_id: int, destination_id: int) -> int | None:
        """The fewest jumps from one system to another; None where no way of gates leads."""
        if origin_id == destination_id:
            return 0 if origin_id in self._positions or origin_id in self._neighbours else None
        if origin_id not in self._neighbours or destination_id not in self._neighbours:
            return None
        # From both ends at once, always the smaller side: it looks at far fewer systems than from one.
        near, far = {origin_id}, {destination_id}
        seen_near, seen_far = {origin_id}, {destination_id}
        neighbours = self._neighbours
        jumps = 0
        while near and far:
            jumps += 1
            if len(near) > len(far):
                near, far, seen_near, seen_far = far, near, seen_far, seen_near
            ring: set[int] = set().union(*[neighbours[system_id] for system_id in near])
            if not ring.isdisjoint(far):
                return jumps
            ring -= seen_near
            seen_near |= ring
            near = ring
        return None

    def within(self, origin_id: int, jumps: int) -> dict[int, int]:
        """The systems that are at most *jumps* away, with their number of jumps."""
        found = {origin_id: 0}
        ring = {origin_id}
        for distance in range(1, jumps + 1):
            # Each once, however many ways lead there: of ways there are more with each jump than of systems.
            ring = {each for system_id in ring for each in self._neighbours.get(system_id, ())} - found.keys()
            if not ring:
                break
            found.update(dict.fromkeys(ring, distance))
        return found

    def light_years(self, origin_id: int, destination_id: int) -> float | None:
        """The distance of two systems; None where a position is unknown."""
        origin, destination = self._positions.get(origin_id), self._positions.get(destination_id)
        if origin is None or destination is None:
            return None
        return math.dist(origin, destination) / LIGHT_YEAR

    def around(self, origin_id: int, light_years: float) -> set[int]:
        """The systems that are at most *light_years* away, the origin among them; empty where its position is unknown."""
        origin = self._positions.get(origin_id)
        if origin is None:
            return set()
        most = light_years * LIGHT_YEAR
        return {system_id for system_id, position in self._positions.items() if math.dist(origin, position) <= most}


def load() -> Geography:
    """The map of the build that is loaded; empty before the first."""
    gates: Any = Stargate.select().namedtuples()
    systems: Any = SolarSystem.select().where(SolarSystem.position_x.is_null(False)).namedtuples()
    return Geography(
        [(gate.system_id, gate.destination_id) for gate in gates],
        {each.system_id: (each.position_x, each.position_y, each.position_z) for each in systems},
    )


current = OnePerProcess(lambda: Current(load))
