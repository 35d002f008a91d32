"""Which Killsync this is."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of


def version() -> str:
    """The version that is installed, such as `1.1.0`."""
    try:
        return version_of("killsync")
    except PackageNotFoundError:
        return "(not installed)"


def is_told(arguments: Sequence[str]) -> bool:
    """Print the version where *arguments*, those of a command line without its name, ask for it; whether they did."""
    asked = any(word in ("--version", "-V") for word in arguments)
    if asked:
        print(f"killsync {version()}")
    return asked
