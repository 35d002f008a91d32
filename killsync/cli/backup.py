"""`killsync backup` and `killsync restore`: the whole database in one file, by the database's own tools.

PostgreSQL: pg_dump and pg_restore in their custom format. SQLite: its online backup. SECRET_KEYS is in neither.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated
from urllib.parse import unquote, urlsplit, urlunsplit

import peewee
import psycopg2
import typer
from peewee import Table, fn

from killsync import settings as settings_module
from killsync.cli.console import say, stop
from killsync.logging import setup_logging
from killsync.settings import Settings
from killsync.startup import database_away
from models import connect, connection, database
from models.sqlite import keep_private


class Refused(Exception):
    """It was not done; the text is one line that says why. Nothing was changed."""


def backup(file: Annotated[Path, typer.Argument(help="The file to write; must not exist.")]) -> None:
    """Write the database into one file, while everything runs."""
    _do(write, file)


def restore(file: Annotated[Path, typer.Argument(help="A file that `killsync backup` wrote.")]) -> None:
    """Put the database back as a backup has it. Stop web, worker and scheduler first."""
    _do(_restore, file)


def _do(work: Callable[[Settings, Path], str], file: Path) -> None:
    settings = settings_module.load("database")
    setup_logging(settings)
    try:
        say(work(settings, file))
    except Refused as refused:
        raise stop(str(refused)) from None


def write(settings: Settings, file: Path) -> str:
    """Write a backup to *file*, readable by its owner alone; what the operator is to know.

    Raises:
        Refused: it was not done.
    """
    if file.exists():
        raise Refused(f"{file} exists: name another file, or remove it first")
    if not file.absolute().parent.is_dir():
        raise Refused(f"the folder of {file} does not exist")
    unfinished = file.with_name(file.name + ".part")
    unfinished.unlink(missing_ok=True)
    unfinished.touch(mode=0o600)
    try:
        if settings.uses_postgres:
            _run(settings, "pg_dump", "--format=custom", "--no-owner", "--no-privileges", f"--file={unfinished}")
        else:
            source = _sqlite(settings)
            if not source.exists():
                raise Refused(database_away(settings))
            _copy(source, unfinished)
        unfinished.rename(file)
    finally:
        unfinished.unlink(missing_ok=True)
    return f"Backup written: {file}, {file.stat().st_size:,} bytes. Keep SECRET_KEYS apart from it."


def _restore(settings: Settings, file: Path) -> str:
    """Put the database back as *file* has it, whole or not at all; what the operator is to know.

    Raises:
        Refused: it was not done.
    """
    if not file.is_file():
        raise Refused(f"{file} is not a file")
    if settings.uses_postgres:
        with file.open("rb") as opened:
            if opened.read(5) != b"PGDMP":
                raise Refused(f"{file} is not a backup of Killsync's PostgreSQL database")
        _refuse_while_running(settings)
        _replace(settings, file)
    else:
        _check_sqlite(file)
        target = _sqlite(settings)
        target.parent.mkdir(parents=True, exist_ok=True)
        keep_private(str(target))
        _copy(file, target)
    return "Restored. Run `killsync migrate`, then start the processes; what ESI lists since then is fetched by itself."


def _replace(settings: Settings, file: Path) -> None:
    """Put *file* in the place of all tables, those that the version of the backup did not have among them, in one transaction."""
    with connection():
        tables = ", ".join(f'"{table}"' for table in database.get_tables())
    emptied = ("--command", f"DROP TABLE {tables} CASCADE") if tables else ()
    with tempfile.TemporaryDirectory(prefix="killsync-") as folder:
        script = f"{folder}/restore.sql"
        _run(
            settings,
            "pg_restore",
            "--clean",
            "--if-exists",
            "--no-owner",
            "--no-privileges",
            f"--file={script}",
            str(file),
        )
        _run(
            settings, "psql", "--quiet", "--no-psqlrc", "--single-transaction", "--set=ON_ERROR_STOP=1", "--output=/dev/null",
            *emptied, f"--file={script}", f"--dbname={_without_password(settings)}",
        )  # fmt: skip


def _run(settings: Settings, tool: str, *arguments: str) -> None:
    """Run one of PostgreSQL's tools; the password goes by the environment, where no other user sees it."""
    if shutil.which(tool) is None:
        raise Refused(f"{tool} is not installed: install PostgreSQL's client programs")
    environment = dict(os.environ)
    password = urlsplit(settings.database_url).password
    if password is not None:
        environment["PGPASSWORD"] = unquote(password)
    database = [_without_password(settings)] if tool == "pg_dump" else []
    done = subprocess.run([tool, *arguments, *database], capture_output=True, text=True, env=environment)  # noqa: S603
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip() and "NOTICE:" not in line]
        said = lines or ["no reason given"]
        raise Refused(f"{tool} failed: {said[0].removeprefix(f'{tool}: ')}")


def _without_password(settings: Settings) -> str:
    parts = urlsplit(settings.database_url)
    host = parts.netloc.rsplit("@", 1)
    user = f"{parts.username}@" if parts.username and len(host) == 2 else ""
    return urlunsplit(parts._replace(netloc=user + host[-1]))


def _refuse_while_running(settings: Settings) -> None:
    connect(settings)
    activity = Table("pg_stat_activity").bind(database)
    of_killsync = (
        (activity.c.datname == fn.current_database())
        & (activity.c.pid != fn.pg_backend_pid())
        & (activity.c.application_name == "killsync")
    )
    try:
        with connection():
            others = activity.select(fn.count(activity.c.pid)).where(of_killsync).scalar()
    except (peewee.PeeweeException, psycopg2.Error):
        raise Refused(database_away(settings)) from None
    if others:
        raise Refused(
            f"Killsync is running on this database ({others} connections): stop web, worker and scheduler first"
        )


def _sqlite(settings: Settings) -> Path:
    return Path(settings.database_url.removeprefix("sqlite:///"))


def _check_sqlite(file: Path) -> None:
    try:
        source = sqlite3.connect(f"file:{file.absolute()}?mode=ro", uri=True)
        try:
            source.execute("SELECT count(*) FROM migratehistory")
            damage = source.execute("PRAGMA quick_check").fetchone()[0]
        finally:
            source.close()
    except sqlite3.Error:
        raise Refused(f"{file} is not a backup of Killsync's SQLite database") from None
    if damage != "ok":
        raise Refused(f"{file} is damaged: {damage}")


def _copy(source: Path, target: Path) -> None:
    """SQLite's online backup: a copy of one moment, whatever others write meanwhile."""
    try:
        old, new = sqlite3.connect(f"file:{source.absolute()}?mode=ro", uri=True), sqlite3.connect(target, timeout=10)
        try:
            old.backup(new)
        finally:
            old.close()
            new.close()
    except sqlite3.Error as error:
        raise Refused(f"SQLite: {error}") from None
