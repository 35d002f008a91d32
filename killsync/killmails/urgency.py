"""What just happened goes before history inside a worker process, where no queue can arrange it any more.

The threads of a process share one interpreter, and its processes share the cores. History comes in large pieces, so only few
of them begin at a time and, while anything fresh is under way, they pause between their steps. No I/O.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from killsync import settings
from killsync.esi import clock
from killsync.process import OnePerProcess

#: Messages of history whose killmails a process asks ESI for at a time. What is fresh never waits for these.
HISTORY_MESSAGES = 3
#: How long a step of history waits for what is fresh, seconds. Bounded: where polls never cease, three messages with two such
#: steps each still fetch 240 killmails a second, and ESI's budget gives two.
GIVE_WAY_SECONDS = 0.25


class Urgency:
    """What is fresh and what is history among that which a process is at."""

    def __init__(self) -> None:
        self._history = threading.BoundedSemaphore(HISTORY_MESSAGES)
        self._fresh_ended = threading.Condition()
        self._fresh = 0

    @contextlib.contextmanager
    def fresh(self) -> Iterator[None]:
        """The block is about what just happened: a poll, or killmails that a poll named."""
        with self._fresh_ended:
            self._fresh += 1
        try:
            yield
        finally:
            with self._fresh_ended:
                self._fresh -= 1
                if not self._fresh:
                    self._fresh_ended.notify_all()

    @contextlib.contextmanager
    def history(self) -> Iterator[None]:
        """The block asks for killmails of history; it begins when few others do."""
        with self._history:
            yield

    def give_way(self) -> None:
        """A step of history begins: wait until nothing fresh is under way, for GIVE_WAY_SECONDS at most."""
        # Of ESI's clock, as its budget is.
        most = clock.shared(settings.current()).here(GIVE_WAY_SECONDS)
        with self._fresh_ended:
            self._fresh_ended.wait_for(lambda: not self._fresh, most)


#: The one of this process.
shared = OnePerProcess(Urgency)
