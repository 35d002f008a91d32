"""`esi_enrichment_queue`: names and tickers for ids, after the killmails that mention them."""

from __future__ import annotations

from typing import Any

import dramatiq

from killsync.broker.queues import ENRICHMENT
from killsync.names import lookup, tickers
from killsync.prices import fetch


@dramatiq.actor(queue_name=ENRICHMENT, max_retries=0)
def enrich_names(**_newer: Any) -> None:
    """Ask ESI for the names that are wanted."""
    lookup.look_up()


@dramatiq.actor(queue_name=ENRICHMENT, max_retries=3)
def fetch_ticker(kind: str, subject_id: int, **_newer: Any) -> None:
    """Ask ESI for the ticker of a corporation or alliance whose page was opened."""
    tickers.fetch_ticker(kind, subject_id)


@dramatiq.actor(queue_name=ENRICHMENT, max_retries=0)
def fetch_prices(**_newer: Any) -> None:
    """Ask ESI what things cost, if it is time to."""
    fetch.fetch()
