"""What `run` and `demo` print: the progress of each sync as it happens, and the demo's table at the end."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Any

from peewee import fn
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from killsync.esi.client import shared
from killsync.names import wanted
from killsync.settings import current
from models import EsiUsage, Killmail, User, connection
from models.sync import SyncRun

#: The demo gives up after this long, seconds.
GIVE_UP_SECONDS = 180.0


class DemoProgress:
    """Prints how the syncs of the demo characters go on."""

    def __init__(self, console: Console, simulated: Any, character_ids: list[int]) -> None:
        self._console = console
        self._simulated = simulated
        self._character_ids = character_ids
        self._printed: dict[int, str] = {}
        self._bars = SyncBars(console) if console.is_terminal else None
        self._started = time.monotonic()

    def until(self, stopped: threading.Event) -> int:
        """Print progress until *stopped* is set; the exit code."""
        self._say("The demo characters are logged in. Open the page; Ctrl-C ends it.")
        with self._bars or contextlib.nullcontext():
            while not stopped.wait(0.4):
                self._print_runs()
        self._say("Stopped.")
        return 0

    def until_synced(self, stopped: threading.Event) -> int:
        """Print progress until every demo character is synced and named, then the table; the exit code."""
        with self._bars or contextlib.nullcontext():
            while not self._is_done():
                if stopped.wait(0.2):
                    return 130
                if time.monotonic() - self._started > GIVE_UP_SECONDS:
                    break
                self._print_runs()
            is_done = self._is_done()
            self._print_runs()
        if not is_done:
            self._say(f"Not synced within {GIVE_UP_SECONDS:.0f} s.")
        code = self._summary()
        return code if is_done else 1

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False, soft_wrap=True)

    def _runs(self) -> list[dict[str, Any]]:
        with connection():
            found: Any = (
                SyncRun.select(SyncRun, User.character_name, User.character_id)
                .join(User, on=(User.id == SyncRun.user_id))
                .order_by(SyncRun.id.desc())
                .limit(50)
                .dicts()
            )
            return list(found)

    def _print_runs(self) -> None:
        for run in reversed(self._runs()):
            if self._bars is not None:
                self._bars.show(run)
                continue
            done = run["saved"] + run["skipped"] + run["errors"]
            line = f"{run['character_name']}: {run['status']}, {run['pages']} page(s), {done}/{run['found']} killmails"
            if run["error"]:
                line += f" ({run['error']})"
            if run["finished_at"] is not None and run["found"] == 0:
                line = f"{run['character_name']}: nothing new"
            if self._printed.get(run["id"]) != line:
                self._printed[run["id"]] = line
                self._say(f"  {line}")

    def _is_done(self) -> bool:
        runs = self._runs()
        synced = {run["character_id"] for run in runs if run["finished_at"] is not None}
        if not set(self._character_ids) <= synced or any(run["finished_at"] is None for run in runs):
            return False
        with connection():
            return not wanted.is_unnamed()

    def _summary(self) -> int:
        """Print the table of the demo; 0 when its figures agree with what the simulator lists, else 1."""
        shared(current()).usage.flush()
        listed = {number: self._listed(number) for number in self._character_ids}
        runs = list(reversed(self._runs()))
        table = Table(title="Demo", title_justify="left")
        for column in ("Character", "Listed by ESI", "Saved", "Skipped", "Errors", "Pages", "ESI requests", "Tokens"):
            table.add_column(column, justify="left" if column == "Character" else "right")
        for run in runs:
            figures = (run[name] for name in ("saved", "skipped", "errors", "pages", "esi_requests", "esi_tokens"))
            table.add_row(escape(run["character_name"]), str(listed[run["character_id"]]), *map(str, figures))
        with connection():
            spent = EsiUsage.select(
                _sum(EsiUsage.requests).alias("requests"), _sum(EsiUsage.tokens).alias("tokens")
            ).get()
            stored = Killmail.select().count()
        totals = [sum(run[name] for run in runs) for name in ("saved", "skipped", "errors", "pages")]
        table.add_section()
        table.add_row("All, with names", "", *map(str, (*totals, spent.requests, spent.tokens)))
        self._console.print(table)
        self._say(f"{stored} killmails stored in {time.monotonic() - self._started:.1f} s.")
        is_right = all(
            run["saved"] + run["skipped"] == listed[run["character_id"]] and not run["errors"] for run in runs
        )
        if not is_right:
            self._say("The figures do not agree with the simulator's.")
        return 0 if is_right else 1

    def _listed(self, character_id: int) -> int:
        """How many killmails the simulator's ESI lists for a character."""
        found = self._simulated.call(lambda sim: sim.universe.listed("character", character_id, sim.clock.now()))
        return len(found)


def _sum(column: Any) -> Any:
    return fn.COALESCE(fn.SUM(column), 0)


class SyncBars:
    """A bar for each sync, on a terminal: those that are under way below, those that ended as lines above."""

    def __init__(self, console: Console) -> None:
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        self._progress = Progress(*columns, console=console)
        self._tasks: dict[int, TaskID] = {}
        self._ended: set[int] = set()

    def __enter__(self) -> SyncBars:
        self._progress.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._progress.stop()

    def show(self, run: dict[str, Any]) -> None:
        """Show how one sync run stands."""
        if run["id"] in self._ended:
            return
        name = run["character_name"]
        if run["finished_at"] is not None:
            self._ended.add(run["id"])
            if run["id"] in self._tasks:
                self._progress.remove_task(self._tasks.pop(run["id"]))
            if run["found"] or run["error"]:
                line = (
                    f"{name}: {run['status']}, {run['saved']} saved, {run['skipped']} skipped, {run['errors']} errors"
                )
                self._progress.console.print(f"{line} ({run['error']})" if run["error"] else line, markup=False)
            return
        if run["id"] not in self._tasks:
            self._tasks[run["id"]] = self._progress.add_task(name, total=None)
        waits = f" ({run['error']})" if run["error"] else ""
        done = run["saved"] + run["skipped"] + run["errors"]
        self._progress.update(
            self._tasks[run["id"]], total=run["found"] or None, completed=done, description=f"{name}{waits}"
        )
