"""A database as an earlier version of Killsync left it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from models import schema
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
