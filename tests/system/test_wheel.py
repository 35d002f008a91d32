"""The wheel holds all that runs: the packages, and with them their templates, static files, schema and migrations."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support.deployment import environment
from tests.support.resources import PROJECT

PACKAGES = ("actors", "graphql_api", "killsync", "migrations", "models", "simulator")
BESIDE = ("LICENSE", "README.md", "pyproject.toml", "scheduler.py")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel of a copy of the project, so that nothing is built in the project itself."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for package in PACKAGES:
        shutil.copytree(PROJECT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    for file in BESIDE:
        shutil.copy(PROJECT / file, source)
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--no-deps", "--no-build-isolation"]
    done = subprocess.run([*command, "-w", str(target), str(source)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return zipfile.ZipFile(next(target.glob("killsync-*.whl")))


def test_it_holds_every_file_of_the_packages_and_nothing_beside_them(wheel: zipfile.ZipFile) -> None:
    held = {name for name in wheel.namelist() if ".dist-info/" not in name}
    files = (file for package in PACKAGES for file in (PROJECT / package).rglob("*"))
    expected = {str(file.relative_to(PROJECT)) for file in files if file.is_file() and "__pycache__" not in file.parts}
    assert held == expected | {"scheduler.py"}
    for name in ("graphql_api/schema.graphql", "killsync/web/templates/front.html", "killsync/web/static/killsync.css"):
        assert name in held


def test_what_it_installs_migrates_a_database_and_makes_the_web_application(
    wheel: zipfile.ZipFile, tmp_path: Path
) -> None:
    installed = tmp_path / "site-packages"
    wheel.extractall(installed)
    values = environment(
        PYTHONPATH=str(installed), DATABASE_URL=f"sqlite:///{tmp_path / 'killsync.db'}", SSO_CLIENT_ID="id",
        SSO_CLIENT_SECRET="secret", ESI_USER_AGENT="Killsync-Tests/1.0 (tests@localhost)",
    )  # fmt: skip
    code = """
import asyncio, sys
from killsync.cli.main import app
import graphql_api.app, killsync
from killsync.settings import current
app(["migrate"], standalone_mode=False)
asyncio.run(graphql_api.app.create_app(current()))
print(killsync.__file__, graphql_api.app.__file__)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=values, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "Migrated: 001_initial" in done.stdout
    assert done.stdout.count(str(installed)) == 2, done.stdout
