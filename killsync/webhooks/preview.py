"""What a tracker would have told in the last days, before it is saved; and why it was not told of what nearly fitted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from killsync.killmails import queries
from killsync.killmails.filter import KillmailFilter
from killsync.killmails.filter_words import Names, why_not
from killsync.killmails.killmail import Killmail, KillmailSummary
from killsync.killmails.selection import totals
from killsync.killmails.summaries import page
from models import utcnow
from models.killmail_log import KillmailLog

DAYS = 7
#: Killmails of a preview that are shown, and stored ones that are looked at for what nearly fitted.
SHOWN, LOOKED_AT = 10, 300
#: What Discord takes of one webhook, messages an hour; and what people read.
MOST_AN_HOUR, MANY_AN_HOUR = 1_800, 60


@dataclass(frozen=True)
class Preview:
    """What a filter would have told.

    Attributes:
        count: killmails.
        newest: the newest of them.
        an_hour: how many an hour, of the time of which Killsync has killmails.
    """

    count: int
    newest: list[KillmailSummary]
    an_hour: float

    @property
    def warning(self) -> str:
        """What to think of before it is saved; empty when there is nothing."""
        rate = f"about {self.an_hour:,.0f} an hour"
        if self.an_hour > MOST_AN_HOUR:
            return f"That is {rate}, more than a channel takes ({MOST_AN_HOUR:,} an hour): it would fall ever further behind."
        if self.an_hour > MANY_AN_HOUR:
            return f"That is {rate}: more than anybody reads."
        return ""


@dataclass(frozen=True)
class Missed:
    """A killmail that fits all clauses but one."""

    killmail: Killmail
    reason: str


def preview(chosen: KillmailFilter) -> Preview:
    """What *chosen* would have told of what was stored in the last DAYS days. Counts: as long as it takes to look at each."""
    now = utcnow()
    begin = now - timedelta(days=DAYS)
    wanted = replace(chosen, stored_from=begin)
    if chosen.max_age is not None:
        # No older ones could have been told: so the search begins where the index of moments has them.
        oldest = begin - timedelta(seconds=chosen.max_age)
        wanted = replace(wanted, start=max(chosen.start, oldest) if chosen.start else oldest)
    count = totals(wanted).kills
    newest = page(wanted, SHOWN, None, None).killmails if count else []
    return Preview(count, newest, count / _hours(begin, now))


def _hours(begin: datetime, now: datetime) -> float:
    """Of how many hours there are killmails."""
    first: Any = (
        KillmailLog.select(KillmailLog.created_at).order_by(KillmailLog.sequence).limit(1).namedtuples().first()
    )
    since = max(begin, first.created_at) if first is not None else begin
    return max((now - since).total_seconds() / 3_600, 1.0)


def nearly(chosen: KillmailFilter, names: Names) -> list[Missed]:
    """Of the killmails that were stored last those that fit all clauses but one, and why they were not told; newest first."""
    newest: Any = KillmailLog.select(KillmailLog.killmail_id).order_by(KillmailLog.sequence.desc()).limit(LOOKED_AT)
    ids = [row.killmail_id for row in newest.namedtuples()]
    stored = {each.killmail_id: each for each in queries.killmails(ids, items=False)}
    found = []
    for number in ids:
        killmail = stored.get(number)
        if killmail is not None and len(chosen.missed(killmail)) == 1:
            found.append(Missed(killmail, why_not(chosen, killmail, names)[0]))
    return found[:SHOWN]
