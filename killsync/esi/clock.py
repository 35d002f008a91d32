"""What time it is at ESI. Nothing else in `esi` asks a clock, so that tests can let an hour pass in a minute."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from killsync.settings import Settings
from killsync.shared import objects


@dataclass(frozen=True)
class Clock:
    """A clock; without arguments the real one.

    Attributes:
        source: gives seconds since the epoch.
        speed: seconds that pass at ESI in one second here. Only tests change it.
    """

    source: Callable[[], float] = time.time
    speed: float = 1.0

    @property
    def is_real(self) -> bool:
        """Whether it is this host's clock, so that the database's may be asked in its place."""
        return self.source is time.time

    def now(self) -> float:
        """Seconds since the epoch."""
        return self.source()

    def here(self, seconds: float) -> float:
        """Seconds to wait here until *seconds* have passed at ESI."""
        return seconds / self.speed


def real(_settings: Settings) -> Clock:
    """The clock of a process that was not given another (`objects.use(clock.real, ...)`)."""
    return Clock()


def shared(settings: Settings) -> Clock:
    """This process's clock of ESI."""
    return objects.get(real, settings)
