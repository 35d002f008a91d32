"""What time it is at ESI. Nothing else in `esi` asks a clock, so that tests can let an hour pass in a minute."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from killsync.process import OnePerSettings


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


#: This process's clock of ESI: the real one, where it was not given another (`shared.use`).
shared = OnePerSettings(lambda _settings: Clock())
