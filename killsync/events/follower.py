"""The thread that notices changes: how far the log goes, and which sync runs changed. It wakes, and hands over nothing else.

On PostgreSQL a connection of its own LISTENs, and every few seconds the log is looked at all the same; on SQLite it is looked
at a few times a second. What was missed while a connection was broken is in the log.
"""

from __future__ import annotations

import contextlib
import select
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

import psycopg2

from killsync.events import store
from killsync.events.store import Span
from killsync.logging import get_logger
from killsync.settings import Settings
from models.db import connection, open_listener, probe
from models.errors import is_away

log = get_logger("events")

#: How often SQLite's log is looked at, and how long a PostgreSQL listener waits before it looks around, seconds.
POLL_SECONDS = 0.1
WAKE_SECONDS = 1.0
#: How often the log is looked at where nothing was heard, seconds.
LOOK_SECONDS = 5.0
#: A PostgreSQL connection that says nothing is tried this often, so that a dead one is noticed, seconds.
PROBE_SECONDS = 20.0


class Woken(Protocol):
    """Whom the thread wakes; called in the thread."""

    def log_reaches(self, span: Span) -> None:
        """The log holds this much now."""

    def newest_is(self, sequence: int) -> None:
        """The log's newest number is this one, or a greater one."""

    def runs_changed(self, runs: list[tuple[int, int]] | None) -> None:
        """These (run, user) changed; None: any may have."""


class Follower:
    """Follows from `start` to `stop`."""

    def __init__(self, settings: Settings, woken: Woken) -> None:
        self._settings = settings
        self._woken = woken
        self._stopped = threading.Event()
        self._looked_at = float("-inf")
        follow = self._listen if settings.uses_postgres else self._poll
        self._thread = threading.Thread(target=follow, name="events", daemon=True)
        #: Whether changes are noticed at once.
        self.is_listening = threading.Event()

    @property
    def is_stopped(self) -> bool:
        return self._stopped.is_set()

    def start(self) -> None:
        """Begin to follow."""
        self._thread.start()

    def stop(self) -> None:
        """Stop following; waits for the thread's end."""
        self._stopped.set()
        self._thread.join(5)

    def _look(self) -> None:
        with connection():
            self._woken.log_reaches(store.span())
        self._looked_at = time.monotonic()

    def _poll(self) -> None:
        self._retry(self._look)
        self.is_listening.set()
        while not self._stopped.wait(POLL_SECONDS):
            self._retry(self._look)
            self._woken.runs_changed(None)

    def _listen(self) -> None:
        pause = 0.2
        while not self._stopped.is_set():
            try:
                with contextlib.closing(open_listener(self._settings)) as listener:
                    # After LISTEN: what is committed from here on is heard of.
                    self._look()
                    self._woken.runs_changed(None)
                    pause = 0.2
                    self.is_listening.set()
                    self._hear(listener)
            except Exception as error:
                if isinstance(error, psycopg2.Error) or is_away(error):
                    log.warning("waiting for the database to listen", reason=type(error).__name__, retry_in=pause)
                else:
                    log.exception("listener failed")
                self.is_listening.clear()
                self._stopped.wait(pause)
                pause = min(pause * 2, 5.0)

    def _hear(self, listener: Any) -> None:
        probed = time.monotonic()
        while not self._stopped.is_set():
            readable, _, _ = select.select([listener], [], [], WAKE_SECONDS)
            if readable:
                listener.poll()
                self._pass_on([notice.payload for notice in listener.notifies])
                listener.notifies.clear()
            elif time.monotonic() - probed > PROBE_SECONDS:
                probe(listener)
                probed = time.monotonic()
            if time.monotonic() - self._looked_at > LOOK_SECONDS:
                self._look()

    def _pass_on(self, payloads: list[str]) -> None:
        newest, runs = 0, []
        for payload in payloads:
            kind, _, rest = payload.partition(":")
            if kind == store.KILLMAIL:
                newest = max(newest, int(rest))
            elif kind == store.SYNC:
                runs += [(int(run), int(user)) for run, _, user in (each.partition(":") for each in rest.split(","))]
        if newest:
            self._woken.newest_is(newest)
        if runs:
            self._woken.runs_changed(list(dict.fromkeys(runs)))

    def _retry(self, step: Callable[[], None]) -> None:
        """Run *step* until it succeeds or the follower stops."""
        while not self._stopped.is_set():
            try:
                return step()
            except Exception as error:
                log.warning("log not read", reason=type(error).__name__)
                self._stopped.wait(1.0)
