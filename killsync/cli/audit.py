"""`killsync audit`: who logged in or was refused, keys, disconnects, deletions, admins' views."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from killsync import startup
from killsync.access import audit as trail
from killsync.cli.console import say, stop
from models import connection

Days = Annotated[int, typer.Option(min=1, max=trail.KEEP_DAYS, help="How far back, days.")]
Limit = Annotated[int, typer.Option(min=1, max=100_000, help="Most entries.")]
Event = Annotated[list[str] | None, typer.Option(help="Only entries of this kind, such as login; may be given again.")]
Json = Annotated[bool, typer.Option("--json", help="A JSON document a line.")]


def audit(days: Days = trail.KEEP_DAYS, limit: Limit = 100, event: Event = None, as_json: Json = False) -> None:
    """Show who logged in and what else is on record, newest first."""
    if unknown := set(event or ()) - set(trail.EVENTS):
        raise stop(f"there are no entries of the kind {min(unknown)}; there are {', '.join(trail.EVENTS)}", 2)
    startup.start("database", wait=False)
    with connection():
        found = trail.recent(limit, days=days, events=event or ())
    if not found and not as_json:
        say("Nothing is on record yet.")
    for entry in found:
        if as_json:
            say(msgspec.json.encode(entry).decode())
            continue
        who = entry.subject or "–"
        if entry.character_id is not None:
            who += f" ({entry.character_id})"
        parts = (f"{entry.at:%Y-%m-%d %H:%M:%S}", f"{entry.event:<15}", who, entry.detail, entry.address or "")
        say("  ".join(part for part in parts if part))
