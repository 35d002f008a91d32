"""The file `.env`: one reading of it, whoever started the process, and the one way of writing it that all readers share.

Killsync reads the file itself, by the rules of python-dotenv without interpolation. honcho reads it before, by a shell's
rules, and hands its reading on as environment variables; what came from there is read anew. systemd and compose have rules of
their own, so what is written here, and what `doctor` asks for, is the part of all these languages that means the same in each:

- `NAME=value` of letters, digits and `_@%+:,./=?&~^*!()-`,
- `NAME='value'` of anything but a single quote and a backslash,
- `NAME="value"` of anything but a double quote, a backslash, `$` and a backtick,
- empty lines, and lines that begin with `#`.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Mapping
from pathlib import Path

from dotenv import dotenv_values
from pydantic_settings import EnvSettingsSource

#: Read from the working directory of a process.
PATH = Path(".env")

#: What needs no quotes: neither a shell, nor systemd, nor compose finds anything of its own in it.
_PLAIN = re.compile(r"[A-Za-z0-9_@%+:,./=?&~^*!()-]*")
_SINGLE = re.compile(r"'[^'\\\x00-\x1f\x7f]*'")
_DOUBLE = re.compile(r'"[^"\\$`\x00-\x1f\x7f]*"')
_LINE = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)=(?P<value>.*)")


class CannotBeWritten(ValueError):
    """No way of writing this value means the same to every reader; the text says which characters are in the way."""


class Source(EnvSettingsSource):
    """The environment, and the file where that says nothing, for pydantic-settings."""

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return {name.lower(): value for name, value in combined(text_of(PATH), os.environ).items() if value}


def text_of(path: Path) -> str:
    """What the file holds; empty when there is none.

    Raises:
        OSError: it cannot be read.
        UnicodeDecodeError: it is no text in UTF-8.
    """
    return path.read_text("utf-8-sig") if path.is_file() or path.is_fifo() else ""


def values(text: str) -> dict[str, str]:
    """The variables of a file's *text*. Nothing in a value stands for something else: `$HOME` is five characters."""
    found = dotenv_values(stream=io.StringIO(text), interpolate=False)
    return {name: value for name, value in found.items() if value is not None}


def combined(text: str, environment: Mapping[str, str]) -> dict[str, str]:
    """The variables of a process: those of *environment*, and those of a file's *text* that it does not have.

    What honcho made of a line of the file is not what the line says: there the file counts.
    """
    of_file = values(text)
    by_shell = _as_honcho_reads(text) if any(name in environment for name in of_file) else {}
    ours = {name for name, value in of_file.items() if environment.get(name) in (None, by_shell.get(name, value))}
    return {**environment, **{name: of_file[name] for name in ours}}


def _as_honcho_reads(text: str) -> dict[str, str]:
    from honcho.environ import parse

    try:
        read: dict[str, str] = parse(text)
    except ValueError:  # a quote that no other one closes: honcho does not start then
        return {}
    return read


def differing(text: str) -> list[tuple[int, str]]:
    """Lines that not every reader reads alike: the number of each, from 1, and the variable's name, empty where none is seen."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        parts = _LINE.fullmatch(line.rstrip())
        if parts is None:
            named = re.match(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=", line)
            found.append((number, named[1] if named else ""))
        elif not any(form.fullmatch(parts["value"]) for form in (_PLAIN, _SINGLE, _DOUBLE)):
            found.append((number, parts["name"]))
    return found


def written(value: str) -> str:
    """*value* as it stands behind `NAME=`.

    Raises:
        CannotBeWritten: no way of writing it means the same to every reader.
    """
    for form, candidate in ((_PLAIN, value), (_SINGLE, f"'{value}'"), (_DOUBLE, f'"{value}"')):
        if form.fullmatch(candidate):
            return candidate
    raise CannotBeWritten("it may hold no backslash or line break, and no ' together with \", $ or `")
