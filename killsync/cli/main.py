"""The `killsync` command. Each command is a few lines that call the parts; what it prints is for people.

Exit codes: 0 done; 1 the work failed (the line says why), or a check found something; 2 a setting or an argument is
missing or wrong; 130 ended by Ctrl-C.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

app = typer.Typer(
    name="killsync",
    help="Fetches EVE Online killmails for logged-in players straight from ESI.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
queue_app = typer.Typer(help="Put work into the queues.", no_args_is_help=True)
app.add_typer(queue_app, name="queue")
letters_app = typer.Typer(help="Messages that no worker could do: look, send again, drop.", no_args_is_help=True)
app.add_typer(letters_app, name="dead-letters")
console = Console(highlight=False)
problems = Console(stderr=True, highlight=False)


def stop(reason: str, code: int = 1) -> typer.Exit:
    """Print *reason* as one line on standard error; raise what this returns to end with *code*."""
    problems.print(f"killsync: {reason}", style="red", markup=False, soft_wrap=True)
    return typer.Exit(code)


@app.command()
def migrate() -> None:
    """Bring the database to the schema of this version."""
    from killsync import settings as settings_module
    from killsync.logging import setup_logging
    from killsync.startup import database_away
    from models import connect, schema
    from models.errors import is_away, is_locked

    settings = settings_module.load("database")
    setup_logging(settings)
    # Straight to PostgreSQL where a pooler stands in between: what keeps two migrations apart belongs to the connection.
    connect(settings.model_copy(update={"database_url": settings.database_listen_url or settings.database_url}))
    try:
        done = schema.migrate()
    except Exception as error:
        if is_away(error):
            raise stop(database_away(settings)) from None
        if is_locked(error):
            raise stop(
                "a table is in use and nothing was changed: run this again, or stop web, worker and scheduler first"
            ) from None
        raise
    console.print(f"Migrated: {', '.join(done)}" if done else "The schema is up to date.")


@app.command("generate-key")
def generate_key() -> None:
    """Print a new key for SECRET_KEYS."""
    from killsync.sso.vault import generate_key as make

    print(make())


@app.command("rotate-keys")
def rotate_keys() -> None:
    """Encrypt every stored token and webhook address anew with the first of SECRET_KEYS."""
    from killsync import startup
    from killsync.accounts.accounts import rotate_keys as rotate
    from killsync.sso.errors import VaultError
    from killsync.sso.vault import Vault
    from models import connection

    settings = startup.start("database", "secrets", wait=False)
    try:
        with connection():
            number = rotate(Vault(settings.secret_keys).rotate)
    except VaultError as error:
        raise stop(str(error)) from None
    console.print(f"{number} secrets now use the first of SECRET_KEYS; the other keys may be removed.")


@queue_app.command("user-killmails")
def queue_user_killmails(
    character: Annotated[list[int] | None, typer.Option(help="Only this character; may be given again.")] = None,
) -> None:
    """Queue a sync of every active user, or of the characters named."""
    from killsync import startup
    from killsync.broker.setup import make_broker

    settings = startup.start("database", "broker", wait=False)
    make_broker(settings)
    from killsync.cli.queue import queue_users

    raise typer.Exit(queue_users(settings, character or [], console, problems))


@app.command()
def sync(character_id: int) -> None:
    """Sync one character in the foreground, with a progress bar."""
    from killsync import startup

    settings = startup.start("database", "esi", "sso", "secrets", wait=False)
    from killsync.cli.sync import sync_character

    raise typer.Exit(sync_character(settings, character_id, console, problems))


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Refresh every two seconds until Ctrl-C.")] = False,
    check: Annotated[bool, typer.Option("--check", help="End with 1 when something needs a look.")] = False,
) -> None:
    """Show what needs a look, queues, users, token health, the ledger and ESI's budgets."""
    from killsync import startup
    from killsync.broker.setup import make_broker

    make_broker(startup.start("database", wait=False))
    from killsync.cli.status import show

    raise typer.Exit(show(console, as_json=as_json, watch=watch, check=check))


@app.command()
def ledger() -> None:
    """Show the ledger of killmails by state, and the one that has waited longest."""
    from killsync import startup

    startup.start("database", wait=False)
    from killsync.cli.status import show_ledger

    show_ledger(console)


QueueOption = Annotated[str | None, typer.Option("--queue", help="Only of this queue.")]
IdsArgument = Annotated[list[str] | None, typer.Argument(help="Ids as `list` shows them.")]
AllOption = Annotated[bool, typer.Option("--all", help="All of them.")]


@letters_app.command("list")
def list_dead_letters(
    queue: QueueOption = None,
    limit: Annotated[int, typer.Option(min=1, help="Most that are shown.")] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Show the messages that were parked, with the reason. Takes nothing out."""
    _dead_letters("show", queue, limit, as_json=as_json)


@letters_app.command("retry")
def retry_dead_letters(ids: IdsArgument = None, everything: AllOption = False, queue: QueueOption = None) -> None:
    """Send parked messages to their queues again."""
    _dead_letters("retry", ids or [], queue, everything=everything)


@letters_app.command("drop")
def drop_dead_letters(ids: IdsArgument = None, everything: AllOption = False, queue: QueueOption = None) -> None:
    """Delete parked messages. Killmails are not lost by that: they are in the ledger."""
    _dead_letters("drop", ids or [], queue, everything=everything)


def _dead_letters(what: str, *arguments: Any, **options: Any) -> None:
    from killsync import settings as settings_module
    from killsync.broker.setup import make_broker

    settings = settings_module.load()
    make_broker(settings)
    from killsync.cli import dead_letters

    try:
        getattr(dead_letters, what)(settings, console, *arguments, **options)
    except dead_letters.Refused as refused:
        raise stop(str(refused), refused.code) from None


@app.command()
def backup(file: Annotated[Path, typer.Argument(help="The file to write; must not exist.")]) -> None:
    """Write the database into one file, while everything runs."""
    _saving("backup", file)


@app.command()
def restore(file: Annotated[Path, typer.Argument(help="A file that `killsync backup` wrote.")]) -> None:
    """Put the database back as a backup has it. Stop web, worker and scheduler first."""
    _saving("restore", file)


def _saving(what: str, file: Path) -> None:
    from killsync import settings as settings_module
    from killsync.cli import backup as saving
    from killsync.logging import setup_logging

    settings = settings_module.load("database")
    setup_logging(settings)
    try:
        console.print(getattr(saving, what)(settings, file), markup=False, soft_wrap=True)
    except saving.Refused as refused:
        raise stop(str(refused)) from None


@app.command()
def doctor() -> None:
    """Check the configuration and every service, and say what to do."""
    from killsync.cli.doctor import examine

    raise typer.Exit(examine(console))


@app.command()
def simulator(
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1.")] = 8081,
    seed: Annotated[int, typer.Option(help="Seed of the universe.")] = 1,
) -> None:
    """Run the ESI and SSO simulator alone."""
    from killsync.cli.embedded import simulate

    simulate(port, seed)


@app.command()
def run(port: Annotated[int | None, typer.Option(help="Port of the web page; WEB_PORT or 8080.")] = None) -> None:
    """Run everything in this process against the simulator, with demo characters logged in."""
    from killsync.cli.embedded import start

    raise typer.Exit(start(console, port, ends=False))


@app.command()
def demo(port: Annotated[int | None, typer.Option(help="Port of the web page; WEB_PORT or 8080.")] = None) -> None:
    """The same as `run`, on a fresh database, ending by itself with a summary once all is synced."""
    from killsync.cli.embedded import start

    raise typer.Exit(start(console, port, ends=True))


def main() -> Any:
    """Entry point of the `killsync` script."""
    try:
        return app()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
