"""The state of one process: what it remembers between two calls, and the one way to start that anew.

Caches and sums belong to the database and the settings that they were made from. A module that keeps some registers here how
to drop it; a process that is pointed at other settings (the one-process modes, each test) calls `begin`. No I/O.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from killsync import settings as settings_module
from killsync.settings import Settings

T = TypeVar("T")

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


class OnePerProcess(Generic[T]):
    """An object that the process makes at the first call, and another one after each `begin`."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._made: T | None = None
        at_begin(self.renew)

    def __call__(self) -> T:
        """The object of this process."""
        with self._lock:
            if self._made is None:
                self._made = self._make()
            return self._made

    def renew(self) -> None:
        """Have the next call make another one."""
        with self._lock:
            self._made = None
