"""`esi_killmail_details_queue`: killmails of the ledger are asked for and saved."""

from __future__ import annotations

from typing import Any

import dramatiq

from killsync.broker.queues import KILLMAIL_DETAILS
from killsync.killmails.dispatch import dispatch
from killsync.killmails.fetch import fetch


@dramatiq.actor(queue_name=KILLMAIL_DETAILS, max_retries=3)
def fetch_killmails(killmail_ids: list[int], more: bool = False, **_newer: Any) -> None:
    """Fetch and save killmails of the ledger. Any number of times, by any number of workers: each is saved once."""
    try:
        fetch(killmail_ids)
    finally:
        if more:
            dispatch()


@dramatiq.actor(queue_name=KILLMAIL_DETAILS, max_retries=3)
def fetch_killmail(killmail_id: int, more: bool = False, **_newer: Any) -> None:
    """One killmail: what versions before batches sent."""
    fetch_killmails.fn([killmail_id], more=more)
