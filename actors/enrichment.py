"""`esi_enrichment_queue`: names and tickers for ids, what CCP publishes of them, where members belong, when people fight."""

from __future__ import annotations

from typing import Any

import dramatiq

from killsync.access import admission
from killsync.broker.queues import ENRICHMENT
from killsync.names import lookup, tickers
from killsync.prices import fetch
from killsync.static_data import schedule
from killsync.sync import poll_table


@dramatiq.actor(queue_name=ENRICHMENT, max_retries=0)
def enrich_names(only_full: bool = False, **_newer: Any) -> None:
    """Ask ESI for the names that are wanted, with *only_full* only if that is worth a request."""
    lookup.look_up(only_full=only_full)


@dramatiq.actor(queue_name=ENRICHMENT, max_retries=3)
def fetch_ticker(kind: str, subject_id: int, **_newer: Any) -> None:
    """Ask ESI for the ticker of a corporation or alliance whose page was opened."""
    tickers.fetch_ticker(kind, subject_id)


@dramatiq.actor(queue_name=ENRICHMENT, max_retries=0)
def fetch_prices(**_newer: Any) -> None:
    """Ask ESI what things cost, if it is time to."""
    fetch.fetch()


@dramatiq.actor(queue_name=ENRICHMENT, max_retries=0)
def check_members(**_newer: Any) -> None:
    """See who may still log in, and disconnect who may not."""
    admission.check_members()


@dramatiq.actor(queue_name=ENRICHMENT, max_retries=0, time_limit=1_500_000, notify_shutdown=True)
def update_static_data(**_newer: Any) -> None:
    """Look for a new build of CCP's static data, and load it."""
    schedule.look()


@dramatiq.actor(queue_name=ENRICHMENT, max_retries=0)
def learn_polls(**_newer: Any) -> None:
    """Learn from the board's history when people fight, if it is time to."""
    poll_table.make()
