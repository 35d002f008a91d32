"""When names are worth a request to ESI: those of what just happened at once, those of history in full requests.

A first login brings thousands of killmails over many minutes. Asked for as they come, their names would cost a request a moment;
so the first ones are asked for at once, the others once they fill a request or history has come to its end. Whoever looks at a
page that lacks one, or a killmail that just happened, does not wait for that. Sends messages; asks nobody.
"""

from __future__ import annotations

import threading
import time

import msgspec
from peewee import Select, fn

from killsync import service_health
from killsync.broker.messages import send
from killsync.killmails.ledger import BACKLOG_PRIORITY
from killsync.names import trouble, wanted
from killsync.process import OnePerProcess
from models.expressions import now
from models.killmails import PENDING, KillmailRef
from models.prepared import Prepared
from models.sync import SyncRun

#: ESI takes at most this many ids at a time (POST /universe/names, maxItems).
MOST = 1000
#: The names of history wait for company no longer than this, seconds: most first logins are over by then.
WAIT_SECONDS = 3600.0
#: While history comes, what people look at is asked for this often at most, seconds.
LOOKED_AT_SECONDS = 20.0
#: History that is due within so many seconds is under way; what ESI cannot give for longer is not waited for.
SOON_SECONDS = 60.0
#: Names are collected this long before ESI is asked, so that a walk costs a few requests instead of one a killmail.
COLLECT_MS = 800
_NAME = "names-asked"


class _Asked(msgspec.Struct, omit_defaults=True):
    """Epoch seconds at which names were last asked for without having filled a request."""

    at: float = 0.0


def is_worth_it() -> bool:
    """Whether a request for the names of history would be full, or no more of them come for now."""
    return not is_history_under_way() or is_full()


def is_full() -> bool:
    """Whether the names that are due would fill a request."""
    return wanted.count_due(MOST) >= MOST


def take_turn(seconds: float = WAIT_SECONDS) -> bool:
    """Whether names were asked for longer ago than *seconds*; then they count as asked for now. True for one caller."""
    if service_health.read(_NAME, _Asked).at > service_health.clock() - seconds:
        return False

    def work(asked: _Asked, moment: float) -> bool:
        if asked.at > moment - seconds:
            return False
        asked.at = moment
        return True

    return service_health.change(_NAME, _Asked, work)


def is_history_under_way() -> bool:
    """Whether killmails that are not new are being fetched, or pages of a list read."""
    ((found,),) = _IS_UNDER_WAY.rows()
    return bool(found)


def _under_way() -> Select:
    is_soon = KillmailRef.sent_at.is_null(False) | (KillmailRef.due_at <= now(SOON_SECONDS))
    coming = KillmailRef.select().where(
        (KillmailRef.state == PENDING) & (KillmailRef.fetch_priority >= BACKLOG_PRIORITY) & is_soon
    )
    read = SyncRun.select().where(SyncRun.finished_at.is_null() & (SyncRun.walked == 0))
    return Select([], [fn.EXISTS(coming) | fn.EXISTS(read)])


_IS_UNDER_WAY = Prepared(_under_way, lists=0)


class LookupSchedule:
    """When this process last had names looked up, of either kind: calls within COLLECT_MS share one message."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sent_at = {False: float("-inf"), True: float("-inf")}
        self._counted_at = float("-inf")

    def is_turn(self) -> bool:
        """Whether this process has not counted names for COLLECT_MS; then it does now."""
        with self._lock:
            now = time.monotonic()
            is_turn = now - self._counted_at >= COLLECT_MS / 1000
            self._counted_at = now if is_turn else self._counted_at
            return is_turn

    def schedule(self, *, only_full: bool = False) -> None:
        """Send the message, unless one is on its way."""
        with self._lock:
            now = time.monotonic()
            if now - self._sent_at[only_full] < COLLECT_MS / 1000:
                return
            self._sent_at[only_full] = now
        send("enrich_names", delay_ms=COLLECT_MS, **({"only_full": True} if only_full else {}))


_schedule = OnePerProcess(LookupSchedule)


def schedule_lookup() -> None:
    """Have the wanted names looked up in a moment."""
    _schedule().schedule()


def schedule_history() -> None:
    """Have the wanted names looked up if that is worth a request by now."""
    if not is_history_under_way():
        if wanted.is_wanted() or trouble.is_probe_due():
            _schedule().schedule(only_full=True)
    elif _schedule().is_turn():
        if is_full() or trouble.is_probe_due():
            _schedule().schedule(only_full=True)
        elif wanted.is_wanted() and take_turn():
            schedule_lookup()


def is_due_for_reader() -> bool:
    """Whether names are to be looked up because somebody looks at what lacks one: while history comes, not too often."""
    return wanted.is_wanted() and (not is_history_under_way() or take_turn(LOOKED_AT_SECONDS))
