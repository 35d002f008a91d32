"""Writing events in the transaction that makes them true, and deleting old ones. Reads nothing for subscribers: see the hub."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from peewee import Select, Table, fn

from models.db import database, is_postgres
from models.events import Event
from models.expressions import either, now
from models.fields import UtcDateTimeField, utcnow
from models.sql import rows
from models.webhooks import EventReader


def emit(kind: str, subject_id: int, user_id: int | None = None) -> None:
    """Write an event into the running transaction; PostgreSQL notifies its listeners when that commits."""
    emit_each(kind, [(subject_id, user_id)])


def emit_each(kind: str, subjects: Sequence[tuple[int, int | None]]) -> None:
    """Write an event for each (subject, user) into the running transaction, as `emit` does for one."""
    if not subjects:
        return
    if is_postgres():
        # Text: one statement writes and notifies. Peewee cannot say unnest of two arrays, and of 40 events it takes 1 ms.
        rows(
            "WITH written AS (INSERT INTO event (kind, subject_id, user_id, created_at) "
            "SELECT %s, subject, listener, clock_timestamp() "
            "FROM unnest(%s::bigint[], %s::bigint[]) AS each (subject, listener) RETURNING id, subject_id, user_id) "
            "SELECT pg_notify('killsync', concat_ws(':', id, %s::text, subject_id, user_id)) FROM written",
            (kind, [subject for subject, _ in subjects], [user for _, user in subjects], kind),
        )
        return
    moment = utcnow()
    Event.insert_many(
        [(kind, subject, user, moment) for subject, user in subjects],
        [Event.kind, Event.subject_id, Event.user_id, Event.created_at],
    ).execute()


def prune(keep_seconds: float) -> int:
    """Delete events of long ago that every reader has read, however long it was away; the number deleted."""
    behind = EventReader.select(EventReader.name).where(EventReader.last_id < Event.id)
    return int(Event.delete().where(Event.created_at < now(-keep_seconds), ~fn.EXISTS(behind)).execute())


def all_visible_before() -> datetime:
    """A moment before which every event is visible: the start of the oldest transaction that is still writing.

    An event's `created_at` is taken inside its transaction, so an event that is not visible yet is younger than that.
    SQLite has one writer at a time.
    """
    activity = Table("pg_stat_activity")
    oldest = activity.select(fn.MIN(activity.c.xact_start)).where(
        activity.c.datname == fn.current_database(),
        activity.c.backend_xid.is_null(False),
        activity.c.pid != fn.pg_backend_pid(),
    )
    moment = either(postgres=fn.LEAST(now(), oldest), sqlite=now())
    found = UtcDateTimeField().python_value(Select(columns=[moment]).bind(database).scalar())
    assert found is not None
    return found
