"""`killsync status` and `killsync ledger`: how everything stands, as tables or as JSON."""

from __future__ import annotations

import json
import time
from datetime import datetime
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

from actors.overview import gather
from models import connection, ledger
from models.base import from_any


def show(console: Console, *, as_json: bool, watch: bool) -> int:
    """Print the status once, or again and again; the exit code."""
    if as_json:
        print(json.dumps(gather(), default=_text, indent=2))
        return 0
    if not watch:
        console.print(_tables(gather()))
        return 0
    with Live(_tables(gather()), console=console, auto_refresh=False) as live:
        while True:
            time.sleep(2)
            live.update(_tables(gather()), refresh=True)


def show_ledger(console: Console) -> None:
    """Print the ledger by state, and what has waited longest."""
    with connection():
        counts, oldest = ledger.counts(), ledger.oldest_pending()
    table = _table("Ledger", "State", "Killmails")
    for state in ("pending", "fetched", "invalid"):
        table.add_row(state, str(counts.get(state, 0)))
    console.print(table)
    if oldest:
        since = from_any(oldest[1])
        reason = oldest[3] or "not yet asked for"
        line = f"Oldest pending: killmail {oldest[0]}, since {since}, {oldest[2]} attempt(s): {reason}"
        console.print(line, markup=False)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for position, column in enumerate(columns):
        table.add_column(column, justify="left" if position == 0 else "right")
    return table


def _tables(data: dict[str, Any]) -> Group:
    from rich.markup import escape

    queues = _table("Queues", "Queue", "Waiting", "Delayed", "Dead", "Consumers")
    for queue in data["queues"]:
        queues.add_row(queue["queue_name"], *(str(queue[name]) for name in
                       ("message_count", "delayed_count", "dead_count", "consumer_count")))  # fmt: skip
    if "broker" in data:
        queues.add_row(escape(data["broker"]))
    users = _table("Users", "Token health", "Users")
    for name, number in data["users"].items():
        users.add_row(name.replace("_", " "), str(number))
    users.add_row("due now", str(data["due_users"]))
    ledgers = _table("Killmails", "State", "Killmails")
    for name in ("pending", "fetched", "invalid"):
        ledgers.add_row(name, str(data["ledger"].get(name, 0)))
    budgets = _table("ESI budget", "Bucket", "Left", "Limit", "Blocked for")
    for budget in data["budgets"]:
        budgets.add_row(budget["bucket"], str(budget["left"]), str(budget["limit"]), f"{budget['blocked_seconds']} s")
    spent = _table("ESI requests", "Route", "Outcome", "Requests", "Tokens")
    for use in data["esi_spent"]:
        spent.add_row(use["route"], use["outcome"], str(use["requests"]), str(use["tokens"]))
    runs = _table("Last syncs", "Character", "Status", "Found", "Saved", "Skipped", "Errors", "Requests", "Tokens")
    for run in data["last_runs"]:
        runs.add_row(escape(run["character"]), *(str(run[name]) for name in
                     ("status", "found", "saved", "skipped", "errors", "requests", "tokens")))  # fmt: skip
    return Group(queues, users, ledgers, budgets, spent, runs)


def _text(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
