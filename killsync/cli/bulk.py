"""`killsync import` and `killsync export`: killmails from files and into files."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from killsync import startup
from killsync.bulk import exporting, importing, workers, writers
from killsync.bulk.importing import Names, Report
from killsync.bulk.sources import printable
from killsync.cli.console import complain, console, errors, say, stop
from killsync.killmails.filter import KillmailFilter

_DAY = ["%Y-%m-%d"]


def import_killmails(
    paths: Annotated[list[Path], typer.Argument(help="Files, archives and folders.", metavar="PATH...")],
    announce: Annotated[
        bool, typer.Option("--announce", help="Tell webhooks, feeds and subscribers of what is new here.")
    ] = False,
    processes: Annotated[
        int | None, typer.Option(min=1, max=64, help="Processes that store; one a core unless said otherwise.")
    ] = None,
) -> None:
    """Store killmails of files: JSON as ESI gives it, JSON Lines, .tar.bz2, .tar.gz and .zip archives, folders of these.

    What is stored already is passed over, so it may be ended and begun again, and workers may run meanwhile.
    """
    settings = startup.start("database", wait=False)
    count = processes if processes is not None else workers.processes_for(settings)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with _stopping() as stopped, Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("Killmails", total=None)

        def show(report: Report) -> None:
            done = f"{report.new:,} new, {report.known:,} known"
            progress.update(task, total=report.total, completed=report.done, description=done)

        try:
            report = importing.import_paths(
                settings, paths, announce=announce, processes=count, progress=show, is_stopped=stopped.is_set
            )
        except workers.ImportFailed as error:
            raise stop(f"the import ended: {error}; what is stored is whole, the same command goes on") from None
    _tell(report)
    if report.was_stopped:
        say("Stopped. The same command goes on.")
        raise typer.Exit(130)
    if report.broken.count:
        raise typer.Exit(1)


def _tell(report: Report) -> None:
    """Say what became of the killmails; what is wrong goes to standard error."""
    say(f"{report.new:,} killmails stored, {report.known:,} were stored before.")
    _list(report.no_hash, "have no hash and are not stored: ESI gives each when a list names it")
    _list(report.other_hash, "have another hash here than in the file: that from ESI's lists counts")
    _list(report.broken, "could not be read or stored")


def _list(names: Names, what: str) -> None:
    if not names.count:
        return
    complain(f"{names.count:,} {what}:")
    for name, reason in names.first:
        line = f"  {printable(name)}: {printable(reason)}" if reason else f"  {printable(name)}"
        errors.print(line, markup=False, soft_wrap=True)
    if names.count > len(names.first):
        errors.print(f"  and {names.count - len(names.first):,} more", markup=False)


def export_killmails(
    file: Annotated[Path, typer.Argument(help=f"The file to write, {writers.FORMATS}; - is standard output.")],
    since: Annotated[datetime | None, typer.Option(formats=_DAY, help="Only of this day (UTC) and later.")] = None,
    until: Annotated[datetime | None, typer.Option(formats=_DAY, help="Only of this day (UTC) and earlier.")] = None,
    character: Annotated[int | None, typer.Option(help="Only those that this character took part in.")] = None,
    corporation: Annotated[int | None, typer.Option(help="Only those that this corporation took part in.")] = None,
    alliance: Annotated[int | None, typer.Option(help="Only those that this alliance took part in.")] = None,
    system: Annotated[int | None, typer.Option(help="Only those in this solar system.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that is there.")] = False,
) -> None:
    """Write stored killmails into a file, each as ESI gave it and with its hash, newest first."""
    is_stream = str(file) == "-"
    if not is_stream and not writers.is_known(file.name):
        raise stop(f"{file}: the name has to end in {writers.FORMATS}", 2)
    if not is_stream and file.exists() and not force:
        raise stop(f"{file} exists: name another file, or say --force", 2)
    startup.start("database", wait=False)
    chosen = KillmailFilter(
        character_id=character, corporation_id=corporation, alliance_id=alliance, system_id=system,
        start=since.replace(tzinfo=UTC) if since is not None else None,
        end=until.replace(tzinfo=UTC) + timedelta(days=1, microseconds=-1) if until is not None else None,
    )  # fmt: skip
    shown = Console(stderr=True, highlight=False) if is_stream else console
    with _stopping() as stopped, Progress(TextColumn("{task.description}"), console=shown, transient=True) as progress:
        task = progress.add_task("Killmails", total=None)

        def show(done: int) -> None:
            progress.update(task, description=f"{done:,} killmails written")

        if is_stream:
            done = exporting.export(sys.stdout.buffer, "-.jsonl", chosen, show, stopped.is_set)
        else:
            done = exporting.export_file(file, chosen, show, stopped.is_set)
    if done is None:
        raise typer.Exit(130)
    if not is_stream:
        say(f"{done:,} killmails written to {file}.")


@contextmanager
def _stopping() -> Iterator[Event]:
    """An event that the first Ctrl-C or SIGTERM sets; a second one ends the process as ever."""
    stopped = Event()
    before: dict[int, Any] = {}

    def stop_once(number: int, _frame: object) -> None:
        stopped.set()
        signal.signal(number, before[number])

    for number in (int(signal.SIGINT), int(signal.SIGTERM)):
        before[number] = signal.signal(number, stop_once)
    try:
        yield stopped
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
