"""The record of what was spent at ESI by all processes: hourly figures in the table `esi_usage`."""

from __future__ import annotations

import atexit
import threading
import time
from collections import defaultdict

import peewee
import psycopg2

from models.base import connection, in_transaction, insert_rows, to_text, utcnow

#: Seconds between two writes of this process's figures.
FLUSH_SECONDS = 3.0


class Usage:
    """Adds up what this process spends and writes it now and then; what a crash takes with it is a few seconds of figures."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sums: dict[tuple[str, str, str], list[int]] = defaultdict(lambda: [0, 0])
        self._flushed_at = time.monotonic()
        atexit.register(self.flush)

    def add(self, route: str, outcome: str, tokens: int) -> None:
        """Count one request."""
        hour = to_text(utcnow().replace(minute=0, second=0, microsecond=0))
        with self._lock:
            sums = self._sums[hour, route, outcome]
            sums[0] += 1
            sums[1] += tokens
            is_due = time.monotonic() - self._flushed_at >= FLUSH_SECONDS
            if is_due:
                self._flushed_at = time.monotonic()
        if is_due:
            self.flush()

    def flush(self) -> None:
        """Write what has been counted since the last time. A database that is away keeps it for the next time."""
        with self._lock:
            sums, self._sums = self._sums, defaultdict(lambda: [0, 0])
        if not sums:
            return
        values = [(*key, requests, tokens) for key, (requests, tokens) in sorted(sums.items())]
        try:
            with connection():
                in_transaction(
                    lambda: insert_rows(
                        "esi_usage",
                        ("hour", "route", "outcome", "requests", "tokens"),
                        values,
                        "ON CONFLICT (hour, route, outcome) DO UPDATE SET requests = esi_usage.requests + "
                        "excluded.requests, tokens = esi_usage.tokens + excluded.tokens",
                    )
                )
        except (peewee.PeeweeException, psycopg2.Error, AttributeError):
            with self._lock:
                for key, (requests, tokens) in sums.items():
                    self._sums[key][0] += requests
                    self._sums[key][1] += tokens
