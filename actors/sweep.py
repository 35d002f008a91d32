"""The broom: whatever a crash, a wiped broker or a lost message left behind is picked up here, by what the tables say."""

from __future__ import annotations

from typing import Any

import dramatiq

import logs
from actors import enrichment, progress
from actors.broker import ENQUEUE
from actors.dispatch import dispatch
from models import in_transaction, naming, runs
from models.storage import prune_events

log = logs.get("sweep")

#: Events are kept this long for listeners that were away, seconds.
KEEP_EVENTS_SECONDS = 86_400.0


@dramatiq.actor(queue_name=ENQUEUE, max_retries=0)
def sweep(**_newer: Any) -> None:
    """Send due killmails again, ask for wanted names, end runs that only lack their end, drop old events."""
    sent = dispatch()
    if naming.is_wanted():
        enrichment.ask_soon()
    for run_id in runs.unsettled_runs():
        progress.settle(run_id)
    in_transaction(lambda: prune_events(KEEP_EVENTS_SECONDS))
    if sent:
        log.info("killmails sent", killmails=sent)
