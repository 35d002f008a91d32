"""A database as an earlier version of Killsync left it, and what its processes do beside a migration."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from models import schema
from models.db import database
from models.fields import to_text, utcnow
from models.sql import insert_rows
from tests.support.process import begin, settings_for
from tests.support.resources import PROJECT


def begin_before(migration: str, url: str, folder: Path) -> None:
    """Begin this process's state on the empty database at *url*, with all migrations but *migration* (`021`) and later ones.

    *folder*: where its files may lie.
    """
    earlier = folder / f"before {migration}"
    shutil.copytree(PROJECT / "migrations", earlier, ignore=shutil.ignore_patterns("__pycache__"))
    for path in earlier.glob("[0-9][0-9][0-9]_*.py"):
        if path.stem >= migration:
            path.unlink()
    begin(settings_for(url), migrated=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schema, "migrations_folder", lambda: earlier)
        schema.migrate()


@contextlib.contextmanager
def as_another(server: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What the block says to the database, another process says: over *server*, a connection of psycopg2, committed at its end."""

    def execute(sql: str, values: Any = None, *_more: Any) -> Any:
        cursor = server.cursor()
        cursor.execute(sql, values)
        return cursor

    with monkeypatch.context() as patch:
        patch.setattr(database.obj, "execute_sql", execute)
        patch.setattr(database.obj, "cursor", lambda *_more: server.cursor())
        yield
    server.commit()


def enter_killmail(number: int, moment: str, classified_by: int) -> None:
    """A row of the table `killmail`, as far as who took part in it is concerned."""
    row = {"killmail_id": number, "killmail_hash": "a", "killmail_time": moment, "solar_system_id": 30_000_142,
           "attacker_count": 1, "created_at": to_text(utcnow()), "classified_by": classified_by}  # fmt: skip
    insert_rows("killmail", tuple(row), [tuple(row.values())])
