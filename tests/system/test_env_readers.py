"""The lines that `killsync init` writes, through each of the programs that read `.env`."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from killsync import env_file
from tests.support.deployment import BIN, environment

VALUES = [
    "Killsync/1.0 (you@example.org)", "a # b", "a#b", "$HOME and $(id)", "`id`", 'say "so"', "it's so", " around ", "a;b&c|d",
    "~/x*?[a]", "%n %% !", "postgresql://u:p%40w@127.0.0.1:5432/killsync?sslmode=require", "a, b,c", "{a} <b>", "=", "x=y",
]  # fmt: skip
NAMES = [f"VALUE_{number}" for number in range(len(VALUES))]
EXPECTED = dict(zip(NAMES, VALUES, strict=True))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    lines = [f"{name}={env_file.written(value)}" for name, value in EXPECTED.items()]
    (tmp_path / ".env").write_text("# a remark, isn't it\n\n" + "\n".join(lines) + "\n")
    assert env_file.differing((tmp_path / ".env").read_text()) == []
    return tmp_path


def test_killsync_reads_them(folder: Path) -> None:
    assert env_file.combined((folder / ".env").read_text(), {}) == EXPECTED


def test_honcho_hands_them_on(folder: Path) -> None:
    code = "import json, os, pathlib; pathlib.Path('seen').write_text(json.dumps(dict(os.environ)))"
    (folder / "print.py").write_text(code)
    (folder / "Procfile").write_text(f"print: {sys.executable} print.py\n")
    subprocess.run([str(BIN / "honcho"), "start"], cwd=folder, env=environment(), capture_output=True, timeout=60)
    seen = json.loads((folder / "seen").read_text())
    assert {name: seen.get(name) for name in NAMES} == EXPECTED


@pytest.mark.skipif(shutil.which("systemd-tmpfiles") is None, reason="systemd is not installed")
def test_systemd_reads_them(folder: Path) -> None:
    """By its parser of such files, which `EnvironmentFile=` and os-release share; this command shows what it read."""
    root, rule = folder / "root", folder / "rule.conf"
    (root / "etc").mkdir(parents=True)
    rule.write_text("f+ /seen - - - - %B\n")
    for name, line in zip(NAMES, (folder / ".env").read_text().splitlines()[2:], strict=True):
        (root / "etc" / "os-release").write_text(line.replace(f"{name}=", "BUILD_ID=", 1) + "\n")
        subprocess.run(["systemd-tmpfiles", f"--root={root}", "--create", str(rule)], check=True, timeout=30)
        assert (root / "seen").read_text() == EXPECTED[name]


def compose() -> list[str] | None:
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]) and not subprocess.run([*command, "version"], capture_output=True).returncode:
            return command
    return None


def test_compose_reads_them(folder: Path) -> None:
    command = compose()
    if command is None:
        pytest.skip("docker compose is not installed")
    variables = {name: f"${{{name}:-}}" for name in NAMES}
    document = {"services": {"web": {"image": "x", "environment": variables}}}
    (folder / "compose.yaml").write_text(yaml.safe_dump(document))
    done = subprocess.run(
        [*command, "--file", "compose.yaml", "config"],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    seen = yaml.safe_load(done.stdout)["services"]["web"]["environment"]
    # `config` writes a dollar sign so that it can be read again.
    assert {name: str(value).replace("$$", "$") for name, value in seen.items()} == EXPECTED
