"""`killsync migrate`: brings the database to the schema of this version."""

from __future__ import annotations

from killsync import settings as settings_module
from killsync.cli.console import console, stop
from killsync.logging import setup_logging
from killsync.startup import database_away
from models import connect, schema
from models.errors import is_away, is_locked


def migrate() -> None:
    """Bring the database to the schema of this version."""
    settings = settings_module.load("database")
    setup_logging(settings)
    # Straight to PostgreSQL where a pooler stands in between: what keeps two migrations apart belongs to the connection.
    connect(settings.model_copy(update={"database_url": settings.database_listen_url or settings.database_url}))
    try:
        done = schema.migrate()
    except Exception as error:
        if is_away(error):
            raise stop(database_away(settings)) from None
        if is_locked(error):
            raise stop(
                "a table is in use and nothing was changed: run this again, or stop web, worker and scheduler first"
            ) from None
        raise
    console.print(f"Migrated: {', '.join(done)}" if done else "The schema is up to date.")
