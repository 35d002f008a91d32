"""`killsync static-data update|status`: CCP's static data, from its newest build or from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TransferSpeedColumn

from killsync import http_session, startup
from killsync.cli.console import console, errors, say, stop
from killsync.killmails import reclassification
from killsync.static_data import download, store
from killsync.static_data.update import UpdateFailed
from killsync.static_data.update import update as load
from models import connection


def update(
    file: Annotated[
        Path | None, typer.Option(help="Load this archive (eve-online-static-data-BUILD-jsonl.zip), without a network.")
    ] = None,
) -> None:
    """Load the newest build of CCP's static data, or the archive FILE; workers may run meanwhile."""
    settings = startup.start("database", wait=False)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    try:
        with Progress(*columns, console=console, transient=True) as progress:
            task = progress.add_task("Static data", total=None)
            outcome = load(settings, file, lambda there, total: progress.update(task, completed=there, total=total))
    except UpdateFailed as error:
        raise stop(str(error)) from None
    finally:
        http_session.close()
    if outcome.was_loaded:
        console.print(f"Build {outcome.build.number} is the newest and is loaded.")
    else:
        console.print(f"Build {outcome.build.number} loaded: {outcome.changed:,} rows changed.")
    _classify()


def classify() -> None:
    """Classify the killmails that were stored before the static data was, or of which it says something new.

    Workers do the same by themselves, a little at a time. It may be ended and begun again, and workers may run meanwhile.
    """
    startup.start("database", wait=False)
    if not _classify():
        say("Every killmail is classified.")


def _classify() -> int:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("Killmails classified", total=None)
        done = reclassification.classify_all(lambda done, total: progress.update(task, completed=done, total=total))
    if done:
        console.print(f"{done:,} killmails classified.")
    return done


def status() -> None:
    """Show which build is loaded, and whether a newer one is out."""
    settings = startup.start("database", wait=False)
    try:
        newest = http_session.run(download.newest(settings))
        with connection():
            store.record_newest(newest.number)
    except download.DownloadFailed as error:
        errors.print(f"The newest build is not known: {error}", style="yellow", markup=False, soft_wrap=True)
    finally:
        http_session.close()
    with connection():
        found = store.status()
    if found.build is None:
        say("No static data is loaded: run `killsync static-data update`.")
    else:
        console.print(
            f"Build {found.build.number} is loaded, since {found.loaded_at:%Y-%m-%d %H:%M} UTC.", markup=False
        )
    if found.newest is not None and (found.build is None or found.build.number < found.newest):
        console.print(f"Build {found.newest} is out: run `killsync static-data update`.", markup=False)
