"""Reading the log for webhooks: each killmail once and in order, by its number.

A delivery is entered by this reader, never by the transaction that saves a killmail: saving costs nothing more for any
number of webhooks, and nothing is delivered that is not stored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any, Literal, overload

from peewee import fn

from killsync.events import store as killmail_log
from killsync.webhooks.filter import BadFilter, WebhookFilter
from killsync.webhooks.giving_up import disable, unusable
from models.db import in_transaction
from models.expressions import kept, locked, now, one_of
from models.killmail_log import LogReader
from models.killmails import Killmail
from models.users import User
from models.webhooks import ACTIVE, Webhook, WebhookDelivery

#: Killmails that are read in one transaction.
BATCH = 200
READER = "webhooks"


@dataclass(frozen=True)
class Subscriber:
    """What an active webhook wants, and the characters of its account."""

    webhook_id: int
    filter: WebhookFilter
    since: datetime
    character_ids: tuple[int, ...]


@dataclass(frozen=True)
class Stored:
    """A killmail of the log."""

    killmail_id: int
    stored_at: datetime


@dataclass
class Choice:
    """Who wants what: (webhook id, killmail id) in the order of the log, and why a webhook could not be asked."""

    pairs: list[tuple[int, int]] = field(default_factory=list)
    unusable: dict[int, str] = field(default_factory=dict)


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
        since = killmail_log.last_before(active[0].since)
        _store_place(since if len(active) == 1 else min(place, since))

    in_transaction(work)


def stop_reading() -> None:
    """Nobody wants the killmails any more: the log need not be kept for this reader."""
    active = Webhook.select(Webhook.id).where(Webhook.status == ACTIVE)
    in_transaction(LogReader.delete().where(LogReader.name == READER, ~fn.EXISTS(active)).execute)


def read_log(choose: Callable[[Sequence[Stored], Sequence[Subscriber]], Choice]) -> Reading:
    """Read what comes next in the log and enter what *choose* makes of it, in one transaction: exactly once."""

    def work() -> Reading:
        place = _lock_place(skip=True)
        if place is None:
            return Reading.BUSY
        wanted = _subscribers()
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
    """Where the first webhook's killmails begin."""
    first = Webhook.select(Webhook.since).where(Webhook.status == ACTIVE).order_by(Webhook.since).namedtuples().first()
    return killmail_log.newest() if first is None else killmail_log.last_before(first.since)


def _store_place(sequence: int) -> None:
    LogReader.update(sequence=sequence).where(LogReader.name == READER).execute()


def young_enough(killmail_ids: list[int], oldest: datetime) -> list[int]:
    """Those of the stored killmails whose fight was at *oldest* or later; so a backfill is passed over cheaply."""
    young = Killmail.select(Killmail.killmail_id).where(
        Killmail.killmail_id.in_(killmail_ids), Killmail.killmail_time >= oldest
    )
    return [killmail.killmail_id for killmail in young.namedtuples()]
