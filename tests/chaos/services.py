"""A PostgreSQL and a RabbitMQ that nobody else uses: started here, on free ports, in a folder that is deleted at the end."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import psycopg2

from tests.support.deployment import wait_until
from tests.support.resources import free_port


class Missing(Exception):
    """A program that is needed is not on this machine; the text names it."""


def _program(name: str, *places: str) -> str:
    """The full path of a program: in *places* first, since Debian keeps PostgreSQL's off the PATH."""
    for pattern in places:
        for found in sorted(Path("/").glob(f"{pattern.lstrip('/')}/{name}"), reverse=True):
            return str(found)
    found_on_path = shutil.which(name)
    if found_on_path is None:
        raise Missing(f"{name} is not installed")
    return found_on_path


class Postgres:
    """A cluster of its own. Everything is done as the system's user `postgres` where this is root: it refuses root."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.port = free_port()
        self.folder = folder / "postgres"
        self._user: dict[str, Any] = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}
        self._settings = {
            "listen_addresses": "127.0.0.1", "port": str(self.port), "unix_socket_directories": "",
            "fsync": "on", "max_connections": "60", "shared_buffers": "32MB", **settings,
        }  # fmt: skip
        self.folder.mkdir(mode=0o700)
        if self._user:
            shutil.chown(self.folder, "postgres", "postgres")
        self._run("initdb", "-D", str(self.folder / "data"), "-U", "killsync", "-A", "trust", "-E", "UTF8", "--no-sync")

    def _run(self, tool: str, *arguments: str) -> None:
        command = [_program(tool, "/usr/lib/postgresql/*/bin"), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, cwd="/", timeout=120, **self._user)
        if done.returncode:
            raise RuntimeError(f"{tool}: {done.stderr or done.stdout}")

    def start(self) -> None:
        options = " ".join(f"-c {name}='{value}'" for name, value in self._settings.items())
        with (self.folder.parent / "postgres.log").open("ab") as log:
            command = [
                _program("pg_ctl", "/usr/lib/postgresql/*/bin"),
                "start",
                "-w",
                "-D",
                str(self.folder / "data"),
                "-o",
                options,
            ]
            # pg_ctl leaves the server behind: its output goes to a file, or waiting for the pipe's end would never end.
            subprocess.run(command, stdout=log, stderr=log, cwd="/", timeout=120, check=True, **self._user)

    def stop(self, mode: str = "fast") -> None:
        """*mode*: "fast" ends connections and closes properly, "immediate" is a crash."""
        self._run("pg_ctl", "stop", "-w", "-D", str(self.folder / "data"), "-m", mode)

    def restart(self, mode: str = "fast") -> None:
        self.stop(mode)
        self.start()

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://killsync@127.0.0.1:{self.port}/{database}"

    def sql(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        server = psycopg2.connect(self.url(database))
        server.autocommit = True
        try:
            cursor = server.cursor()
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []
        finally:
            server.close()


class Rabbit:
    """A RabbitMQ node of its own, with a port mapper (epmd) of its own, so that it meets no other node."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.folder = folder / "rabbitmq"
        self.folder.mkdir()
        self._server = _program("rabbitmq-server", "/usr/lib/rabbitmq/bin")
        self._control = _program("rabbitmqctl", "/usr/lib/rabbitmq/bin")
        (self.folder / "environment").touch()
        (self.folder / "plugins").write_text("[].")
        (self.folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.local = 127.0.0.1:{self.port}\nloopback_users = none\ndisk_free_limit.absolute = 50MB\n"
        )
        self._mapper_port = free_port()
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("RABBITMQ_")},
            "HOME": str(self.folder), "USER": getpass.getuser(),
            "RABBITMQ_NODENAME": f"killsync-chaos-{self.port}@localhost",
            "RABBITMQ_NODE_PORT": str(self.port), "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"), "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_PID_FILE": str(self.folder / "pid"), "RABBITMQ_CONF_ENV_FILE": str(self.folder / "environment"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
            "ERL_EPMD_PORT": str(self._mapper_port), "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_FLAGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        }  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, wait: bool = True) -> None:
        with (self.folder.parent / "rabbitmq.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._server], stdout=log, stderr=log, env=self._environment, start_new_session=True
            )
        if wait:
            self.wait()

    def wait(self) -> None:
        """Wait until it answers."""
        wait_until(self._answers, "RabbitMQ answers", 120)
        self.control("await_startup")

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def stop(self) -> None:
        """End it as its own command does."""
        assert self._process is not None
        self.control("stop")
        self._process.wait(timeout=60)

    def crash(self) -> None:
        """Kill it without a word."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(timeout=30)
        time.sleep(0.5)

    def wipe(self) -> None:
        """Delete all it holds; call it between `stop` and `start`."""
        shutil.rmtree(self.folder / "data")

    def end(self) -> None:
        """Stop it and its port mapper, however it stands."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                self.crash()
        subprocess.run(
            ["epmd", "-port", str(self._mapper_port), "-kill"], env=self._environment, capture_output=True, timeout=10
        )

    def control(self, *arguments: str) -> str:
        """Run rabbitmqctl on it."""
        done = subprocess.run(
            [self._control, "-q", *arguments], capture_output=True, text=True, timeout=120, env=self._environment
        )
        if done.returncode:
            raise RuntimeError(f"rabbitmqctl {arguments[0]}: {done.stderr or done.stdout}")
        return done.stdout

    def url(self, vhost: str) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}/{vhost}"

    def add_vhost(self, vhost: str) -> None:
        self.control("add_vhost", vhost)
        self.control("set_permissions", "-p", vhost, "guest", ".*", ".*", ".*")
