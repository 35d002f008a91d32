"""The schema's version: migrate forward, and refuse to work on a schema that is older or newer than the code."""

from __future__ import annotations

import logging
import zlib
from pathlib import Path

import peewee
import psycopg2
from peewee import fn
from peewee_migrate import Router

from killsync.settings import project_root
from models.db import connection, database, discard, is_postgres
from models.errors import is_away, is_locked, is_transient
from models.expressions import evaluate

#: How long a migration waits for a table that workers hold.
LOCK_TIMEOUT = "10s"
#: How often a migration is begun that deadlocks with workers, who lock tables in the order of their work.
ATTEMPTS = 5
_LOCK_ID = zlib.crc32(b"killsync migrate")


class SchemaError(Exception):
    """The schema and the code do not fit together; the text says which is older and what to run."""


def _router() -> Router:
    logger = logging.getLogger("killsync.migrate")
    return Router(database.obj, migrate_dir=migrations_folder(), logger=logger)


def migrations_folder() -> Path:
    return project_root() / "migrations"


def migrate() -> list[str]:
    """Bring the schema to the code's version; the names of the migrations that ran. Two at once: the second waits.

    Each migration is one transaction. On PostgreSQL none waits longer than ten seconds for a table that workers hold,
    so running workers are never queued behind it for long; it fails cleanly and can be run again. One that deadlocks with them
    is begun anew. Its statements may take as long as they take.
    """
    with connection():
        if not is_postgres():
            return list(_router().run())
        evaluate(fn.set_config("statement_timeout", "0", False))
        evaluate(fn.set_config("idle_in_transaction_session_timeout", "0", False))
        evaluate(fn.pg_advisory_lock(_LOCK_ID))
        try:
            evaluate(fn.set_config("lock_timeout", LOCK_TIMEOUT, False))
            return _run_past_deadlocks()
        finally:
            evaluate(fn.set_config("lock_timeout", "0", False))
            evaluate(fn.pg_advisory_unlock(_LOCK_ID))
            # What was set belongs to this connection; nobody else shall get it.
            discard()


def _run_past_deadlocks() -> list[str]:
    wanted = list(_router().diff)
    for attempt in range(1, ATTEMPTS + 1):
        try:
            _router().run()
            break
        except peewee.OperationalError as error:
            is_deadlock = is_transient(error) and not is_locked(error)
            if not is_deadlock or attempt == ATTEMPTS:
                raise
    return wanted


def applied() -> list[str]:
    """The migrations that the database has, in their order; none where it has no tables yet.

    Raises:
        SchemaError: it is newer than this code.
    """
    try:
        history = peewee.Table("migratehistory").bind(database.obj)
        done = [row["name"] for row in history.select(history.c.name).order_by(history.c.id)]
    except (peewee.OperationalError, peewee.ProgrammingError, psycopg2.Error) as error:
        if is_away(error):
            raise
        return []
    if newer := sorted(set(done) - set(_known())):
        raise SchemaError(f"the database is newer than this code (it has {newer[-1]}): install the newer Killsync")
    return done


def pending() -> list[str]:
    """The migrations that this code has and the database has not, in their order."""
    done = set(applied())
    return [name for name in _known() if name not in done]


def _known() -> list[str]:
    return sorted(path.stem for path in migrations_folder().glob("[0-9][0-9][0-9]_*.py"))


def check() -> None:
    """Make sure that the schema is the one this code was written for.

    Raises:
        SchemaError: it is missing, older or newer; the text says what to run.
    """
    if not applied():
        raise SchemaError("the database has no tables yet: run `killsync migrate`")
    if missing := pending():
        raise SchemaError(f"the database is older than this code (it lacks {missing[0]}): run `killsync migrate`")
