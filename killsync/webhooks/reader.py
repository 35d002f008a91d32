"""Reading the event table for webhooks: each event once, none skipped, though ids can become visible out of order.

A delivery is entered by this reader, never by the transaction that saves a killmail: saving costs nothing more for any
number of webhooks, and nothing is delivered that is not stored.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from killsync.webhooks.filter import WebhookFilter
from models.db import in_transaction, is_postgres
from models.events import KILLMAIL_SAVED
from models.fields import from_any, to_text, utcnow
from models.sql import insert_rows, rows, run, sql_now
from models.webhooks import ACTIVE

#: Events read in one transaction.
BATCH = 200
READER = "webhooks"
#: An event's time and its id are taken one after the other: neighbours may stand in another order by the one than by the
#: other, within this.
MARGIN = timedelta(seconds=2)


@dataclass(frozen=True)
class Interest:
    """What an active webhook wants, and the characters of its account."""

    webhook_id: int
    filter: WebhookFilter
    since: datetime
    character_ids: tuple[int, ...]


@dataclass(frozen=True)
class Saved:
    """A killmail that an event says was stored."""

    killmail_id: int
    stored_at: datetime


def is_wanted() -> bool:
    """Whether anybody wants to be told of anything."""
    return bool(rows("SELECT 1 FROM webhook WHERE status = 'active' LIMIT 1"))


def interests() -> list[Interest]:
    """Every active webhook."""
    found = rows("SELECT id, wants, since, account_id FROM webhook WHERE status = %s ORDER BY id", (ACTIVE,))
    pilots: dict[int, list[int]] = {}
    if found:
        for account_id, character_id in rows(
            'SELECT account_id, character_id FROM "user" WHERE account_id IN (SELECT account_id FROM webhook)'
        ):
            pilots.setdefault(account_id, []).append(character_id)
    return [
        Interest(number, WebhookFilter.load(text), moment_of(since), tuple(pilots.get(account_id, ())))
        for number, text, since, account_id in found
    ]


def begin_reading() -> None:
    """Before the first webhook of all is told anything: skip the events that nobody wanted.

    Call it when a webhook becomes active; it does nothing while another one is.
    """

    def work() -> None:
        _lock_reader()
        active = rows("SELECT since FROM webhook WHERE status = 'active' LIMIT 2")
        if len(active) == 1:
            before = min(moment_of(_horizon()), moment_of(active[0][0])) - MARGIN
            newest = rows("SELECT max(id) FROM event WHERE created_at < %s", (to_text(before),))[0][0] or 0
            run("UPDATE event_reader SET last_id = %s WHERE name = %s AND last_id < %s", (newest, READER, newest))

    in_transaction(work)


def read_events(
    after: int | None, choose: Callable[[list[Saved], list[Interest]], list[tuple[int, int]]]
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
        wanted = interests()
        if not wanted:
            return None
        position = max(stored, after or 0)
        horizon = _horizon()
        found = rows(
            "SELECT id, subject_id, created_at FROM event WHERE id > %s AND kind = %s AND created_at >= %s "
            "ORDER BY id LIMIT %s",
            (position, KILLMAIL_SAVED, to_text(min(each.since for each in wanted)), BATCH),
        )
        pairs = choose([Saved(killmail, moment_of(at)) for _, killmail, at in found], wanted) if found else []
        if pairs:
            now = to_text(utcnow())
            insert_rows(
                "webhook_delivery",
                ("webhook_id", "killmail_id", "created_at"),
                [(*pair, now) for pair in pairs],
                "ON CONFLICT DO NOTHING",
            )
        passed = stored
        if position == stored:
            before = moment_of(horizon) - MARGIN
            passed = _passed(found, before, stored)
            if len(found) < BATCH:
                # Everything older has been looked at, events of other kinds among it.
                newest = rows("SELECT id FROM event WHERE created_at < %s ORDER BY id DESC LIMIT 1", (to_text(before),))
                passed = max(passed, newest[0][0] if newest else 0)
        if passed != stored:
            run("UPDATE event_reader SET last_id = %s WHERE name = %s", (passed, READER))
        return int(found[-1][0]) if len(found) == BATCH else None

    return in_transaction(work)


def _passed(found: list[tuple[Any, ...]], before: datetime, stored: int) -> int:
    for number, _, at in found:
        if moment_of(at) >= before:
            break
        stored = int(number)
    return stored


def _lock_reader() -> int:
    """The place of the reader; one reader at a time until the transaction ends."""
    lock = "FOR UPDATE" if is_postgres() else ""
    found = rows(f"SELECT last_id FROM event_reader WHERE name = %s {lock}", (READER,))
    if not found:
        insert_rows("event_reader", ("name", "last_id"), [(READER, 0)], "ON CONFLICT DO NOTHING")
        found = rows(f"SELECT last_id FROM event_reader WHERE name = %s {lock}", (READER,))
    return int(found[0][0])


def _horizon() -> Any:
    """A moment before which every event is visible: the start of the oldest transaction that is still writing.

    An event's `created_at` is taken inside its transaction, so one that is not visible yet is younger than that. SQLite
    has one writer at a time, and that is us.
    """
    if not is_postgres():
        return rows(f"SELECT {sql_now()}")[0][0]
    return rows(
        "SELECT least(statement_timestamp(), (SELECT min(xact_start) FROM pg_stat_activity WHERE datname = current_database() "
        "AND backend_xid IS NOT NULL AND pid <> pg_backend_pid()))"
    )[0][0]


def moment_of(value: Any) -> datetime:
    found = from_any(value)
    assert found is not None
    return found


def young_enough(killmail_ids: list[int], oldest: datetime) -> list[int]:
    """Those of the stored killmails whose fight was at *oldest* or later; so a backfill is passed over cheaply."""
    marks = ", ".join(["%s"] * len(killmail_ids))
    found = rows(
        f"SELECT killmail_id FROM killmail WHERE killmail_id IN ({marks}) AND killmail_time >= %s",
        (*killmail_ids, to_text(oldest)),
    )
    return [number for (number,) in found]
