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


class OnePerSettings(Generic[T]):
    """An object that the process makes of its settings at the first call, and anew when they are others than the last time.

    For clients that know more with each answer, and for their clock.
    """

    def __init__(self, make: Callable[[Settings], T]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._made: tuple[Settings, T] | None = None
        self._given: list[T] = []

    def __call__(self, settings: Settings) -> T:
        """The object of this process for *settings*."""
        with self._lock:
            if self._given:
                return self._given[-1]
            if self._made is None or self._made[0] is not settings:
                self._made = (settings, self._make(settings))
            return self._made[1]

    def use(self, given: T) -> None:
        """From now on give *given* for any settings, as a process with a fast clock does."""
        with self._lock:
            self._given.append(given)
