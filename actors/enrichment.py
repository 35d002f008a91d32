"""`esi_enrichment_queue`: names and tickers for ids, after the killmails that mention them; where members belong."""

from __future__ import annotations

from typing import Any

import dramatiq

from killsync.access import admission
from killsync.broker.queues import ENRICHMENT
from killsync.names import lookup, tickers


@dramatiq.actor(queue_name=ENRICHMENT, max_retries=0)
def enrich_names(**_newer: Any) -> None:
    """Ask ESI for the names that are wanted."""
    lookup.look_up()


@dramatiq.actor(queue_name=ENRICHMENT, max_retries=3)
def fetch_ticker(kind: str, subject_id: int, **_newer: Any) -> None:
    """Ask ESI for the ticker of a corporation or alliance whose page was opened."""
    tickers.fetch_ticker(kind, subject_id)


@dramatiq.actor(queue_name=ENRICHMENT, max_retries=0)
def check_members(**_newer: Any) -> None:
    """See who may still log in, and disconnect who may not."""
    admission.check_members()
