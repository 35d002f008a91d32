"""The state of one process: what it remembers between two calls, and the one way to start that anew.

Caches and sums belong to the database and the settings that they were made from. A module that keeps some registers here how
to drop it; a process that is pointed at other settings (the one-process modes, each test) calls `begin`. No I/O.
"""

from __future__ import annotations

from collections.abc import Callable

from killsync import settings as settings_module
from killsync.settings import Settings

_resets: list[Callable[[], None]] = []


def at_begin(reset: Callable[[], None]) -> None:
    """Have *reset* called by each `begin`. It drops what a module remembers, and neither writes nor waits."""
    _resets.append(reset)


def begin(settings: Settings) -> Settings:
    """Start this process's state anew, on *settings*. Connects nothing: that is `models.connect`."""
    settings_module.use(settings)
    for reset in _resets:
        reset()
    return settings
