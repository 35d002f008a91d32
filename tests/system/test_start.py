"""What a process says when something it needs is missing, wrong or away: one line, what to do, and the exit code."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest

from killsync.sso.vault import generate_key
from tests.support.deployment import BIN, environment, wait_until
from tests.support.resources import PROJECT, free_port, postgres_database

RUNS_ON = {
    "DATABASE_URL": "postgresql://nobody@127.0.0.1:9/none",
    "BROKER_URL": "amqp://guest:guest@127.0.0.1:9/",
    "ESI_USER_AGENT": "Killsync-Tests/1.0 (tests@localhost)",
    "SSO_CLIENT_ID": "id",
    "SSO_CLIENT_SECRET": "hush-hush-secret",
    "SECRET_KEYS": generate_key(),
}
PROCESSES = {
    "worker": ["dramatiq", "actors", "--processes", "1", "--threads", "1"],
    "scheduler": ["python", str(PROJECT / "scheduler.py")],
    "web": ["python", "-m", "graphql_api"],
}


def run(arguments: list[str], folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(BIN / arguments[0]), *arguments[1:]],
        capture_output=True, text=True, timeout=60, cwd=folder, env=environment(**settings),
    )  # fmt: skip


@pytest.mark.parametrize("process", PROCESSES)
@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("DATABASE_URL", "mysql://somewhere/db", "DATABASE_URL is wrong"),
        ("BROKER_URL", "redis://somewhere", "BROKER_URL is wrong"),
        ("BROKER_URL", "memory://", "BROKER_URL=memory:// works inside one process only"),
        ("WEB_PORT", "eighty", "WEB_PORT is wrong"),
        ("SYNC_INTERVAL_SECONDS", "0", "SYNC_INTERVAL_SECONDS is wrong"),
        ("SECRET_KEYS", "short", "SECRET_KEYS is wrong"),
    ],
)
def test_a_wrong_setting_ends_the_start_with_one_line_and_exit_code_2(
    process: str, name: str, value: str, says: str, tmp_path: Path
) -> None:
    done = run(PROCESSES[process], tmp_path, **{**RUNS_ON, name: value})
    assert done.returncode == 2, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("killsync: ")]
    assert len(lines) == 1 and says in lines[0], done.stderr
    assert "Traceback" not in done.stderr and "hush-hush-secret" not in done.stderr + done.stdout


@pytest.mark.parametrize(
    ("process", "name"),
    [("worker", "ESI_USER_AGENT"), ("worker", "SSO_CLIENT_ID"), ("worker", "SECRET_KEYS"), ("web", "SSO_CLIENT_SECRET"),
     ("web", "SECRET_KEYS")],
)  # fmt: skip
def test_a_missing_setting_is_named_with_what_to_do(process: str, name: str, tmp_path: Path) -> None:
    done = run(PROCESSES[process], tmp_path, **{key: value for key, value in RUNS_ON.items() if key != name})
    assert done.returncode == 2, done.stderr
    assert f"killsync: {name} is not set: " in done.stderr


def test_a_bad_env_file_is_read_like_the_environment(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("MAX_PAGES=many\n")
    done = run(["killsync", "status"], tmp_path)
    assert (done.returncode, done.stderr.strip().splitlines()[0][:32]) == (2, "killsync: MAX_PAGES is wrong: In")


@pytest.mark.parametrize(
    "command", [["killsync", "status"], ["killsync", "migrate"], ["killsync", "queue", "user-killmails"]]
)
def test_a_command_says_that_postgresql_is_down_and_how_to_start_it(command: list[str], tmp_path: Path) -> None:
    done = run(command, tmp_path, **RUNS_ON)
    assert done.returncode in (1, 2)
    assert "PostgreSQL at 127.0.0.1:9/none does not answer: start it" in done.stderr
    assert "Traceback" not in done.stderr


def test_doctor_says_which_service_is_down(tmp_path: Path) -> None:
    done = run(["killsync", "doctor"], tmp_path, **RUNS_ON)
    assert done.returncode == 1
    assert "✓ settings" in done.stdout
    assert "✗ database: PostgreSQL at 127.0.0.1:9/none does not answer" in done.stdout
    with postgres_database() as url:
        run(["killsync", "migrate"], tmp_path, **{**RUNS_ON, "DATABASE_URL": url})
        done = run(
            ["killsync", "doctor"], tmp_path, **{**RUNS_ON, "DATABASE_URL": url, "ESI_URL": "http://127.0.0.1:9"}
        )
    assert "✓ database" in done.stdout and "✓ schema" in done.stdout
    assert "✗ broker: RabbitMQ at 127.0.0.1:9 does not answer: start it" in done.stdout
    assert "✗ ESI: http://127.0.0.1:9 does not answer" in done.stdout


def test_processes_refuse_a_database_that_was_not_migrated(tmp_path: Path) -> None:
    with postgres_database() as url:
        done = run(["killsync", "status"], tmp_path, **{**RUNS_ON, "DATABASE_URL": url})
    assert done.returncode == 2
    assert "killsync migrate" in done.stderr


def test_the_web_server_starts_without_the_broker_and_readyz_says_so(tmp_path: Path) -> None:
    port = free_port()
    with postgres_database() as url:
        values = {**RUNS_ON, "DATABASE_URL": url, "WEB_PORT": str(port)}
        run(["killsync", "migrate"], tmp_path, **values)
        with (tmp_path / "web.log").open("wb") as log:
            web = subprocess.Popen(
                [str(BIN / "python"), "-m", "graphql_api"],
                cwd=tmp_path,
                env=environment(**values),
                stdout=log,
                stderr=log,
            )
        try:
            answers = Answers(port)
            wait_until(lambda: answers.status("/healthz") == 200, "the web server answers", 30)
            assert answers.status("/readyz") == 503
            assert "the broker does not answer" in answers.text("/readyz")
            assert answers.text("/readyz").count("does not answer") == 1
            assert answers.status("/") == 200
            web.terminate()
            assert web.wait(timeout=20) == 0
        finally:
            web.kill()
        said = (tmp_path / "web.log").read_text()
    assert "RabbitMQ at 127.0.0.1:9 does not answer: start it" in said
    assert "guest:guest" not in said


def test_a_taken_port_is_refused_with_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken, postgres_database() as url:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        values = {**RUNS_ON, "DATABASE_URL": url, "WEB_PORT": str(taken.getsockname()[1])}
        run(["killsync", "migrate"], tmp_path, **values)
        done = run(["python", "-m", "graphql_api"], tmp_path, **values)
    assert done.returncode == 2, done.stderr
    assert "cannot be bound" in done.stderr and "Traceback" not in done.stderr


class Answers:
    """A web server on a port of this machine."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"

    def _ask(self, path: str) -> tuple[int, str]:
        import urllib.error
        import urllib.request

        try:
            with urllib.request.urlopen(self._url + path, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def status(self, path: str) -> int:
        return self._ask(path)[0]

    def text(self, path: str) -> str:
        return self._ask(path)[1]
