"""Asking ESI what things cost: one call an hour at most, whichever process makes it, and none before ESI has other prices."""

from __future__ import annotations

import uuid
from collections.abc import Iterable

from killsync import leases
from killsync import settings as settings_module
from killsync.broker.messages import send
from killsync.esi import errors
from killsync.esi.client import shared
from killsync.esi.schemas import Price
from killsync.logging import get_logger
from killsync.prices import book, store
from killsync.prices.store import Pair
from killsync.prices.valuation import to_micros
from models.db import connection
from models.fields import utcnow

log = get_logger("prices")

#: Least time between two calls, seconds of ESI's clock: ESI's cache holds prices as long.
LEAST_SECONDS = 3600.0
#: A call that takes longer than this has died with its worker, seconds.
CALL_SECONDS = 180.0
#: Pause after a call that brought nothing, seconds.
FAILED_SECONDS = 300.0
#: Whoever has this lease asks; after an answer it runs until ESI may have another.
_LEASE = "prices"


def send_due() -> None:
    """Have a worker ask if it is time to."""
    if not leases.is_held(_LEASE):
        send("fetch_prices")


def fetch() -> int:
    """Ask for prices if it is time to, and enter them as those of today; how many are new."""
    holder = uuid.uuid4().hex
    with connection():
        is_mine = leases.acquire(_LEASE, holder, CALL_SECONDS)
    if not is_mine:
        return 0
    client = shared(settings_module.current())
    pause = FAILED_SECONDS
    try:
        answer = client.prices()
        usable = pairs(answer.prices)
        if not usable:
            log.warning("prices not stored", reason="ESI's answer has no price that can be used")
            return 0
        today = utcnow().date()
        with connection():
            new = store.enter(today, usable)
        expires = 0.0 if answer.expires_at is None else (answer.expires_at - utcnow()).total_seconds()
        pause = max(client.clock.here(LEAST_SECONDS), expires)
        book.current().look()
        log.info("prices stored", day=today.isoformat(), types=len(usable), new=new)
        return new
    except errors.EsiError as error:
        # Killmails are valued by the prices of the nearest day meanwhile.
        pause = max(pause, error.retry_after or 0.0)
        log.warning("prices not stored", reason=str(error))
        return 0
    finally:
        with connection():
            leases.acquire(_LEASE, holder, pause)


def pairs(prices: Iterable[Price]) -> dict[int, Pair]:
    """The prices that can be used, by type. What is negative, 0, absurd or no number counts as not there."""
    found: dict[int, Pair] = {}
    for price in prices:
        pair = to_micros(price.average), to_micros(price.adjusted)
        if pair != (None, None):
            found[price.type_id] = pair
    return found
