"""An empty, migrated PostgreSQL database that a benchmark has to itself; the models of this process are pointed at it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from killsync.settings import Settings
from models import connect, schema
from tests.support.resources import postgres_database


@contextmanager
def migrated() -> Iterator[str]:
    """The URL of one that is gone afterwards."""
    with postgres_database() as url:
        connect(Settings(database_url=url))  # type: ignore[call-arg]
        schema.migrate()
        yield url
