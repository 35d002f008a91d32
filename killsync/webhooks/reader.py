"""Reading the event table for webhooks: each event once, none skipped, though ids can become visible out of order.

A delivery is entered by this reader, never by the transaction that saves a killmail: saving costs nothing more for any
number of webhooks, and nothing is delivered that is not stored.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from peewee import fn

from killsync.events.store import all_visible_before
from killsync.webhooks.filter import WebhookFilter
from models.db import in_transaction
from models.events import KILLMAIL_SAVED, Event
from models.expressions import locked
from models.fields import utcnow
from models.killmails import Killmail
from models.users import User
from models.webhooks import ACTIVE, EventReader, Webhook, WebhookDelivery

#: Events read in one transaction.
BATCH = 200
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


def has_active() -> bool:
    """Whether any webhook wants to be notified of anything."""
    return bool(Webhook.select().where(Webhook.status == ACTIVE).exists())


def subscribers() -> list[Subscriber]:
    """Every active webhook."""
    active = list(Webhook.select().where(Webhook.status == ACTIVE).order_by(Webhook.id))
    pilots: dict[int, list[int]] = {}
    if active:
        users: Any = User.select(User.account_id, User.character_id).where(
            User.account_id.in_(Webhook.select(Webhook.account_id).where(Webhook.status == ACTIVE))
        )
        for user in users.namedtuples():
            pilots.setdefault(user.account_id, []).append(user.character_id)
    return [
        Subscriber(
            webhook.id, WebhookFilter.load(webhook.wants), webhook.since, tuple(pilots.get(webhook.account_id, ()))
        )
        for webhook in active
    ]


def begin_reading() -> None:
    """Before the first webhook of all is notified of anything: skip the events that nobody wanted.

    Call it when a webhook becomes active; it does nothing while another one is.
    """

    def work() -> None:
        stored = _lock_reader()
        active = list(Webhook.select(Webhook.since).where(Webhook.status == ACTIVE).limit(2).namedtuples())
        if len(active) == 1:
            before = min(all_visible_before(), active[0].since) - MARGIN
            _move_reader(stored, _newest_before(before))

    in_transaction(work)


def read_events(
    after: int | None, choose: Callable[[list[Stored], list[Subscriber]], list[tuple[int, int]]]
) -> int | None:
    """Read a batch of events and enter what *choose* makes of it; where to go on, None at the end.

    The place that is stored only passes an event when no transaction is writing that began before it, so what such a
    transaction brings is found next time; an event that is read again enters nothing twice.

    Args:
        after: None to go on from the stored place, or what the last call gave.
        choose: (webhook id, killmail id) pairs for stored killmails, in order.
    """

    def work() -> int | None:
        stored = _lock_reader()
        wanted = subscribers()
        if not wanted:
            return None
        position = max(stored, after or 0)
        # Asked before the events are read: what becomes visible in between is younger.
        before = all_visible_before() - MARGIN
        events = list(
            Event.select()
            .where(
                Event.id > position,
                Event.kind == KILLMAIL_SAVED,
                Event.created_at >= min(each.since for each in wanted),
            )
            .order_by(Event.id)
            .limit(BATCH)
        )
        if events:
            _enter(choose([Stored(event.subject_id, event.created_at) for event in events], wanted))
        if position == stored:
            _move_reader(stored, _last_settled(events, before, stored))
        return int(events[-1].id) if len(events) == BATCH else None

    return in_transaction(work)


def _enter(pairs: list[tuple[int, int]]) -> None:
    """Enter (webhook id, killmail id) pairs as deliveries, in their order; those that are there stay as they are."""
    if pairs:
        moment = utcnow()
        WebhookDelivery.insert_many(
            [(webhook_id, killmail_id, moment) for webhook_id, killmail_id in pairs],
            [WebhookDelivery.webhook_id, WebhookDelivery.killmail_id, WebhookDelivery.created_at],
        ).on_conflict(action="nothing").as_rowcount().execute()


def _last_settled(events: list[Any], before: datetime, stored: int) -> int:
    """The last event up to which nothing can become visible any more."""
    settled = stored
    for event in events:
        if event.created_at >= before:
            break
        settled = event.id
    if len(events) < BATCH:
        # Everything older has been looked at, events of other kinds among it.
        settled = max(settled, _newest_before(before))
    return settled


def _newest_before(moment: datetime) -> int:
    return int(Event.select(fn.MAX(Event.id)).where(Event.created_at < moment).scalar() or 0)


def _lock_reader() -> int:
    """The place of the reader; one reader at a time until the transaction ends."""
    place = locked(EventReader.select(EventReader.last_id).where(EventReader.name == READER))
    found = place.scalar()
    if found is None:
        EventReader.insert(name=READER, last_id=0).on_conflict(action="nothing").as_rowcount().execute()
        found = place.clone().scalar()
    return int(found)


def _move_reader(stored: int, place: int) -> None:
    if place > stored:
        EventReader.update(last_id=place).where(EventReader.name == READER).execute()


def young_enough(killmail_ids: list[int], oldest: datetime) -> list[int]:
    """Those of the stored killmails whose fight was at *oldest* or later; so a backfill is passed over cheaply."""
    young = Killmail.select(Killmail.killmail_id).where(
        Killmail.killmail_id.in_(killmail_ids), Killmail.killmail_time >= oldest
    )
    return [killmail.killmail_id for killmail in young.namedtuples()]
