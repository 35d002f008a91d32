"""What a new user types: help, versions, wrong ports, services that are there but wrong. One line each, never a traceback."""

from __future__ import annotations

import io
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from rich.console import Console

from killsync.cli import embedded, status
from killsync.esi.rate_limit.token_bucket import TokenBucket
from killsync.esi.routes import CHARACTER_KILLMAILS
from killsync.hints import runnable
from killsync.observability.figures import Overview, Run, Spent
from models import utcnow
from tests.support.deployment import BIN, environment
from tests.support.player import Player
from tests.support.resources import RABBITMQ, free_port, postgres_database

RUNS_ON = {
    "SSO_CLIENT_ID": "id",
    "SSO_CLIENT_SECRET": "hush-hush-secret",
    "ESI_USER_AGENT": "Tests/1.0 (tests@localhost)",
}


def run(arguments: list[str], folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(BIN / arguments[0]), *arguments[1:]],
        capture_output=True, text=True, timeout=60, cwd=folder, env=environment(**{**RUNS_ON, **settings}),
    )  # fmt: skip


@pytest.mark.parametrize("command", [[], ["status"], ["queue"], ["static-data", "update"], ["dead-letters"]])
def test_every_command_has_its_help_under_h(command: list[str], tmp_path: Path) -> None:
    short, long = (run(["killsync", *command, option], tmp_path) for option in ("-h", "--help"))
    assert short.returncode == 0 and short.stdout == long.stdout and "Usage: killsync" in short.stdout


def test_the_version_is_told(tmp_path: Path) -> None:
    done = run(["killsync", "--version"], tmp_path)
    assert done.returncode == 0 and re.fullmatch(r"killsync \d+\.\d+\.\d+\S*\n", done.stdout)


@pytest.mark.parametrize(
    ("command", "settings", "says"),
    [
        (["run", "--port", "99999"], {}, "--port"),
        (["simulator", "--port", "-1"], {}, "--port"),
        (["run"], {"WEB_PORT": "abc"}, "WEB_PORT is wrong"),
        (["run"], {"WEB_HOST": "192.0.2.1"}, "192.0.2.1:8080 cannot be bound"),
        (["run"], {"WEB_HOST": "no-such-host.invalid"}, "cannot be bound"),
        (["status"], {"DATABASE_URL": "postgresql://u:hush@127.0.0.1:abc/x"}, "DATABASE_URL is wrong: its port"),
        (["status"], {"DATABASE_URL": "sqlite:////proc/none/x.db"}, "cannot be made"),
        (["migrate"], {"DATABASE_URL": "sqlite:////proc/none/x.db"}, "cannot be made"),
        (["doctor"], {"BROKER_URL": "amqp://u:hush@127.0.0.1:99999/"}, "BROKER_URL is wrong: its port"),
        (["status"], {"ESI_URL": "http://127.0.0.1:abc"}, "ESI_URL is wrong: its port"),
    ],
)
def test_a_wrong_argument_or_setting_is_one_line_and_exit_code_2(
    command: list[str], settings: dict[str, str], says: str, tmp_path: Path
) -> None:
    done = run(["killsync", *command], tmp_path, **settings)
    said = done.stderr + done.stdout
    assert done.returncode == 2 and says in said
    assert "Traceback" not in said and "hush" not in said and "is taken" not in said


def test_a_taken_port_of_the_simulator_is_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = run(["killsync", "simulator", "--port", str(taken.getsockname()[1])], tmp_path)
    assert done.returncode == 2 and "cannot be bound (Address already in use): choose another by --port" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_database_that_does_not_exist_is_told_from_a_server_that_is_away(tmp_path: Path) -> None:
    with postgres_database() as url:
        server, _, name = url.partition("?")[0].rpartition("/")
        absent = f"{server}/{name}_absent"
        for command in (["status"], ["migrate"]):
            done = run(["killsync", *command], tmp_path, DATABASE_URL=absent)
            assert done.returncode in (1, 2)
            assert f"has no database {name}_absent" in done.stderr and "createdb" in done.stderr
            assert "does not answer" not in done.stderr
        assert "has no database" in run(["killsync", "doctor"], tmp_path, DATABASE_URL=absent).stdout
        # A process that waits for a server does not wait for what nobody makes.
        done = run(["python", "-m", "graphql_api"], tmp_path, DATABASE_URL=absent, BROKER_URL=RABBITMQ,
                   SECRET_KEYS=run(["killsync", "generate-key"], tmp_path).stdout.strip())  # fmt: skip
        assert done.returncode == 2 and "has no database" in done.stderr
        parts = urlsplit(url)
        stranger = f"postgresql://nobody_we_know:hush@{parts.hostname}:{parts.port or 5432}/{name}"
        done = run(["killsync", "status"], tmp_path, DATABASE_URL=stranger)
        assert done.returncode == 2 and "does not let us in" in done.stderr and "hush" not in done.stderr
    away = run(["killsync", "status"], tmp_path, DATABASE_URL="postgresql://u@127.0.0.1:9/x")
    assert "does not answer: start it" in away.stderr


def test_a_wrong_password_of_rabbitmq_is_told_from_a_broker_that_is_away(tmp_path: Path) -> None:
    parts = urlsplit(RABBITMQ)
    place = f"{parts.hostname}:{parts.port or 5672}"
    settings = {"DATABASE_URL": f"sqlite:///{tmp_path}/killsync.db"}
    run(["killsync", "migrate"], tmp_path, **settings)
    wrong = run(
        ["killsync", "doctor"], tmp_path, BROKER_URL=f"amqp://{parts.username}:hush@{place}/", **settings
    ).stdout
    assert f"RabbitMQ at {place}/ does not let us in: wrong user or password. Correct BROKER_URL" in wrong
    absent = run(
        ["killsync", "doctor"], tmp_path, BROKER_URL=f"amqp://{parts.netloc.split('@')[0]}@{place}/none", **settings
    )
    assert "its vhost does not exist" in absent.stdout
    listed = run(["killsync", "dead-letters", "list"], tmp_path, BROKER_URL=f"amqp://guest:hush@{place}/", **settings)
    assert listed.returncode == 1 and "wrong user or password" in listed.stderr and "Traceback" not in listed.stderr
    away = run(["killsync", "doctor"], tmp_path, BROKER_URL="amqp://guest:hush@127.0.0.1:9/", **settings).stdout
    assert "does not answer: start it" in away and "hush" not in wrong + absent.stdout + away


async def test_sync_needs_no_rabbitmq(deployment: Any) -> None:
    place = deployment({"kills": (8,)})
    place.start_web()
    pilot = place.simulated.simulator.universe.demo_characters[0].character_id
    async with Player(place.url) as player:
        assert (await player.log_in(pilot)).status == 302
    done = place.command("killsync", "sync", str(pilot), BROKER_URL=f"amqp://guest:guest@127.0.0.1:{free_port()}/")
    assert "Saved: 8 new killmails" in done.stdout and "Traceback" not in done.stderr


def test_a_reader_that_has_seen_enough_is_no_fault(tmp_path: Path) -> None:
    settings = environment(DATABASE_URL=f"sqlite:///{tmp_path}/killsync.db")
    subprocess.run([str(BIN / "killsync"), "migrate"], env=settings, capture_output=True, check=True, timeout=60)
    done = subprocess.run(
        ["bash", "-c", f"{BIN}/killsync status --json | true"], env=settings, capture_output=True, text=True, timeout=60
    )
    assert "Traceback" not in done.stderr and "Exception" not in done.stderr


def test_hints_name_commands_as_this_shell_finds_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bin").mkdir()
    for name in ("python", "killsync", "honcho"):
        (tmp_path / "bin" / name).write_text("")
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python"))
    monkeypatch.setenv("PATH", "/usr/bin")
    assert runnable("run `killsync migrate`, or `honcho start`") == "run `bin/killsync migrate`, or `bin/honcho start`"
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert runnable("run `killsync migrate`") == "run `killsync migrate`"


def full_overview() -> dict[str, Any]:
    run_of = {"status": "succeeded", "found": 12_000, "saved": 11_000, "skipped": 1_000, "errors": 0, "requests": 12_300,
              "tokens": 24_600, "started_at": utcnow(), "finished_at": utcnow(), "error": None}  # fmt: skip
    return Overview(
        last_runs=[Run(id=number, character=f"A Pilot Of Twenty-Four {number}", **run_of) for number in range(12)],  # type: ignore[arg-type]
        esi_spent=[Spent(f"corporation killmails {number}", "2xx", 1_000, 2_000) for number in range(30)],
    ).as_dict()


def printed(part: Any, width: int, height: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=height)
    console.print(part)
    return console.file.getvalue().rstrip("\n").splitlines()  # type: ignore[attr-defined]


def test_tables_break_no_word_at_80_columns() -> None:
    lines = printed(status.screen(full_overview()), 80, 200)
    rows = [line for line in lines if "succeeded" in line]
    assert len(rows) == 8 and all("A Pilot" in row and "12000" in row and "24600" in row for row in rows)
    assert any(all(word in line for word in ("Status", "Skipped", "Requests", "Tokens")) for line in lines)


@pytest.mark.parametrize("height", [24, 40, 200])
def test_watching_shows_whole_parts_and_says_what_has_no_room(height: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "console", Console(file=io.StringIO(), width=80, height=height))
    lines = printed(status._fitted(full_overview()), 80, height)
    assert len(lines) <= height and "All well" in lines[0] + lines[1]
    left_out = lines[-1].startswith("Not shown, for want of room: ")
    assert left_out == (height < 200)
    assert ("ESI requests" in lines[-1]) == left_out


def test_no_process_starts_with_a_deprecation_warning() -> None:
    text = "import actors, graphql_api.app, killsync.cli.main, killsync.scheduling.scheduler"
    done = subprocess.run(
        [sys.executable, "-W", "error:The class:DeprecationWarning", "-c", text],
        capture_output=True, text=True, timeout=60, env=environment(),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_run_keeps_its_pace_on_the_real_limits_for_as_long_as_it_runs() -> None:
    """Each poll brings news and reads two pages, from the first walk of the longest list on: no poll ever waits for long."""
    bucket = TokenBucket(CHARACTER_KILLMAILS.limit, CHARACTER_KILLMAILS.window)
    began = 1_700_000_000.0
    for page in range(7):
        assert bucket.take(began + page, 2, backlog=page > 0, reserve=6) == 0.0
    now = began
    for _ in range(60):
        now += embedded.POLL_SECONDS
        for _page in range(2):
            wait = bucket.take(now, 2, backlog=False, reserve=0)
            assert wait <= 30, f"{now - began:.0f} s after the start a poll waits {wait:.0f} s"
            now += wait
            assert not wait or not bucket.take(now, 2, backlog=False, reserve=0)


def test_a_restart_of_run_inherits_no_spent_budget(tmp_path: Path) -> None:
    port = free_port()
    for _ in range(3):
        with subprocess.Popen(
            [str(BIN / "killsync"), "run", "--port", str(port)],
            cwd=tmp_path, env=environment(PYTHONUNBUFFERED="1"), stdout=subprocess.PIPE, text=True,
        ) as process:  # fmt: skip
            lines = []
            assert process.stdout is not None
            for line in process.stdout:
                lines.append(line)
                if sum("succeeded" in each or "nothing new" in each for each in lines) >= 3:
                    break
            process.terminate()
        assert not any("no token" in line or "until" in line for line in lines), lines
        assert sum("succeeded" in line for line in lines) == 3, lines
