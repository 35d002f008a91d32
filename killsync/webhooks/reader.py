"""Reading the event table for webhooks: each event once, none skipped, though ids can become visible out of order.

A delivery is entered by this reader, never by the transaction that saves a killmail: saving costs nothing more for any
number of webhooks, and nothing is delivered that is not stored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, Literal, overload

from peewee import fn

from killsync.events.store import all_visible_before
from killsync.webhooks.filter import BadFilter, WebhookFilter
from killsync.webhooks.giving_up import disable, unusable
from models.db import in_transaction
from models.events import KILLMAIL_SAVED, Event
from models.expressions import kept, locked, now, one_of
from models.killmails import Killmail
from models.users import User
from models.webhooks import ACTIVE, EventGap, EventReader, Webhook, WebhookDelivery

#: Killmails, and events of every kind, that are read in one transaction.
BATCH = 200
MOST_READ = 2_000
#: Ids that can be missing in a row because their transactions are still writing.
MOST_MISSING = 10_000
READER = "webhooks"
#: An event's time and its id are taken one after the other: neighbours may stand in another order by the one than by the
#: other, within this.
MARGIN = timedelta(seconds=2)


@dataclass(frozen=True)
class Subscriber:
    """What an active webhook wants, and the characters of its account."""

    webhook_id: int
    filter: WebhookFilter
    since: datetime
    character_ids: tuple[int, ...]


@dataclass(frozen=True)
class Stored:
    """A killmail that an event says was stored."""

    killmail_id: int
    stored_at: datetime


@dataclass
class Choice:
    """Who wants what: (webhook id, killmail id) in the order of the events, and why a webhook could not be asked."""

    pairs: list[tuple[int, int]] = field(default_factory=list)
    unusable: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Place:
    """Up to *settled* there will be no other event than those read; up to *read* only those that are noted as missing."""

    settled: int
    read: int


class Reading(Enum):
    """How a call ended: everything was read, there is more, or another worker reads."""

    DONE = "done"
    MORE = "more"
    BUSY = "busy"


def has_active() -> bool:
    """Whether any webhook wants to be notified of anything."""
    return bool(Webhook.select().where(Webhook.status == ACTIVE).exists())


def _subscribers() -> list[Subscriber]:
    """Every active webhook. One whose conditions cannot be evaluated is given up, and stops none of the others."""
    active = list(Webhook.select().where(Webhook.status == ACTIVE).order_by(Webhook.id))
    pilots: dict[int, list[int]] = {}
    if active:
        users: Any = User.select(User.account_id, User.character_id).where(
            User.account_id.in_(Webhook.select(Webhook.account_id).where(Webhook.status == ACTIVE))
        )
        for user in users.namedtuples():
            pilots.setdefault(user.account_id, []).append(user.character_id)
    found = []
    for webhook in active:
        try:
            chosen = WebhookFilter.load(webhook.wants)
        except BadFilter as error:
            disable(webhook.id, unusable(error))
            continue
        found.append(Subscriber(webhook.id, chosen, webhook.since, tuple(pilots.get(webhook.account_id, ()))))
    return found


def begin_reading() -> None:
    """A webhook became active: read on from where nothing is missed for it.

    For the first one, what nobody wanted is skipped. For another one, what may have been read before the reader knew of
    it is read again, which enters nothing twice.
    """

    def work() -> None:
        place = _lock_place()
        newest = Webhook.select(Webhook.since).where(Webhook.status == ACTIVE).order_by(Webhook.since.desc()).limit(2)
        active = list(newest.namedtuples())
        if not active:
            return
        settled = place.settled
        if len(active) == 1:
            settled = max(settled, _newest_before(min(all_visible_before(), active[0].since) - MARGIN))
        read = max(settled, min(place.read, _newest_before(active[0].since - MARGIN)))
        _store_place(Place(settled, read))
        EventGap.delete().where((EventGap.event_id <= settled) | (EventGap.event_id > read)).execute()

    in_transaction(work)


def stop_reading() -> None:
    """Nobody wants the events any more: they need not be kept for this reader."""
    active = Webhook.select(Webhook.id).where(Webhook.status == ACTIVE)

    def work() -> None:
        if EventReader.delete().where(EventReader.name == READER, ~fn.EXISTS(active)).execute():
            EventGap.delete().execute()

    in_transaction(work)


def read_events(choose: Callable[[Sequence[Stored], Sequence[Subscriber]], Choice]) -> Reading:
    """Read a batch of events that were not read yet and enter what *choose* makes of it.

    Ids can become visible out of order. What is missing below the place that was read is remembered and looked for each
    time, until no transaction is writing that began before it was missed: so a transaction that stays open, for hours if
    need be, costs as much as there are ids missing, and no event is read twice.
    """

    def work() -> Reading:
        place = _lock_place(skip=True)
        if place is None:
            return Reading.BUSY
        wanted = _subscribers()
        if not wanted:
            return Reading.DONE
        # Asked before the events are read: what becomes visible in between is younger.
        settled = _newest_before(all_visible_before() - MARGIN)
        late = list(Event.select().join(EventGap, on=(EventGap.event_id == Event.id)).order_by(Event.id))
        fresh = list(Event.select().where(Event.id > place.read).order_by(Event.id).limit(MOST_READ))
        is_last = len(fresh) < MOST_READ
        batch = _first_killmails(fresh)
        is_last = is_last and len(batch) == len(fresh)
        events = [event for event in (*late, *batch) if event.kind == KILLMAIL_SAVED]
        since = min(each.since for each in wanted)
        stored = [Stored(each.subject_id, each.created_at) for each in events if each.created_at >= since]
        if stored:
            _enter(choose(stored, wanted))
        read = batch[-1].id if batch else place.read
        settled = max(place.settled, min(settled, read))
        _remember_gaps(max(place.read, settled), [event.id for event in batch])
        EventGap.delete().where(
            (EventGap.event_id <= settled) | EventGap.event_id.in_([event.id for event in late])
        ).execute()
        if (settled, read) != (place.settled, place.read):
            _store_place(Place(settled, read))
        return Reading.DONE if is_last else Reading.MORE

    return in_transaction(work)


def _first_killmails(events: list[Any]) -> list[Any]:
    """The events up to the BATCH-th killmail among them."""
    killmails = 0
    for number, event in enumerate(events):
        killmails += event.kind == KILLMAIL_SAVED
        if killmails == BATCH:
            return events[: number + 1]
    return events


def _remember_gaps(after: int, ids: list[int]) -> None:
    """Remember which ids above *after* are missing among those that were read."""
    missing: list[int] = []
    before = after
    for number in ids:
        # A jump is of a sequence that was set, not of transactions that write: those hold few ids at a time.
        missing.extend(range(max(before + 1, number - MOST_MISSING), number))
        before = max(before, number)
    if missing:
        EventGap.insert_many([(number,) for number in missing], [EventGap.event_id]).on_conflict(
            action="nothing"
        ).as_rowcount().execute()


def _enter(choice: Choice) -> None:
    """Enter the deliveries in their order; those that are there stay as they are, and webhooks deleted meanwhile get none."""
    for webhook_id, reason in choice.unusable.items():
        disable(webhook_id, reason)
    if not choice.pairs:
        return
    chosen = {webhook_id for webhook_id, _ in choice.pairs}
    there = kept(Webhook.select(Webhook.id).where(one_of(Webhook.id, sorted(chosen))).order_by(Webhook.id))
    known = {webhook.id for webhook in there.namedtuples()}
    entered = [(webhook_id, killmail_id, now()) for webhook_id, killmail_id in choice.pairs if webhook_id in known]
    if entered:
        WebhookDelivery.insert_many(
            entered, [WebhookDelivery.webhook_id, WebhookDelivery.killmail_id, WebhookDelivery.created_at]
        ).on_conflict(action="nothing").as_rowcount().execute()


def _newest_before(moment: datetime) -> int:
    return int(Event.select(fn.MAX(Event.id)).where(Event.created_at < moment).scalar() or 0)


@overload
def _lock_place(*, skip: Literal[True]) -> Place | None: ...
@overload
def _lock_place() -> Place: ...
def _lock_place(*, skip: bool = False) -> Place | None:
    """The place of the reader; one reader at a time until the transaction ends. With *skip*: None while another reads."""
    row = EventReader.select().where(EventReader.name == READER)
    found = locked(row, skip=skip).first()
    if found is None:
        EventReader.insert(name=READER, last_id=0, read_id=0).on_conflict(action="nothing").as_rowcount().execute()
        found = locked(row.clone(), skip=skip).first()
    return Place(found.last_id, max(found.last_id, found.read_id)) if found else None


def _store_place(place: Place) -> None:
    EventReader.update(last_id=place.settled, read_id=place.read).where(EventReader.name == READER).execute()


def young_enough(killmail_ids: list[int], oldest: datetime) -> list[int]:
    """Those of the stored killmails whose fight was at *oldest* or later; so a backfill is passed over cheaply."""
    young = Killmail.select(Killmail.killmail_id).where(
        Killmail.killmail_id.in_(killmail_ids), Killmail.killmail_time >= oldest
    )
    return [killmail.killmail_id for killmail in young.namedtuples()]
