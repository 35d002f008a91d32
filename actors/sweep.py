"""The broom: whatever a crash, a wiped broker or a lost message left behind is picked up here, by what the tables say."""

from __future__ import annotations

import uuid
from typing import Any

import dramatiq

import logs
from actors import enrichment, notifications, progress
from actors.broker import ENQUEUE
from actors.dispatch import dispatch
from models import deliveries, in_transaction, naming, runs, tallies
from models.storage import prune_events

log = logs.get("sweep")

#: Events are kept this long for listeners that were away, seconds.
KEEP_EVENTS_SECONDS = 86_400.0
#: Ended sync runs are kept this long: with 100,000 users there are more than a million a day, seconds.
KEEP_RUNS_SECONDS = 7 * 86_400.0
#: Deliveries that ended are remembered this long, seconds: at least as long as events, so that none is entered twice.
KEEP_DELIVERIES_SECONDS = 3 * 86_400.0
#: Seconds between two looks at what the charts show.
SAMPLE_SECONDS = 20.0


@dramatiq.actor(queue_name=ENQUEUE, max_retries=0)
def sweep(**_newer: Any) -> None:
    """Send due killmails again, ask for wanted names, end runs that only lack their end, tell webhooks, drop what is old."""
    sent = dispatch()
    if naming.is_wanted():
        enrichment.ask_soon()
    progress.settle(runs.unsettled_runs())
    if runs.take_lease("sample", uuid.uuid4().hex, SAMPLE_SECONDS):
        tallies.sample()
        in_transaction(_prune)
    notifications.sweep()
    if sent:
        log.info("killmails sent", killmails=sent)


def _prune() -> None:
    prune_events(KEEP_EVENTS_SECONDS)
    deliveries.prune(KEEP_DELIVERIES_SECONDS)
    runs.prune(KEEP_RUNS_SECONDS)
    tallies.prune()
