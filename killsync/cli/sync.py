"""`killsync sync`: one character's sync in this process, watched."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from killsync.cli.inprocess import choose_memory_broker, worker
from killsync.settings import Settings
from killsync.sync import run_queries
from models import User, connection
from models.sync import FAILED, WAITING
from models.users import ACTIVE


def sync_character(settings: Settings, character_id: int, console: Console, problems: Console) -> int:
    """Sync the character and show its progress; the exit code."""
    with connection():
        user = User.get_or_none(User.character_id == character_id)
    if user is None:
        problems.print(
            f"killsync: character {character_id} has never logged in here: open "
            f"{settings.public_url}/auth/login",
            markup=False, soft_wrap=True,
        )  # fmt: skip
        return 1
    if user.status != ACTIVE:
        problems.print(f"killsync: {user.character_name} ({character_id}) needs to log in again", markup=False)
        return 1
    choose_memory_broker()
    from killsync.sync.characters import request_sync

    with worker():
        with connection():
            run_id = request_sync(user.id, "command")
        row = _watch(run_id, user.character_name, console)
    say = lambda text: console.print(text, markup=False, soft_wrap=True)  # noqa: E731
    if row["status"] == FAILED:
        problems.print(f"killsync: {row['error']}", markup=False, soft_wrap=True)
        return 1
    say(f"✅ Completed: {user.character_name}")
    say(f"   Saved: {row['saved']} new killmails")
    say(f"   Skipped: {row['skipped']} (already in database)")
    say(f"   Errors: {row['errors']}")
    say(f"   Pages: {row['pages']}, ESI requests: {row['esi_requests']}, tokens: {row['esi_tokens']}")
    return 0


def _watch(run_id: int, name: str, console: Console) -> dict[str, object]:
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
