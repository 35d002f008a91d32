"""`killsync ledger`: the ledger of killmails by state, and what has waited longest."""

from __future__ import annotations

from killsync import startup
from killsync.cli.console import console
from killsync.cli.tables import new_table
from killsync.killmails import ledger_figures
from models import connection


def ledger() -> None:
    """Show the ledger of killmails by state, and the one that has waited longest."""
    startup.start("database", wait=False)
    with connection():
        counts, oldest = ledger_figures.counts(), ledger_figures.oldest_pending()
    table = new_table("Ledger", "State", "Killmails")
    for state in ("pending", "fetched", "invalid"):
        table.add_row(state, str(counts.get(state, 0)))
    console.print(table)
    if oldest:
        reason = oldest.last_error or "not yet asked for"
        line = (
            f"Oldest pending: killmail {oldest.killmail_id}, since {oldest.discovered_at}, "
            f"{oldest.attempts} attempt(s): {reason}"
        )
        console.print(line, markup=False)
