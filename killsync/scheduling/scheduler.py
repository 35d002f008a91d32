"""The scheduler: ticks that only send messages. `python scheduler.py`; stops cleanly on SIGTERM and SIGINT.

Of several schedulers one ticks, by a lease in the database; when it dies another takes over within the lease. No sync,
no request to ESI and no killmail ever passes through this process.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import uuid
from types import FrameType

import peewee
import psycopg2
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger
from dramatiq.errors import BrokerConnectionError

from killsync import supervision
from killsync.broker.messages import send
from killsync.broker.setup import make_broker
from killsync.causes import cause
from killsync.logging import get_logger
from killsync.observability import metrics
from killsync.scheduling import leader
from killsync.scheduling.turns import tick_seconds
from killsync.settings import Settings
from killsync.version import is_told, version
from models import connection
from models.errors import DatabaseAway, is_away

log = get_logger("scheduler")


class Scheduler:
    """Ticks in a background thread while `start` .. `stop`."""

    def __init__(self, settings: Settings) -> None:
        self._holder = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self._leads = False
        self._settings = settings
        self._jobs = BackgroundScheduler(timezone="UTC", job_defaults={"coalesce": True, "max_instances": 1})
        self._jobs.add_job(self.tick, IntervalTrigger(seconds=tick_seconds(settings)), id="tick")

    def start(self) -> None:
        self._jobs.start()
        self.tick()

    def stop(self) -> None:
        """Stop ticking and hand the lease back, so that another scheduler need not wait for it."""
        self._jobs.shutdown(wait=True)
        if self._leads:
            try:
                with connection():
                    leader.resign(self._holder)
            except (peewee.PeeweeException, psycopg2.Error, DatabaseAway):
                log.debug("lease not handed back")

    def tick(self) -> None:
        """Send this tick's messages if this scheduler leads. A broker or database that is away skips the tick."""
        try:
            with connection():
                leads = leader.acquire(self._holder)
            if leads and not self._leads:
                log.info("this scheduler ticks", holder=self._holder)
            self._leads = leads
            if leads:
                send("enqueue_due_users")
                send("sweep")
            metrics.scheduler_tick("sent" if leads else "standby", leads)
        except BrokerConnectionError as error:
            metrics.scheduler_tick("skipped", self._leads)
            log.warning("tick skipped: the broker does not answer", reason=cause(error))
        except (peewee.PeeweeException, psycopg2.Error, DatabaseAway) as error:
            if not is_away(error):
                raise
            metrics.scheduler_tick("skipped", self._leads)
            log.warning("tick skipped: the database does not answer")


def main() -> None:
    """Run until SIGTERM or SIGINT; `--version` alone is answered."""
    from killsync import startup
    from killsync.observability import metrics_server

    if is_told(sys.argv[1:]):
        return
    supervision.end_with_manager()
    settings = startup.start("database", "broker")
    make_broker(settings)
    metrics_server.serve_scheduler(settings)
    stopped = threading.Event()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        stopped.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    scheduler = Scheduler(settings)
    scheduler.start()
    log.info("scheduler started", version=version(), tick_seconds=tick_seconds(settings))
    supervision.notify("READY=1")
    stopped.wait()
    supervision.notify("STOPPING=1")
    scheduler.stop()
    log.info("scheduler stopped")
