"""The documented ways to production: the README's commands from the clone to a killmail, and the units for systemd."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import socket
import subprocess
import tomllib
import urllib.request
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from killsync import env_file
from killsync.settings import Settings
from tests.conftest import Simulated
from tests.support.deployment import BIN, CLIENT, environment, wait_until
from tests.support.player import Player
from tests.support.resources import PROJECT, free_port, postgres_database, rabbitmq_vhost

README = (PROJECT / "README.md").read_text()
UNITS = PROJECT / "docs" / "deploy"
verifies = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")


def commands(text: str, begins_with: str) -> list[str]:
    """The commands of the block of *text* in which one begins with *begins_with*, without their remarks."""
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    (block,) = [block for block in blocks if re.search(rf"^{re.escape(begins_with)}", block, re.MULTILINE)]
    return [re.sub(r"\s+# .*", "", line) for line in block.splitlines() if line and not line.startswith("#")]


def clone(source: Path, target: Path) -> None:
    """A checkout as `git clone` makes it, which counts as installed: by what is installed here."""
    listed = subprocess.run(
        ["git", "-C", str(source), "ls-files", "-co", "--exclude-standard"], capture_output=True, text=True, check=True
    )
    for name in listed.stdout.splitlines():
        if (source / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source / name, target / name)
    for mark in (target / ".venv" / "installed", target / "build" / "tools" / "installed"):
        mark.parent.mkdir(parents=True)
        mark.touch()
    for part in BIN.parent.iterdir():
        if part.name != "installed":
            (target / ".venv" / part.name).symlink_to(part)


@pytest.mark.skipif(shutil.which("git") is None or not (PROJECT / ".git").exists(), reason="this is no checkout")
def test_the_commands_of_the_readme_lead_from_the_clone_to_a_killmail(simulated: Simulated, tmp_path: Path) -> None:
    handle = simulated(kills=(5,))
    pilot = handle.simulator.universe.demo_characters[0].character_id
    port, checkout = free_port(), tmp_path / "killsync"
    cloned, install, init, doctor, start = commands(README, "make install")
    assert cloned.startswith("git clone ") and cloned.endswith(" killsync && cd killsync")
    clone(PROJECT, checkout)
    with postgres_database() as database, rabbitmq_vhost() as broker:
        url = f"http://127.0.0.1:{port}"
        # What a person would type, each as it is asked for; the simulator in EVE's place comes by the environment.
        answers = [
            f"{database}_new",
            broker,
            "Killsync/1.0 (you@example.org)",
            f"{url}/auth/callback",
            *CLIENT,
            str(pilot),
            "",
            "",
        ]

        def run(command: str, text: str = "", **settings: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                command, shell=True, cwd=checkout, input=text, capture_output=True, text=True, timeout=120,
                env=environment(**{"PYTHONPATH": str(checkout), **settings}),
            )  # fmt: skip

        try:
            assert run(install).returncode == 0
            # The database does not exist: that it is made is asked behind its address.
            asked = "\n".join([answers[0], "y", *answers[1:]]) + "\n"
            made = run(init, asked, ESI_URL=handle.url, SSO_URL=handle.url)
            assert made.returncode == 0 and "Next: " in made.stdout, made.stdout + made.stderr
            assert env_file.values((checkout / ".env").read_text())["WEB_PORT"] == str(port)
            checked = run(doctor)
            assert checked.returncode == 0 and "✗" not in checked.stdout, checked.stdout
            with (tmp_path / "honcho.log").open("wb") as log:
                running = subprocess.Popen(
                    ["sh", "-c", f"exec {start}"], cwd=checkout, stdout=log, stderr=log, start_new_session=True,
                    env=environment(PYTHONPATH=str(checkout)),
                )  # fmt: skip
            try:
                asyncio.run(_see_killmails(url, pilot))
            finally:
                running.send_signal(signal.SIGINT)
                running.wait(timeout=20)
                said = (tmp_path / "honcho.log").read_text()
                print(said)
            assert "SIGKILL" not in said and "Traceback" not in said, said
        finally:
            server = psycopg2.connect(database)
            server.autocommit = True
            name = database.rpartition("/")[2]
            server.cursor().execute(f"DROP DATABASE IF EXISTS {name}_new WITH (FORCE)")
            server.close()


async def _see_killmails(url: str, pilot: int) -> None:
    def answers() -> bool:
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    await asyncio.to_thread(wait_until, answers, "the page answers", 60)
    async with Player(url) as player:
        assert (await player.log_in(pilot)).status == 302
        async with player.browser.get(f"{url}/ops") as page:
            assert page.status == 200, "the admin sees the operator dashboard"
        query = "{ killmails { edges { node { id } } } }"
        for _ in range(150):
            found: dict[str, Any] = await player.data(query)
            if len(found["killmails"]["edges"]) == 5:
                return
            await asyncio.sleep(0.2)
    raise AssertionError("no killmail within half a minute")


@verifies
def test_the_units_are_what_systemd_takes(tmp_path: Path) -> None:
    for unit in UNITS.iterdir():
        (tmp_path / unit.name).write_text(unit.read_text().replace("/srv/killsync/.venv/bin", str(BIN)))
    _verify(tmp_path)
    for unit in tmp_path.glob("*.service"):
        done = subprocess.run(
            ["systemd-analyze", "security", "--offline=yes", "--threshold=25", str(unit)],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stdout[-300:]


@verifies
def test_what_honcho_exports_is_too(tmp_path: Path) -> None:
    command = [
        str(BIN / "honcho"),
        "-e",
        os.devnull,
        "export",
        "systemd",
        str(tmp_path),
        "-a",
        "killsync",
        "-u",
        "killsync",
    ]
    subprocess.run(command, cwd=PROJECT, check=True, capture_output=True, timeout=60)
    assert len(list(tmp_path.glob("*.service"))) == 3
    _verify(tmp_path)


def _verify(folder: Path) -> None:
    files = [str(unit) for unit in folder.iterdir()]
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", *files], capture_output=True, text=True, timeout=60)
    ours = [line for line in (done.stdout + done.stderr).splitlines() if "killsync" in line]
    assert done.returncode == 0 and not ours, done.stderr


def test_a_process_tells_systemd_when_it_is_ready_and_when_it_stops(deployment: Any, tmp_path: Path) -> None:
    place = deployment({"kills": (1,)})
    address = f"/tmp/killsync-notify-{os.getpid()}"  # a socket's path may have 107 characters
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.settimeout(30)
        try:
            for name, arguments in {
                "web": ("python", "-m", "graphql_api"),
                "scheduler": ("python", str(PROJECT / "scheduler.py")),
                "worker": ("dramatiq", "actors", "--processes", "1", "--threads", "2"),
            }.items():
                place.start(name, *arguments, NOTIFY_SOCKET=address)
                assert manager.recv(100) == b"READY=1", name
                assert place.stop(name) == 0
                assert manager.recv(100) == b"STOPPING=1", name
        finally:
            Path(address).unlink()


@pytest.mark.parametrize(
    "command", [["-m", "graphql_api"], ["scheduler.py"], ["-m", "scheduler"], ["-m", "killsync.cli.main"]]
)
def test_every_process_tells_its_version(command: list[str]) -> None:
    for option in ("--version", "-V"):
        done = subprocess.run(
            [str(BIN / "python"), *command, option],
            cwd=PROJECT,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode == 0 and re.fullmatch(r"killsync \d+\.\d+\.\d+\S*\n", done.stdout), done.stderr


def test_the_changelog_begins_with_this_version() -> None:
    version = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["version"]
    headings = re.findall(r"^## (\S+)", (PROJECT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == version


def test_compose_hands_every_setting_on() -> None:
    text = (PROJECT / "compose.yaml").read_text()
    of_the_image = {"WEB_HOST", "WEB_PORT", "METRICS_HOST", "WORKER_METRICS_PORT", "SCHEDULER_METRICS_PORT"}
    for name in {field.upper() for field in Settings.model_fields} - of_the_image:
        assert f"  {name}: ${{{name}:-" in text, f"{name} is missing in compose.yaml"
