"""Databases, virtual hosts and ports that a test has to itself, and that are gone after it."""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg2

PROJECT = Path(__file__).resolve().parents[2]
#: Where PostgreSQL and RabbitMQ are; continuous integration and other machines may say otherwise.
POSTGRES = os.environ.get("TEST_DATABASE_URL", "")
RABBITMQ = os.environ.get("TEST_BROKER_URL", "amqp://guest:guest@127.0.0.1:5672/")

_CANDIDATES = (
    "postgresql://root@127.0.0.1:5432/postgres",
    "postgresql://postgres@127.0.0.1:5432/postgres",
    "postgresql://killsync:killsync@127.0.0.1:5432/postgres",
    "postgresql:///postgres",
)


def _server() -> str:
    """The URL of a database of a server on which this user may create others."""
    problems = []
    for url in (POSTGRES,) if POSTGRES else _CANDIDATES:
        try:
            psycopg2.connect(url, connect_timeout=5).close()
            return url
        except psycopg2.Error as error:
            problems.append(f"{urlsplit(url).hostname}: {str(error).strip()}")
    raise RuntimeError("PostgreSQL does not let the tests in; set TEST_DATABASE_URL: " + "; ".join(problems))


def _statement(sql: str) -> None:
    server = psycopg2.connect(_server())
    server.autocommit = True
    try:
        server.cursor().execute(sql)
    finally:
        server.close()


@contextmanager
def postgres_database() -> Iterator[str]:
    """The URL of a new, empty PostgreSQL database."""
    name = f"killsync_test_{uuid.uuid4().hex[:12]}"
    _statement(f"CREATE DATABASE {name}")
    try:
        yield urlunsplit(urlsplit(_server())._replace(path=f"/{name}"))
    finally:
        _statement(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@contextmanager
def rabbitmq_vhost() -> Iterator[str]:
    """The URL of a new, empty virtual host of RabbitMQ."""
    name = f"killsync-test-{uuid.uuid4().hex[:12]}"
    user = urlsplit(RABBITMQ).username or "guest"
    rabbitmqctl("add_vhost", name)
    try:
        rabbitmqctl("set_permissions", "-p", name, user, ".*", ".*", ".*")
        yield RABBITMQ.rstrip("/") + f"/{name}"
    finally:
        rabbitmqctl("delete_vhost", name)


def rabbitmqctl(*arguments: str) -> str:
    """Run RabbitMQ's own command: on this machine, or in the container of compose.yaml."""
    in_container = [] if shutil.which("rabbitmqctl") else ["docker", "compose", "exec", "-T", "rabbitmq"]
    command = [*in_container, "rabbitmqctl"]
    done = subprocess.run([*command, "-q", *arguments], capture_output=True, text=True, timeout=60, cwd=PROJECT)
    if done.returncode:
        raise RuntimeError(f"rabbitmqctl {arguments[0]}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on, below those that systems give to outgoing connections.

    Tests that run side by side look among ports of their own, so that none is taken between this look and its use.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 8
    while True:
        port = 15_000 + worker * 2_000 + random.randrange(2_000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
