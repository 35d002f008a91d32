"""Copies Tartiflette's wheel for `make wheel`, so that pip can install it beside current cryptography.

Tartiflette asks for cffi below 2, cryptography for cffi 2; Tartiflette runs well on cffi 2, but pip finds no way between them.
The copy says so in its metadata and has a local version, so that it is told from the original.

usage: parser_wheel.py SOURCE_FOLDER TARGET_FOLDER
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

LOCAL = "+killsync"


def main(source: Path, target: Path) -> None:
    """Write the copy of the one wheel of *source* into *target*."""
    original = next(source.glob("tartiflette-*.whl"))
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(original) as packed:
            packed.extractall(folder)
        information = next(Path(folder).glob("tartiflette-*.dist-info"))
        text = (information / "METADATA").read_text()
        version = re.search(r"^Version: (\S+)$", text, re.MULTILINE)[1]  # type: ignore[index]
        text = text.replace(f"\nVersion: {version}\n", f"\nVersion: {version}{LOCAL}\n", 1)
        text = re.sub(r"^(Requires-Dist: cffi)\b.*$", r"\1 >=1.0", text, flags=re.MULTILINE)
        (information / "METADATA").write_text(text)
        information.rename(information.with_name(f"tartiflette-{version}{LOCAL}.dist-info"))
        command = [sys.executable, "-m", "wheel", "pack", folder, "--dest-dir", str(target)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
