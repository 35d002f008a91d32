"""The `killsync` command: puts the commands together, each from its own module. It does no work itself.

Exit codes: 0 done; 1 the work failed (the line says why), or a check found something; 2 a setting or an argument is
missing or wrong; 130 ended by Ctrl-C.
"""

from __future__ import annotations

import os
import sys
import traceback
from typing import Annotated, Any, NoReturn

import peewee
import psycopg2
import typer
from dramatiq.errors import BrokerConnectionError

from killsync import settings as settings_module
from killsync import startup
from killsync.broker.connection import BrokerAway
from killsync.cli import (
    access_keys,
    audit,
    backup,
    bulk,
    dead_letters,
    doctor,
    embedded,
    init,
    keys,
    ledger,
    migrate,
    queue,
    simulator,
    static_data,
    status,
    sync,
    upgrade,
    values,
)
from killsync.cli.console import complain
from killsync.logging import redact
from killsync.version import version
from models.errors import DatabaseAway, is_away

app = typer.Typer(
    name="killsync",
    help="Fetches EVE Online killmails for logged-in players straight from ESI.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    # Rich's frames break lines in mid-word at 80 columns.
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
queue_app = typer.Typer(help="Put work into the queues.", no_args_is_help=True)
static_data_app = typer.Typer(
    help="CCP's static data: names, ship classes, regions, security, gates.", no_args_is_help=True
)
values_app = typer.Typer(help="What killmails were worth.", no_args_is_help=True)
keys_app = typer.Typer(help="Access keys of programs.", no_args_is_help=True)
letters_app = typer.Typer(help="Messages that no worker could do: look, send again, drop.", no_args_is_help=True)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"killsync {version()}")
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool, typer.Option("--version", "-V", help="Show the version and end.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Fetches EVE Online killmails for logged-in players straight from ESI."""


app.command("init")(init.init)
app.command("upgrade")(upgrade.upgrade)
app.command("migrate")(migrate.migrate)
app.command("generate-key")(keys.generate_key)
app.command("rotate-keys")(keys.rotate_keys)
app.add_typer(keys_app, name="keys")
keys_app.command("create")(access_keys.create)
keys_app.command("list")(access_keys.list_keys)
keys_app.command("revoke")(access_keys.revoke)
app.command("audit")(audit.audit)
app.command("sync")(sync.sync)
app.command("status")(status.status)
app.command("ledger")(ledger.ledger)
app.command("backup")(backup.backup)
app.command("restore")(backup.restore)
app.command("import")(bulk.import_killmails)
app.command("export")(bulk.export_killmails)
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
app.add_typer(values_app, name="values")
values_app.command("recompute")(values.recompute)
static_data_app.command("update")(static_data.update)
static_data_app.command("status")(static_data.status)
static_data_app.command("classify")(static_data.classify)


def main() -> Any:
    """Entry point of the `killsync` script."""
    try:
        return app()
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # Whoever read our output has seen enough, such as `head`; nothing may be written at the end either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        _end(error)


def _end(error: Exception) -> NoReturn:
    """End the command for an error that it did not expect: with one line, and the traceback for who asked for details."""
    if os.environ.get("LOG_LEVEL", "").upper() == "DEBUG":
        traceback.print_exception(error)
    settings = settings_module.current()
    if isinstance(error, peewee.PeeweeException | psycopg2.Error | DatabaseAway) and is_away(error):
        complain(startup.database_away(settings))
    elif isinstance(error, BrokerAway | BrokerConnectionError):
        complain(startup.broker_away(settings, error))
    elif isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        complain(f"{where}{error.strerror or redact(str(error))}")
    else:
        complain(f"this should not happen: {type(error).__name__}: {redact(str(error))} (LOG_LEVEL=DEBUG shows where)")
    sys.exit(1)


if __name__ == "__main__":
    main()
