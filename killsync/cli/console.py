"""Where the commands print: what they found on standard output, why they failed on standard error."""

from __future__ import annotations

import typer
from rich.console import Console

console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)


def say(text: str = "") -> None:
    """Print a line as it is: no markup, and not broken at the width of the terminal."""
    console.print(text, markup=False, soft_wrap=True)


def complain(reason: str) -> None:
    """Print one line on standard error."""
    errors.print(f"killsync: {reason}", markup=False, soft_wrap=True)


def stop(reason: str, code: int = 1) -> typer.Exit:
    """Print *reason* as one line on standard error; raise what this returns to end with *code*."""
    errors.print(f"killsync: {reason}", style="red", markup=False, soft_wrap=True)
    return typer.Exit(code)
