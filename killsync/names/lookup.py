"""Names for ids, in bulk, after the killmails: up to 1,000 ids a request, collected for a moment first."""

from __future__ import annotations

import threading
import time

from killsync import settings as settings_module
from killsync.broker.messages import send
from killsync.esi import errors
from killsync.esi.client import shared
from killsync.logging import get_logger
from killsync.names import wanted as naming

log = get_logger("enrichment")

#: Names are collected this long before ESI is asked, so that a walk costs a few requests instead of one a killmail.
COLLECT_MS = 800
#: ESI takes at most this many ids at a time (POST /universe/names, maxItems).
MOST = 1000

_lock = threading.Lock()
_asked_at = 0.0


def ask_soon() -> None:
    """Have the wanted names asked for in a moment; calls within that moment share one message."""
    global _asked_at
    with _lock:
        now = time.monotonic()
        if now - _asked_at < COLLECT_MS / 1000:
            return
        _asked_at = now
    send("enrich_names", delay_ms=COLLECT_MS)


def look_up() -> None:
    """Ask for the names that are wanted, and for old ones while there is room; what fails is due again by itself."""
    while True:
        wanted = naming.claim_unnamed(MOST)
        ids = wanted or naming.claim_stale(MOST)
        if not ids:
            return
        client = shared(settings_module.current())
        try:
            answer = client.names(ids)
        except errors.EsiError as error:
            naming.release(ids, (error.retry_after or 15.0) if error.transient else 3600.0)
            log.warning("names put back", ids=len(ids), reason=str(error))
            return
        naming.store_names({number: name for number, (_, name) in answer.names.items()}, answer.unknown)
        log.info("names stored", names=len(answer.names), unknown=len(answer.unknown), requests=answer.cost.requests)
        if len(ids) < MOST:
            return
