"""Reading the log for trackers: each killmail once and in order, by its number.

A delivery is entered by this reader, never by the transaction that saves a killmail: saving costs nothing more for any
number of trackers, and nothing is delivered that is not stored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Literal, overload

from peewee import fn

from killsync.events import store as killmail_log
from killsync.webhooks import subscribers
from killsync.webhooks.giving_up import disable_tracker
from killsync.webhooks.subscribers import Subscriber, active, counts_from
from models.db import in_transaction
from models.expressions import kept, locked, now, one_of
from models.fields import moment
from models.killmail_log import LogReader
from models.killmails import Killmail
from models.webhooks import Tracker, Webhook, WebhookDelivery

#: Killmails that are read in one transaction.
BATCH = 200
READER = "webhooks"


@dataclass(frozen=True)
class Stored:
    """A killmail of the log."""

    killmail_id: int
    stored_at: datetime


@dataclass
class Choice:
    """Who wants what: (tracker, killmail id) in the order of the log, and why a tracker could not be asked."""

    pairs: list[tuple[Subscriber, int]] = field(default_factory=list)
    unusable: dict[int, str] = field(default_factory=dict)


class Reading(Enum):
    """How a call ended: everything was read, there is more, or another worker reads."""

    DONE = "done"
    MORE = "more"
    BUSY = "busy"


def begin_reading() -> None:
    """A tracker became active: read on from where nothing is missed for it.

    For the first one, what nobody wanted is skipped. For another one, what may have been read before the reader knew of
    it is read again, which enters nothing twice.
    """

    def work() -> None:
        place = _lock_place()
        newest = list(active().order_by(counts_from().desc()).limit(2).dicts())
        if not newest:
            return
        since = killmail_log.last_before(moment(newest[0]["counts_from"]))
        _store_place(since if len(newest) == 1 else min(place, since))

    in_transaction(work)


def stop_reading() -> None:
    """Nobody wants the killmails any more: the log need not be kept for this reader."""
    in_transaction(LogReader.delete().where(LogReader.name == READER, ~fn.EXISTS(active())).execute)


def read_log(choose: Callable[[Sequence[Stored], Sequence[Subscriber]], Choice]) -> Reading:
    """Read what comes next in the log and enter what *choose* makes of it, in one transaction: exactly once."""

    def work() -> Reading:
        place = _lock_place(skip=True)
        if place is None:
            return Reading.BUSY
        wanted = subscribers.current().get()
        if not wanted:
            return Reading.DONE
        entries = killmail_log.after(place, BATCH)
        since = min(each.since for each in wanted)
        stored = [Stored(each.killmail_id, each.created_at) for each in entries if each.created_at >= since]
        if stored:
            _enter(choose(stored, wanted))
        if entries:
            _store_place(entries[-1].sequence)
        return Reading.MORE if len(entries) == BATCH else Reading.DONE

    return in_transaction(work)


def _enter(choice: Choice) -> None:
    """Enter the deliveries in their order; those that are there stay as they are, and trackers deleted meanwhile get none."""
    for tracker_id, reason in choice.unusable.items():
        disable_tracker(tracker_id, reason)
    if not choice.pairs:
        return
    chosen = {subscriber.tracker_id for subscriber, _ in choice.pairs}
    hooks = {subscriber.webhook_id for subscriber, _ in choice.pairs}
    # Webhooks before their trackers, as everybody locks them who deletes both.
    list(kept(Webhook.select(Webhook.id).where(one_of(Webhook.id, sorted(hooks))).order_by(Webhook.id)).namedtuples())
    there = kept(Tracker.select(Tracker.id).where(one_of(Tracker.id, sorted(chosen))).order_by(Tracker.id))
    known = {tracker.id for tracker in there.namedtuples()}
    entered = [
        (subscriber.webhook_id, subscriber.tracker_id, killmail_id, now())
        for subscriber, killmail_id in choice.pairs
        if subscriber.tracker_id in known
    ]
    columns = (WebhookDelivery.webhook_id, WebhookDelivery.tracker_id, WebhookDelivery.killmail_id,
               WebhookDelivery.created_at)  # fmt: skip
    if entered:
        WebhookDelivery.insert_many(entered, columns).on_conflict(action="nothing").as_rowcount().execute()


@overload
def _lock_place(*, skip: Literal[True]) -> int | None: ...
@overload
def _lock_place() -> int: ...
def _lock_place(*, skip: bool = False) -> int | None:
    """The number up to which was read; one reader at a time until the transaction ends. With *skip*: None while another reads."""
    row = LogReader.select().where(LogReader.name == READER)
    found = locked(row, skip=skip).first()
    if found is None:
        LogReader.insert(name=READER, sequence=_beginning()).on_conflict(action="nothing").as_rowcount().execute()
        found = locked(row.clone(), skip=skip).first()
    return int(found.sequence) if found else None


def _beginning() -> int:
    """Where the first tracker's killmails begin."""
    first = active().order_by(counts_from()).limit(1).dicts().first()
    return killmail_log.newest() if first is None else killmail_log.last_before(moment(first["counts_from"]))


def _store_place(sequence: int) -> None:
    LogReader.update(sequence=sequence).where(LogReader.name == READER).execute()


def young_enough(killmail_ids: list[int], oldest: datetime) -> list[int]:
    """Those of the stored killmails whose fight was at *oldest* or later; so a backfill is passed over cheaply."""
    young = Killmail.select(Killmail.killmail_id).where(
        Killmail.killmail_id.in_(killmail_ids), Killmail.killmail_time >= oldest
    )
    return [killmail.killmail_id for killmail in young.namedtuples()]
