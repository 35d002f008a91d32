"""Settings that are lists: how each is written in the environment. Pure; each raises ValueError with what to write instead."""

from __future__ import annotations

import re
from ipaddress import ip_network
from typing import Any


def split(value: Any) -> Any:
    """The parts of a text with commas; what is no text stays."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def ids(value: Any) -> Any:
    """Whole numbers with commas."""
    return frozenset(int(part) for part in split(value)) if isinstance(value, str) else value


def fernet_keys(value: tuple[str, ...]) -> tuple[str, ...]:
    """Keys as `killsync generate-key` prints them. The text of an error names the position, never the key."""
    for position, key in enumerate(value, 1):
        if not re.fullmatch(r"[A-Za-z0-9_-]{43}=", key):
            raise ValueError(f"key {position} is not a Fernet key; `killsync generate-key` prints one")
    return value


def networks(value: tuple[str, ...]) -> tuple[str, ...]:
    """Addresses and networks."""
    for entry in value:
        ip_network(entry, strict=False)
    return value


def members(value: tuple[str, ...]) -> tuple[str, ...]:
    """Corporations, alliances and characters: `corporation:98000001`."""
    entries = tuple(dict.fromkeys("".join(entry.split()).lower() for entry in value))
    for entry in entries:
        if not re.fullmatch(r"(corporation|alliance|character):[1-9][0-9]{0,17}", entry, re.ASCII):
            raise ValueError("write corporation:ID, alliance:ID or character:ID, comma separated, with ids of EVE")
    return entries
