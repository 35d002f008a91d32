"""`killsync values recompute`: stored killmails valued again."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from killsync import startup
from killsync.cli.console import console, errors, say, stop
from killsync.prices import book, fixed, revaluation
from models import connection


def recompute(
    since: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="Only killmails since this day (UTC), such as 2026-11-01."),
    ] = None,
) -> None:
    """Value stored killmails again, by the prices that are known now; workers may run meanwhile."""
    settings = startup.start("database", wait=False)
    for problem in fixed.read(settings.price_file).problems:
        errors.print(f"PRICE_FILE: {problem}", style="yellow", markup=False, soft_wrap=True)
    with connection():
        if not book.current().get().days:
            raise stop("no prices are known yet: workers ask ESI for them within moments of their start")
    changed = _recompute(since.date() if since is not None else None)
    say(f"{changed:,} killmails have another value than before.")


def _recompute(since: date | None) -> int:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("Killmails valued", total=None)
        return revaluation.recompute(since, lambda done, total: progress.update(task, completed=done, total=total))
