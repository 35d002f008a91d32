"""One killmail: ask ESI for its detail and save it whole. What cannot be had now goes back to the ledger."""

from __future__ import annotations

import random
from typing import Any

import dramatiq

import logs
import settings as settings_module
from actors import enrichment, evidence, notifications, progress
from actors.broker import KILLMAIL_DETAILS
from actors.dispatch import dispatch
from esi import errors
from esi.client import shared
from models import ledger, runs
from models.storage import save_killmail

log = logs.get("killmails")


class KillmailRefused(Exception):
    """ESI says that this hash does not belong to this killmail."""


@dramatiq.actor(queue_name=KILLMAIL_DETAILS, max_retries=3)
def fetch_killmail(killmail_id: int, more: bool = False, **_newer: Any) -> None:
    """Fetch and save one killmail of the ledger. Any number of times, by any number of workers: it is saved once."""
    try:
        fetch(killmail_id)
    finally:
        if more:
            dispatch()


def fetch(killmail_id: int) -> bool:
    """Fetch one pending killmail; True when this call saved it. ESI's faults are noted in the ledger, not raised."""
    ref = ledger.pending_ref(killmail_id)
    if ref is None:
        return False
    killmail_hash, lane, run_id = ref
    client = shared(settings_module.current())
    saved = False
    try:
        body, cost = client.killmail(killmail_id, killmail_hash, backlog=lane >= ledger.BACKLOG_PRIORITY)
        _count(run_id, cost)
        result = save_killmail(body, killmail_hash)
        saved = result.is_new
        if result.names_wanted:
            enrichment.ask_soon()
        notifications.announce_soon()
        evidence.seen(body)
        log.debug("killmail saved", killmail_id=killmail_id, run_id=run_id)
    except errors.InvalidHash as error:
        _count(run_id, error.cost)
        final = ledger.refused(killmail_id, str(error))
        log.warning("hash refused", killmail_id=killmail_id, final=final, run_id=run_id)
    except errors.EsiError as error:
        _count(run_id, error.cost)
        if error.transient:
            ledger.put_back(killmail_id, _spread(error.retry_after or 5.0))
            log.debug("killmail put back", killmail_id=killmail_id, reason=str(error))
        else:
            seconds = _backoff(killmail_id)
            ledger.failed(killmail_id, str(error), seconds)
            log.warning("killmail not usable", killmail_id=killmail_id, reason=str(error), retry_in=round(seconds))
    progress.touch(run_id)
    return saved


def submit(killmail_id: int, killmail_hash: str) -> None:
    """Fetch a killmail that a person named, within the budget, in the calling thread.

    Raises:
        KillmailRefused: ESI says that the hash is wrong; nothing is remembered of it.
        esi.errors.EsiError: ESI cannot be asked now; the killmail is in the ledger and comes later by itself.
    """
    if ledger.is_fetched(killmail_id):
        return
    client = shared(settings_module.current())
    try:
        body, _cost = client.killmail(killmail_id, killmail_hash, backlog=False)
    except errors.InvalidHash:
        raise KillmailRefused(f"ESI knows no killmail {killmail_id} with this hash") from None
    except errors.EsiError as error:
        if error.transient:
            ledger.enter(killmail_id, killmail_hash)
        raise
    ledger.enter(killmail_id, killmail_hash, proven=True)
    if save_killmail(body, killmail_hash).names_wanted:
        enrichment.ask_soon()


def _count(run_id: int | None, cost: Any) -> None:
    if run_id is not None and cost is not None and cost.requests:
        runs.add_to_run(run_id, esi_requests=cost.requests, esi_tokens=cost.tokens)


def _spread(seconds: float) -> float:
    """A little later than asked for, each differently, so that what waits together does not come back together."""
    return seconds + random.uniform(0.0, min(5.0, 0.2 * seconds + 0.5))  # noqa: S311


def _backoff(killmail_id: int) -> float:
    attempts = ledger.attempts(killmail_id)
    return float(min(6 * 3600, 30 * 2 ** min(attempts, 12)))
