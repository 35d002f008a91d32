"""The schema's version: migrate forward, and refuse to work on a schema that is older or newer than the code."""

from __future__ import annotations

import logging
import zlib
from pathlib import Path

import peewee
import psycopg2
from peewee_migrate import Router

from killsync.settings import project_root
from models.db import database, is_postgres
from models.errors import is_away
from models.sql import rows

#: How long a migration waits for a table that workers hold.
LOCK_TIMEOUT = "10s"
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
    so running workers are never queued behind it for long; it fails cleanly and can be run again.
    """
    with database.obj.connection_context():
        if not is_postgres():
            return list(_router().run())
        database.execute_sql("SELECT pg_advisory_lock(%s)", (_LOCK_ID,))
        try:
            database.execute_sql(f"SET lock_timeout = '{LOCK_TIMEOUT}'")
            return list(_router().run())
        finally:
            database.execute_sql("SET lock_timeout = DEFAULT")
            database.execute_sql("SELECT pg_advisory_unlock(%s)", (_LOCK_ID,))


def check() -> None:
    """Make sure that the schema is the one this code was written for.

    Raises:
        SchemaError: it is missing, older or newer; the text says what to run.
    """
    known = sorted(path.stem for path in migrations_folder().glob("[0-9][0-9][0-9]_*.py"))
    try:
        done = [name for (name,) in rows("SELECT name FROM migratehistory ORDER BY id")]
    except (peewee.OperationalError, peewee.ProgrammingError, psycopg2.Error) as error:
        if is_away(error):
            raise
        raise SchemaError("the database has no tables yet: run `killsync migrate`") from None
    if newer := sorted(set(done) - set(known)):
        raise SchemaError(f"the database is newer than this code (it has {newer[-1]}): install the newer Killsync")
    if missing := [name for name in known if name not in done]:
        raise SchemaError(f"the database is older than this code (it lacks {missing[0]}): run `killsync migrate`")
