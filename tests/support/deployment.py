"""Killsync as it runs in production: web, worker and scheduler as processes of their own, with one database and broker."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg2

from killsync.sso.vault import generate_key
from simulator import Handle
from tests.support import migrated
from tests.support.resources import PROJECT, free_port, rabbitmq_vhost

BIN = Path(sys.executable).parent
CLIENT = ("simulator-client", "simulator-secret")


def environment(**values: str) -> dict[str, str]:
    """This process's environment without anything that Killsync reads, and with *values*."""
    from killsync.settings import Settings

    ours = {name.upper() for name in Settings.model_fields}
    kept = {name: value for name, value in os.environ.items() if name.upper() not in ours}
    return {**kept, "PYTHONUNBUFFERED": "1", **values}


class Deployment:
    """Processes under one environment; everything they print is kept for the tests to read."""

    def __init__(self, folder: Path, simulated: Handle, **settings: str) -> None:
        self.folder = folder
        self.simulated = simulated
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.settings = {
            "ESI_URL": simulated.url,
            "SSO_URL": simulated.url,
            "STATIC_DATA_URL": f"{simulated.url}/static-data",
            "SSO_CLIENT_ID": CLIENT[0],
            "SSO_CLIENT_SECRET": CLIENT[1],
            "SSO_CALLBACK_URL": f"{self.url}/auth/callback",
            "ESI_USER_AGENT": "Killsync-Tests/1.0 (tests@localhost)",
            "SECRET_KEYS": generate_key(),
            "WEB_PORT": str(self.port),
            "LOG_LEVEL": "DEBUG",
            **settings,
        }
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def command(self, *arguments: str, check: bool = True, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run one command of the project to its end."""
        done = subprocess.run(
            [str(BIN / arguments[0]), *arguments[1:]],
            capture_output=True, text=True, timeout=120, cwd=self.folder,
            env=environment(**{**self.settings, **settings}),
        )  # fmt: skip
        if check and done.returncode:
            raise AssertionError(f"{arguments} ended with {done.returncode}: {done.stdout}{done.stderr}")
        return done

    def start(self, name: str, *arguments: str, **settings: str) -> subprocess.Popen[bytes]:
        """Start a process; its output goes to `<name>.log`."""
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [str(BIN / arguments[0]), *arguments[1:]],
                stdout=log, stderr=log, cwd=self.folder, start_new_session=True, preexec_fn=signals_as_at_login,
                env=environment(**{**self.settings, **settings}),
            )  # fmt: skip
        self.processes[name] = process
        return process

    def start_web(self) -> None:
        self.start("web", "python", "-m", "graphql_api")
        wait_until(lambda: self.get("/healthz")[0] == 200, "the web server answers", 30)

    def start_worker(self, name: str = "worker", processes: int = 1, threads: int = 8, module: str = "actors") -> None:
        arguments = (module, "--processes", str(processes), "--threads", str(threads))
        self.start(name, "dramatiq", *arguments)
        wait_until(lambda: self.log(name).count("worker started") >= processes, "the worker starts", 30)

    def start_scheduler(self) -> None:
        self.start("scheduler", "python", str(PROJECT / "scheduler.py"))

    def log(self, name: str) -> str:
        """What a process has printed so far."""
        path = self.folder / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def logs(self) -> str:
        """What all processes have printed so far."""
        return "".join(path.read_text(errors="replace") for path in sorted(self.folder.glob("*.log")))

    def get(self, path: str) -> tuple[int, bytes]:
        """GET a page of the web server; status 0 when it does not answer."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=10) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()
        except OSError:
            return 0, b""

    def sql(self, statement: str, parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Run SQL from outside, without any of the project's code."""
        database = psycopg2.connect(self.settings["DATABASE_URL"])
        database.autocommit = True
        try:
            cursor = database.cursor()
            cursor.execute(statement, parameters or None)
            return cursor.fetchall() if cursor.description else []
        finally:
            database.close()

    def stop(self, name: str, number: int = signal.SIGTERM, wait_seconds: float = 30) -> int:
        """Signal a process and wait for its end; its exit code."""
        process = self.processes.pop(name)
        with contextlib.suppress(ProcessLookupError):
            if number == signal.SIGKILL:
                os.killpg(process.pid, number)
            else:
                process.send_signal(number)
        return process.wait(timeout=wait_seconds)

    def stop_all(self) -> None:
        """End everything that still runs."""
        for process in (started := list(self.processes.values())):
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        for process in started:
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(timeout=10)
        self.processes.clear()


def signals_as_at_login() -> None:
    """In a new process: a shell has what it runs in the background ignore SIGINT, and children inherit that."""
    for number in (signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)


def wait_until(condition: Any, what: str, seconds: float = 60) -> None:
    """Wait for *condition* to hold; a test that waits in vain says for what."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.1)


@contextlib.contextmanager
def deployed(folder: Path, simulated: Handle, **settings: str) -> Iterator[Deployment]:
    """A deployment on a database and a virtual host of its own, migrated, with nothing started yet."""
    with migrated.postgres() as database, rabbitmq_vhost() as broker:
        made = Deployment(folder, simulated, DATABASE_URL=database, BROKER_URL=broker, **settings)
        try:
            yield made
        finally:
            made.stop_all()
