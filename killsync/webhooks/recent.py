"""Killmails that this process has just read for a message: several trackers are told of the same ones, a moment apart."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict

from killsync.killmails import queries
from killsync.killmails.killmail import Killmail
from killsync.process import OnePerProcess
from killsync.webhooks.formats import names_missing

#: How many are kept, and for how long, seconds: what a killmail is worth may be said anew.
MOST = 128
FRESH_SECONDS = 5.0


class Recent:
    """The killmails of the last moments, without their items. Those that lack a name are read again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._read: OrderedDict[int, tuple[float, Killmail]] = OrderedDict()

    def get(self, killmail_id: int) -> Killmail | None:
        """A stored killmail; None when it is gone."""
        with self._lock:
            read_at, known = self._read.get(killmail_id, (float("-inf"), None))
        if known is not None and time.monotonic() - read_at < FRESH_SECONDS:
            return known
        found = next(iter(queries.killmails([killmail_id], items=False)), None)
        if found is not None and not names_missing(found):
            with self._lock:
                self._read[killmail_id] = time.monotonic(), found
                while len(self._read) > MOST:
                    self._read.popitem(last=False)
        return found


current = OnePerProcess(Recent)
