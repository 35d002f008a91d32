"""Commands in messages, written so that they can be pasted: with their path where the shell does not find them."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

_COMMAND = re.compile(r"`(killsync|dramatiq|honcho)\b")


def runnable(text: str) -> str:
    """*text* with our commands as this shell finds them: `.venv/bin/killsync` where `killsync` is not on PATH."""
    return _COMMAND.sub(lambda found: f"`{_path_of(found[1])}", text)


def _path_of(command: str) -> str:
    if shutil.which(command):
        return command
    beside = Path(sys.executable).parent / command
    if not beside.exists():
        return command
    try:
        return str(beside.relative_to(Path.cwd()))
    except ValueError:
        return str(beside)
