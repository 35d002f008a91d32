"""`killsync upgrade`: from an older version's database to this one's, with a backup before, and what to restart after.

The code is exchanged before, by `git pull && make install`, a wheel or an image; this brings the rest along.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import peewee
import psycopg2
import typer

from killsync import settings as settings_module
from killsync.cli import backup as backups
from killsync.cli.console import say, stop
from killsync.cli.migrate import migrate
from killsync.logging import setup_logging
from killsync.settings import Settings
from killsync.startup import connect_models, database_away
from killsync.version import version
from models import connection, schema
from models.db import server_version
from models.errors import is_away

#: The oldest PostgreSQL that is tested.
OLDEST_POSTGRES = 13
FOLDER = Path("backups")
#: How each way of running Killsync is restarted.
RESTARTS = (
    "systemd: `systemctl restart killsync.target`",
    "compose: `docker compose up -d`",
    "honcho: Ctrl-C or SIGTERM, then `honcho start`",
)


def upgrade(
    backup: Annotated[Path | None, typer.Option(help="The backup to write; else a new file in backups/.")] = None,
    no_backup: Annotated[bool, typer.Option("--no-backup", help="Migrate without a backup.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Say what would be done, and change nothing.")] = False,
) -> None:
    """Check versions, write a backup, migrate, and say what to restart."""
    settings = settings_module.load("database")
    setup_logging(settings)
    connect_models(settings)
    try:
        with connection():
            postgres, done, to_do = server_version(), schema.applied(), schema.pending()
    except (peewee.PeeweeException, psycopg2.Error) as error:
        if not is_away(error):
            raise
        raise stop(database_away(settings), 2) from None
    except schema.SchemaError as error:
        raise stop(str(error)) from None
    if postgres is not None and postgres < OLDEST_POSTGRES:
        raise stop(f"PostgreSQL {postgres} is too old: Killsync needs {OLDEST_POSTGRES} or newer")
    server = f", PostgreSQL {postgres}" if postgres is not None else ""
    say(f"Killsync {version()}, Python {sys.version_info.major}.{sys.version_info.minor}{server}.")
    say(f"The database has {done[-1] if done else 'no tables yet'}; to come: {', '.join(to_do) or 'nothing'}.")
    if check:
        return
    if to_do and done and not no_backup:
        _back_up(settings, backup)
    if to_do:
        migrate()
    say("Restart web, worker and scheduler now, in any order:")
    for way in RESTARTS:
        say(f"  {way}")
    say("What runs of the version before goes on until then, and no message is lost, whichever version takes it.")


def _back_up(settings: Settings, file: Path | None) -> None:
    if file is None:
        FOLDER.mkdir(mode=0o700, exist_ok=True)
        file = FOLDER / f"before-{version()}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.dump"
    try:
        say(backups.write(settings, file))
    except backups.Refused as refused:
        raise stop(f"no backup, so nothing was changed: {refused}. --no-backup goes on without one") from None
