"""The `killsync` command: puts the commands together, each from its own module. It does no work itself.

Exit codes: 0 done; 1 the work failed (the line says why), or a check found something; 2 a setting or an argument is
missing or wrong; 130 ended by Ctrl-C.
"""

from __future__ import annotations

import sys
from typing import Any

import typer

from killsync.cli import (
    backup,
    dead_letters,
    doctor,
    embedded,
    keys,
    ledger,
    migrate,
    queue,
    simulator,
    static_data,
    status,
    sync,
)

app = typer.Typer(
    name="killsync",
    help="Fetches EVE Online killmails for logged-in players straight from ESI.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
queue_app = typer.Typer(help="Put work into the queues.", no_args_is_help=True)
static_data_app = typer.Typer(
    help="CCP's static data: names, ship classes, regions, security, gates.", no_args_is_help=True
)
letters_app = typer.Typer(help="Messages that no worker could do: look, send again, drop.", no_args_is_help=True)

app.command("migrate")(migrate.migrate)
app.command("generate-key")(keys.generate_key)
app.command("rotate-keys")(keys.rotate_keys)
app.command("sync")(sync.sync)
app.command("status")(status.status)
app.command("ledger")(ledger.ledger)
app.command("backup")(backup.backup)
app.command("restore")(backup.restore)
app.command("doctor")(doctor.doctor)
app.command("simulator")(simulator.simulator)
app.command("run")(embedded.run)
app.command("demo")(embedded.demo)
app.add_typer(queue_app, name="queue")
queue_app.command("user-killmails")(queue.user_killmails)
app.add_typer(letters_app, name="dead-letters")
letters_app.command("list")(dead_letters.list_dead_letters)
letters_app.command("retry")(dead_letters.retry_dead_letters)
letters_app.command("drop")(dead_letters.drop_dead_letters)
app.add_typer(static_data_app, name="static-data")
static_data_app.command("update")(static_data.update)
static_data_app.command("status")(static_data.status)


def main() -> Any:
    """Entry point of the `killsync` script."""
    try:
        return app()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
