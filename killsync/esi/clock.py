"""The one place that asks what time it is at ESI, so that tests can let an hour pass in a minute."""

from __future__ import annotations

import time
from collections.abc import Callable

#: Seconds since the epoch. Tests replace it; everything in `esi` and the budget reads it through `now`.
source: Callable[[], float] = time.time
#: Seconds that pass at ESI in one second here. Only tests change it.
speed: float = 1.0


def now() -> float:
    """Seconds since the epoch."""
    return source()


def here(seconds: float) -> float:
    """Seconds to wait here until *seconds* have passed at ESI."""
    return seconds / speed
