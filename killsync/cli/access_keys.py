"""`killsync keys`: access keys of programs, made, listed and revoked by whoever runs the server."""

from __future__ import annotations

from typing import Annotated

import typer

from killsync import startup
from killsync.access import keys
from killsync.access.keys import BadKey
from killsync.cli.console import console, errors, say, stop
from killsync.cli.tables import new_table
from models import User, connection
from models.access import KILLMAILS, RUNS

Name = Annotated[str, typer.Argument(help="What the key is for, such as the name of the program.")]
Character = Annotated[
    int | None, typer.Option(help="A character whose account owns the key; without it the key is the operator's.")
]
Runs = Annotated[bool, typer.Option("--runs", help="The key reads its owner's syncs too, not killmails alone.")]
Which = Annotated[str, typer.Argument(help="Its number, its name, or the key itself.")]


def create(name: Name, character: Character = None, runs: Runs = False) -> None:
    """Make a key and print it, this once."""
    startup.start("database", wait=False)
    with connection():
        owner = None if character is None else User.get_or_none(User.character_id == character)
        if character is not None and (owner is None or owner.account_id is None):
            raise stop(f"no character {character} has logged in here", 2)
        try:
            made = keys.create(
                owner.account_id if owner else None, name, RUNS if runs else KILLMAILS,
                owner=owner.character_name if owner else "the operator", character_id=character,
            )  # fmt: skip
        except BadKey as error:
            raise stop(str(error), 2) from None
    # The key alone goes to standard output, for who keeps it in a file.
    errors.print("The key is shown this once. Programs send it as Authorization: Bearer KEY.")
    say(made)


def list_keys() -> None:
    """Show who has keys, and when each was last used."""
    startup.start("database", wait=False)
    with connection():
        found = keys.all_listed()
    table = new_table("Access keys", "Name", "No.", "Whose", "Reads", "Made", "Last used")
    for key in found:
        used = f"{key.last_used_at:%Y-%m-%d %H:%M}" if key.last_used_at else "never"
        table.add_row(key.name, str(key.id), key.owner, key.scope, f"{key.created_at:%Y-%m-%d}", used)
    console.print(table)


def revoke(key: Which) -> None:
    """End a key at once."""
    startup.start("database", wait=False)
    with connection():
        found = keys.find(key)
        if not found:
            raise stop("there is no such key: `killsync keys list` shows them", 2)
        if len(found) > 1:
            raise stop(
                f"{len(found)} keys have that name: say which by its number ({', '.join(str(k.id) for k in found)})", 2
            )
        keys.revoke(found[0].id)
    say(f"Revoked: {found[0].name} (of {found[0].owner})")
