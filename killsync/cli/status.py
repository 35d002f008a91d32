"""`killsync status`: how everything stands, as tables or as JSON."""

from __future__ import annotations

import contextlib
import json
import time
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from killsync import startup
from killsync.broker.setup import make_broker
from killsync.cli.console import console
from killsync.cli.tables import new_table
from killsync.hints import runnable
from killsync.observability.overview import gather

#: Seconds between two looks of `--watch`.
EVERY_SECONDS = 2.0


def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Refresh every two seconds until Ctrl-C.")] = False,
    check: Annotated[bool, typer.Option("--check", help="End with 1 when something needs a look.")] = False,
) -> None:
    """Show what needs a look, queues, users, token health, the ledger and ESI's budgets."""
    make_broker(startup.start("database", wait=False))
    data = gather().as_dict()
    if watch:
        with contextlib.suppress(KeyboardInterrupt):
            _watch(data, as_json=as_json)
        return
    _print(data, as_json=as_json)
    if check and data["problems"]:
        raise typer.Exit(1)


def _watch(data: dict[str, Any], *, as_json: bool) -> None:
    """Show it anew until Ctrl-C: in place on a terminal, one after the other elsewhere; as JSON a document a line."""
    if as_json or not console.is_terminal:
        while True:
            if as_json:
                print(json.dumps(data, default=_text), flush=True)
            else:
                _print(data, as_json=False)
            time.sleep(EVERY_SECONDS)
            data = gather(exact=False).as_dict()
    with Live(_fitted(data), console=console, auto_refresh=False, screen=True) as live:
        live.refresh()
        while True:
            time.sleep(EVERY_SECONDS)
            live.update(_fitted(gather(exact=False).as_dict()), refresh=True)


def _fitted(data: dict[str, Any]) -> Group:
    """As much as the window has room for, whole parts alone, the most important first; the last line names what is left out."""
    room = console.height - 1
    shown: list[RenderableType] = []
    left_out: list[str] = []
    for name, part in _parts(data):
        lines = len(console.render_lines(part, console.options.update(height=None)))
        if lines <= room and (name == "verdict" or not left_out or lines <= 8):
            shown.append(part)
            room -= lines
        else:
            left_out.append(name)
    if left_out:
        shown.append(Text(f"Not shown, for want of room: {', '.join(left_out)}.", style="dim", no_wrap=True))
    return Group(*shown)


def _print(data: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(data, default=_text, indent=2))
    else:
        console.print(screen(data))


def screen(data: dict[str, Any]) -> Group:
    """Everything, what needs a look first."""
    return Group(*(part for _, part in _parts(data)))


def _parts(data: dict[str, Any]) -> list[tuple[str, RenderableType]]:
    """The parts by name, the most important first."""
    rates = data["rates"]
    users = new_table("Users", "Token health", "Users")
    for name, number in data["users"].items():
        users.add_row(name.replace("_", " "), str(number))
    users.add_row("due now", str(data["due_users"]))
    users.add_row("late", _bad(data["late_users"]))
    ledgers = new_table("Killmails", "State", "Killmails")
    for name in ("pending", "fetched", "invalid"):
        ledgers.add_row(name, str(data["ledger"].get(name, 0)))
    ledgers.add_row("a minute", str(rates["killmails_per_minute"]))
    hooks = new_table("Webhooks", "State", "Number")
    for name in ("active", "failing", "paused", "disabled", "waiting"):
        hooks.add_row(
            name, _bad(data["webhooks"][name]) if name in ("failing", "disabled") else str(data["webhooks"][name])
        )
    parts: list[tuple[str, RenderableType]] = [
        ("verdict", Group(*_verdict(data))),
        ("queues", _spaced(_queues(data))),
        ("users, killmails, webhooks", _spaced(Columns([users, ledgers, hooks], padding=(0, 4)))),
        ("last syncs", _spaced(_last(data))),
        ("ESI budget", _spaced(_budget(data))),
        ("last hour", _spaced(_errors(rates))),
        ("ESI requests", _spaced(_asked(data))),
    ]
    if data["corporations"]:
        parts.insert(5, ("corporation lists", _spaced(_corporations(data))))
    return parts


def _spaced(part: RenderableType) -> RenderableType:
    return Padding(part, (0, 0, 1, 0))


def _corporations(data: dict[str, Any]) -> Table:
    lists = new_table("Corporation lists", "Corporation", "Read by", "Members", "Last read")
    for feed in data["corporations"]:
        name = feed["corporation"] or str(feed["corporation_id"])
        reader = feed["director"] or "nobody: no Director among the users"
        read = feed["last_sync_at"]
        lists.add_row(escape(name), escape(reader), str(feed["members"]), f"{read:%Y-%m-%d %H:%M}" if read else "never")
    return lists


def _verdict(data: dict[str, Any]) -> list[Text]:
    problems = data["problems"]
    if not problems:
        return [Text("✓ All well", style="bold green"), Text()]
    lines = []
    for problem in problems:
        line = Text(f"✗ {problem['text']} ", style="bold red" if problem["severity"] == "bad" else "bold yellow")
        lines.append(line.append(runnable(problem["what_to_do"]), style="not bold default"))
    return [*lines, Text()]


def _queues(data: dict[str, Any]) -> Table:
    queues = new_table("Queues", "Queue", "Waiting", "Delayed", "Dead", "Consumers")
    if data["broker_in_memory"]:
        queues.add_row("in the memory of the process that runs")
        return queues
    for queue in data["queues"]:
        queues.add_row(queue["queue_name"], str(queue["message_count"]), str(queue["delayed_count"]),
                       _bad(queue["dead_count"]), str(queue["consumer_count"]))  # fmt: skip
    return queues


def _budget(data: dict[str, Any]) -> Table:
    budgets = new_table("ESI budget", "Bucket", "Spent", "Left", "Limit", "Blocked for")
    for budget in data["budgets"]:
        cells = (str(budget[name]) for name in ("used", "left", "limit"))
        budgets.add_row(budget["bucket"], *cells, _bad(budget["blocked_seconds"], " s"))
    characters = data["character_budgets"]
    if characters["known"]:
        budgets.add_row(f"{characters['known']} characters", "", f"least {characters['least_left']}", "",
                        _bad(characters["blocked"], " blocked"))  # fmt: skip
    return budgets


def _asked(data: dict[str, Any]) -> Table:
    spent = new_table("ESI requests", "Route", "Outcome", "Requests", "Tokens")
    for use in data["esi_spent"]:
        spent.add_row(use["route"], use["outcome"], str(use["requests"]), str(use["tokens"]))
    return spent


def _errors(rates: dict[str, Any]) -> Table:
    hour = new_table("Last hour", "", "")
    hour.show_header = False
    share = rates["unchanged_share"]
    for text, value in (
        ("requests a minute", rates["requests_per_minute"]), ("tokens a minute", rates["tokens_per_minute"]),
        ("polls without news", "-" if share is None else f"{100 * share:.0f} %"),
    ):  # fmt: skip
        hour.add_row(text, str(value))
    for kind, number in rates["errors_last_hour"].items():
        hour.add_row("no answer" if kind == "error" else kind, _bad(number))
    return hour


def _last(data: dict[str, Any]) -> Table:
    runs = new_table(
        "Last syncs", "Character", "Status", "Found", "Saved", "Skipped", "Errors", "Requests", "Tokens", "Why"
    )
    for run in data["last_runs"][:8]:
        cells = (str(run[name]) for name in ("status", "found", "saved", "skipped", "errors", "requests", "tokens"))
        runs.add_row(escape(run["character"]), *cells, escape(run["error"] or ""))
    return runs


def _bad(number: int, unit: str = "") -> str:
    return f"[red]{number}{unit}[/red]" if number else f"{number}{unit}"


def _text(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
