"""What `run` and `demo` print: the progress of each sync as it happens, and the demo's table at the end."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from killsync.names import wanted
from models import User, connection
from models.sql import rows
from models.sync import SyncRun

#: The demo gives up after this long, seconds.
PATIENCE = 180.0


class Story:
    """Tells of the syncs of the demo characters."""

    def __init__(self, console: Console, simulated: Any, character_ids: list[int]) -> None:
        self._console = console
        self._simulated = simulated
        self._character_ids = character_ids
        self._told: dict[int, str] = {}
        self._bars = Bars(console) if console.is_terminal else None
        self._started = time.monotonic()

    def until(self, stopped: threading.Event) -> int:
        """Tell until *stopped*."""
        self._say("The demo characters are logged in. Open the page; Ctrl-C ends it.")
        with self._bars or contextlib.nullcontext():
            while not stopped.wait(0.4):
                self._tell()
        self._say("Stopped.")
        return 0

    def until_synced(self, stopped: threading.Event) -> int:
        """Tell until every demo character is synced and named, then print the table; the exit code."""
        with self._bars or contextlib.nullcontext():
            while not self._is_done():
                if stopped.wait(0.2):
                    return 130
                if time.monotonic() - self._started > PATIENCE:
                    break
                self._tell()
            is_done = self._is_done()
            self._tell()
        if not is_done:
            self._say(f"Not synced within {PATIENCE:.0f} s.")
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

    def _tell(self) -> None:
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
            if self._told.get(run["id"]) != line:
                self._told[run["id"]] = line
                self._say(f"  {line}")

    def _is_done(self) -> bool:
        runs = self._runs()
        synced = {run["character_id"] for run in runs if run["finished_at"] is not None}
        if not set(self._character_ids) <= synced or any(run["finished_at"] is None for run in runs):
            return False
        with connection():
            return not wanted.is_unnamed()

    def _summary(self) -> int:
        from killsync.esi.client import shared
        from killsync.settings import current

        shared(current()).usage.flush()
        known = {
            number: len(
                self._simulated.call(
                    lambda sim, number=number: sim.universe.listed("character", number, sim.clock.now())
                )
            )
            for number in self._character_ids
        }
        runs = list(reversed(self._runs()))
        table = Table(title="Demo", title_justify="left")
        for column in ("Character", "Listed by ESI", "Saved", "Skipped", "Errors", "Pages", "ESI requests", "Tokens"):
            table.add_column(column, justify="left" if column == "Character" else "right")
        is_right = True
        for run in runs:
            is_right = is_right and run["saved"] + run["skipped"] == known[run["character_id"]] and not run["errors"]
            cells = (known[run["character_id"]], run["saved"], run["skipped"], run["errors"], run["pages"],
                     run["esi_requests"], run["esi_tokens"])  # fmt: skip
            table.add_row(_plain(run["character_name"]), *map(str, cells))
        with connection():
            spent = rows("SELECT coalesce(sum(requests), 0), coalesce(sum(tokens), 0) FROM esi_usage")[0]
            stored = rows("SELECT count(*) FROM killmail")[0][0]
        totals = [sum(run[name] for run in runs) for name in ("saved", "skipped", "errors", "pages")]
        table.add_section()
        table.add_row("All, with names", "", *map(str, (*totals, spent[0], spent[1])))
        self._console.print(table)
        self._say(f"{stored} killmails stored in {time.monotonic() - self._started:.1f} s.")
        if not is_right:
            self._say("The figures do not agree with the simulator's.")
        return 0 if is_right else 1


class Bars:
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

    def __enter__(self) -> Bars:
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


def _plain(name: str) -> str:
    """A player's name as text: Rich would read brackets as markup."""
    from rich.markup import escape

    return escape(name)
