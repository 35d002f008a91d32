"""What a process makes once and shares between its threads: clients that know more with each answer, and their clock.

The one home of such objects: a module has no cache of its own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

from killsync.settings import Settings

T = TypeVar("T")


class SharedObjects:
    """The shared objects of one process, each made for its settings when it is first asked for."""

    def __init__(self) -> None:
        self._made: dict[Callable[[Settings], Any], tuple[Settings, Any]] = {}
        self._used: dict[Callable[[Settings], Any], Any] = {}
        self._lock = threading.RLock()

    def get(self, make: Callable[[Settings], T], settings: Settings) -> T:
        """What *make* made of *settings*; made anew when the settings are others than the last time."""
        with self._lock:
            if make in self._used:
                used: T = self._used[make]
                return used
            found = self._made.get(make)
            if found is None or found[0] is not settings:
                found = self._made[make] = (settings, make(settings))
            made: T = found[1]
            return made

    def use(self, make: Callable[[Settings], T], made: T) -> None:
        """From now on give *made* in place of what *make* makes, as a process with a fast clock does."""
        with self._lock:
            self._used[make] = made


objects = SharedObjects()
