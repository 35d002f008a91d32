"""The sweep: what a crash, a wiped broker or a lost message left behind is picked up here, by what the tables say."""

from __future__ import annotations

import uuid

from killsync import leases
from killsync import settings as settings_module
from killsync.access import admission, audit, keys
from killsync.access import store as affiliations
from killsync.broker.messages import send
from killsync.events import store as killmail_log
from killsync.killmails import reclassification
from killsync.killmails.dispatch import dispatch
from killsync.logging import get_logger
from killsync.names import batching
from killsync.observability import counters
from killsync.observability.queries import roll_up_usage
from killsync.prices import fetch as prices
from killsync.prices import revaluation
from killsync.static_data import schedule as static_data
from killsync.sync import poll_table, progress, runs
from killsync.webhooks import deliveries, matching
from models import in_transaction
from models.expressions import lift_time_limit

log = get_logger("sweep")

#: Ended sync runs are kept this long: with 100,000 users there are more than a million a day, seconds.
KEEP_RUNS_SECONDS = 7 * 86_400.0
#: Deliveries that ended are remembered this long, seconds.
KEEP_DELIVERIES_SECONDS = 3 * 86_400.0
#: Seconds between two looks at what the charts show.
SAMPLE_SECONDS = 20.0
#: Seconds between two looks at who may still log in.
MEMBERS_SECONDS = 60.0


def sweep() -> None:
    """Send due killmails again, ask for wanted names, end runs that only lack their end, have stored killmails classified
    and valued, notify webhooks, drop what is old, look for new prices and static data, learn when people
    fight.
    """
    sent = dispatch()
    batching.schedule_history()
    progress.shared().settle(runs.unsettled_runs())
    runs.fail_abandoned()
    if leases.acquire("sample", uuid.uuid4().hex, SAMPLE_SECONDS):
        counters.record_snapshot()
        in_transaction(_prune)
    if reclassification.is_wanted():
        send("classify_killmails")
    prices.send_due()
    if revaluation.is_wanted():
        send("value_killmails")
    matching.sweep()
    if admission.is_wanted() and leases.acquire("members", uuid.uuid4().hex, MEMBERS_SECONDS):
        send("check_members")
    static_data.send_due()
    poll_table.send_due()
    if sent:
        log.info("killmails sent", killmails=sent)


def _prune() -> None:
    lift_time_limit()
    killmail_log.prune(settings_module.current().killmail_log_days * 86_400.0)
    deliveries.prune(KEEP_DELIVERIES_SECONDS)
    runs.prune(KEEP_RUNS_SECONDS)
    counters.prune()
    audit.prune()
    keys.prune()
    affiliations.prune()
    roll_up_usage()
