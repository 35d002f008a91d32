"""Names for ids, in bulk, after the killmails: up to 1,000 ids a request, collected for a moment first."""

from __future__ import annotations

import threading
import time

from killsync import settings as settings_module
from killsync.broker.messages import send
from killsync.esi import errors
from killsync.esi.client import shared
from killsync.logging import get_logger
from killsync.names import wanted
from killsync.process import OnePerProcess

log = get_logger("enrichment")

#: Names are collected this long before ESI is asked, so that a walk costs a few requests instead of one a killmail.
COLLECT_MS = 800
#: ESI takes at most this many ids at a time (POST /universe/names, maxItems).
MOST = 1000


class LookupSchedule:
    """When this process last had names looked up: calls within COLLECT_MS share one message."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sent_at = float("-inf")

    def schedule(self) -> None:
        """Send the message, unless one is on its way."""
        with self._lock:
            now = time.monotonic()
            if now - self._sent_at < COLLECT_MS / 1000:
                return
            self._sent_at = now
        send("enrich_names", delay_ms=COLLECT_MS)


_schedule = OnePerProcess(LookupSchedule)


def schedule_lookup() -> None:
    """Have the wanted names looked up in a moment."""
    _schedule().schedule()


def look_up() -> None:
    """Ask for the names that are wanted, and for old ones while there is room; what fails is due again by itself."""
    while True:
        ids = wanted.claim_unnamed(MOST) or wanted.claim_stale(MOST)
        if not ids:
            return
        client = shared(settings_module.current())
        try:
            answer = client.names(ids)
        except errors.EsiError as error:
            wanted.release(ids, (error.retry_after or 15.0) if error.transient else 3600.0)
            log.warning("names released", ids=len(ids), reason=str(error))
            return
        wanted.store_names({number: name for number, (_, name) in answer.names.items()}, answer.unknown)
        log.info("names stored", names=len(answer.names), unknown=len(answer.unknown), requests=answer.cost.requests)
        if len(ids) < MOST:
            return
