"""The log of killmails, and word of changes to those who wait.

A killmail gets its number from one counter, in the transaction that stores it and as the last thing in it: whoever comes
next waits until that has committed. So the order of numbers is the order of commits, a transaction that fails leaves no
gap, and where a number can be read none before it is still to come. Everybody who follows reads "greater than n".
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from peewee import Select, fn

from models.db import database, is_postgres
from models.expressions import now
from models.fields import to_text, utcnow
from models.killmail_log import KillmailCounter, KillmailLog, LogReader
from models.prepared import Prepared
from models.sql import rows, run

#: What followers LISTEN to; `killmail:<newest number>` or `sync:<run>:<user>,...`. It only wakes them.
CHANNEL = "killsync"
KILLMAIL, SYNC = "killmail", "sync"
#: Changes of runs that one message of PostgreSQL has room for: it takes 8,000 bytes.
RUNS_A_MESSAGE = 150


class Entry(NamedTuple):
    """One killmail of the log."""

    sequence: int
    killmail_id: int
    created_at: datetime


class Span(NamedTuple):
    """What the log holds: numbers from *oldest* to *newest*, both included. Empty: *oldest* is one above."""

    oldest: int
    newest: int


def append(killmail_ids: Sequence[int]) -> None:
    """Give stored killmails the next numbers of the log, in this order: the last thing a transaction does."""
    if not killmail_ids:
        return
    if is_postgres():
        # Text: one statement, since all others who store wait from here to the commit. Peewee knows no WITH ORDINALITY.
        rows(
            "WITH counted AS (UPDATE killmail_counter SET last = last + %s RETURNING last - %s AS before), "
            "numbered AS (INSERT INTO killmail_log (sequence, killmail_id, created_at) "
            "SELECT before + place, killmail_id, clock_timestamp() "
            "FROM counted, unnest(%s::bigint[]) WITH ORDINALITY AS each (killmail_id, place) RETURNING sequence, killmail_id), "
            "marked AS (UPDATE killmail SET sequence = numbered.sequence FROM numbered "
            "WHERE killmail.killmail_id = numbered.killmail_id) "
            "SELECT pg_notify(%s, %s::text || max(sequence)) FROM numbered",
            (len(killmail_ids), len(killmail_ids), list(killmail_ids), CHANNEL, f"{KILLMAIL}:"),
        )
        return
    # Text as well: Peewee takes as long to write a row down as SQLite to enter it.
    count, listed = len(killmail_ids), json.dumps(list(killmail_ids))
    run("UPDATE killmail_counter SET last = last + %s", (count,))
    run(
        "INSERT INTO killmail_log (sequence, killmail_id, created_at) "
        "SELECT last - %s + 1 + each.key, each.value, %s FROM killmail_counter, json_each(%s) AS each",
        (count, to_text(utcnow()), listed),
    )
    run(
        "UPDATE killmail SET sequence = last - %s + 1 + each.key FROM killmail_counter, json_each(%s) AS each "
        "WHERE killmail_id = each.value",
        (count, listed),
    )


def runs_changed(runs: Sequence[tuple[int, int]]) -> None:
    """Wake those who watch these (run, user), when the running transaction commits. On SQLite they look by themselves."""
    if not is_postgres():
        return
    for start in range(0, len(runs), RUNS_A_MESSAGE):
        named = ",".join(f"{run_id}:{user_id}" for run_id, user_id in runs[start : start + RUNS_A_MESSAGE])
        _NOTIFY.rows(CHANNEL, f"{SYNC}:{named}")


_NOTIFY = Prepared(lambda channel, text: Select([], [fn.pg_notify(channel, text)]), lists=0, values=2)


def newest() -> int:
    """The newest number; 0 when nothing was ever stored."""
    return int(KillmailCounter.select(KillmailCounter.last).scalar() or 0)


def span() -> Span:
    """What the log holds. In one statement, so that both ends are of one moment."""
    oldest = KillmailLog.select(fn.MIN(KillmailLog.sequence))
    last = KillmailCounter.select(KillmailCounter.last)
    found = Select([], [oldest.alias("oldest"), last.alias("last")]).dicts().bind(database).execute()
    row = next(iter(found))
    return Span(row["oldest"] if row["oldest"] is not None else row["last"] + 1, row["last"])


def after(sequence: int, limit: int) -> list[Entry]:
    """The first *limit* entries with a greater number, ascending."""
    found = KillmailLog.select().where(KillmailLog.sequence > sequence).order_by(KillmailLog.sequence).limit(limit)
    return [Entry(row.sequence, row.killmail_id, row.created_at) for row in found.namedtuples()]


def last_before(moment: datetime) -> int:
    """The last number that was given before *moment*; what was stored then or later comes after it."""
    # Looked up first: what is stored between the two statements comes after it.
    last = newest()
    found = KillmailLog.select(fn.MIN(KillmailLog.sequence)).where(KillmailLog.created_at >= moment).scalar()
    return last if found is None else min(last, int(found) - 1)


def prune(keep_seconds: float) -> int:
    """Delete entries of long ago that every reader has read, however long it was away; the number deleted.

    The newest stays, so that who asks for the newest number finds its killmail.
    """
    behind = LogReader.select(LogReader.name).where(LogReader.sequence < KillmailLog.sequence)
    old = KillmailLog.created_at < now(-keep_seconds)
    return int(KillmailLog.delete().where(old, KillmailLog.sequence < newest(), ~fn.EXISTS(behind)).execute())
