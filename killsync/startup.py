"""What every process does before it works: settings, logging, database, schema. Waits for a database that is away."""

from __future__ import annotations

import time
from urllib.parse import urlsplit

import peewee
import psycopg2

from killsync import settings as settings_module
from killsync.logging import get_logger, setup_logging
from killsync.settings import Need, Settings
from models import connect, connection, schema
from models.errors import is_away

log = get_logger("startup")


def start(*needs: Need, wait: bool = True) -> Settings:
    """Check the settings, set logging up, connect the models and check the schema.

    What is wrong ends the process with one line and exit code 2. A database that does not answer is waited for when
    *wait* is true, with a line that says so.
    """
    settings = settings_module.load(*needs)
    setup_logging(settings)
    connect(settings)
    pause = 1.0
    while True:
        try:
            with connection():
                schema.check()
            return settings
        except schema.SchemaError as error:
            settings_module.refuse(str(error))
        except (peewee.PeeweeException, psycopg2.Error) as error:
            if not is_away(error):
                raise
            reason = database_away(settings)
            if not wait:
                settings_module.refuse(reason)
            log.warning("waiting for the database", reason=reason, retry_in=pause)
            time.sleep(pause)
            pause = min(pause * 2, 15.0)


def database_away(settings: Settings) -> str:
    """One line for a database that does not answer: where it was sought and how to start it."""
    if not settings.uses_postgres:
        return f"the SQLite file {settings.database_url.removeprefix('sqlite:///')} cannot be opened: check the folder"
    parts = urlsplit(settings.database_url)
    return (
        f"PostgreSQL at {parts.hostname or 'the local socket'}:{parts.port or 5432}{parts.path} does not answer: start it "
        "(`docker compose up -d postgres` or your system's service) or correct DATABASE_URL"
    )


def broker_away(settings: Settings) -> str:
    """One line for a broker that does not answer."""
    parts = urlsplit(settings.broker_url)
    return (
        f"RabbitMQ at {parts.hostname}:{parts.port or 5672} does not answer: start it "
        "(`docker compose up -d rabbitmq` or your system's service) or correct BROKER_URL"
    )
