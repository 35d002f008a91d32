"""`killsync sync`: one character's sync in this process, watched."""

from __future__ import annotations

import time
from typing import Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from killsync import process, startup
from killsync.cli.console import complain, console, say
from killsync.cli.inprocess import worker
from killsync.settings import Settings
from killsync.sync import run_queries
from killsync.sync.characters import request_sync
from models import User, connection
from models.sync import FAILED, WAITING
from models.users import ACTIVE


def sync(character_id: int) -> None:
    """Sync one character in the foreground, with a progress bar."""
    raise typer.Exit(_sync(startup.start("database", "esi", "sso", "secrets", wait=False), character_id))


def _sync(settings: Settings, character_id: int) -> int:
    """Sync the character and show its progress; the exit code."""
    with connection():
        user = User.get_or_none(User.character_id == character_id)
    if user is None:
        complain(f"character {character_id} has never logged in here: open {settings.public_url}/auth/login")
        return 1
    if user.status != ACTIVE:
        complain(f"{user.character_name} ({character_id}) needs to log in again")
        return 1
    process.begin(settings.model_copy(update={"broker_url": "memory://"}))
    with worker():
        startup.spare_garbage_collection()
        with connection():
            run_id = request_sync(user.id, "command")
        row = _watch(run_id, user.character_name)
    if row["status"] == FAILED:
        complain(str(row["error"]))
        return 1
    say(f"✅ Completed: {user.character_name}")
    say(f"   Saved: {row['saved']} new killmails")
    say(f"   Skipped: {row['skipped']} (already in database)")
    say(f"   Errors: {row['errors']}")
    say(f"   Pages: {row['pages']}, ESI requests: {row['esi_requests']}, tokens: {row['esi_tokens']}")
    return 0


def _watch(run_id: int, name: str) -> dict[str, Any]:
    """Show how the run stands until it has ended; its row."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(name, total=None)
        while True:
            with connection():
                row = run_queries.run_row(run_id) or {}
            found = int(row["found"])
            done = int(row["saved"]) + int(row["skipped"]) + int(row["errors"])
            waits = f" ({row['error']})" if row["status"] == WAITING else ""
            progress.update(task, total=found or None, completed=done, description=f"{name}{waits}")
            if row["finished_at"] is not None:
                return row
            time.sleep(0.2)
