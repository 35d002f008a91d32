"""Databases, virtual hosts and ports that a test has to itself, and that are gone after it."""

from __future__ import annotations

import atexit
import json
import os
import random
import shutil
import socket
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg2

PROJECT = Path(__file__).resolve().parents[2]
#: Where PostgreSQL and RabbitMQ are; continuous integration and other machines may say otherwise.
POSTGRES = os.environ.get("TEST_DATABASE_URL", "")
RABBITMQ = os.environ.get("TEST_BROKER_URL", "amqp://guest:guest@127.0.0.1:5672/")

VHOSTS_AT_A_TIME = 4
_vhosts: list[str] = []

_CANDIDATES = (
    "postgresql://root@127.0.0.1:5432/postgres",
    "postgresql://postgres@127.0.0.1:5432/postgres",
    "postgresql://killsync:killsync@127.0.0.1:5432/postgres",
    "postgresql:///postgres",
)


@cache
def server_url() -> str:
    """The URL of a database of a server on which this user may create others."""
    problems = []
    for url in (POSTGRES,) if POSTGRES else _CANDIDATES:
        try:
            psycopg2.connect(url, connect_timeout=5).close()
            return url
        except psycopg2.Error as error:
            problems.append(f"{urlsplit(url).hostname}: {str(error).strip()}")
    raise RuntimeError("PostgreSQL does not let the tests in; set TEST_DATABASE_URL: " + "; ".join(problems))


def statement(*each: str) -> None:
    """Say *each* to that server."""
    with closing(psycopg2.connect(server_url())) as server:
        server.autocommit = True
        for sql in each:
            server.cursor().execute(sql)


def new_name() -> str:
    return f"killsync_test_{uuid.uuid4().hex[:12]}"


def create_database(template: str = "template1") -> str:
    """The name of a new database, a copy of *template*."""
    name = new_name()
    statement(f"CREATE DATABASE {name} TEMPLATE {template}")
    if "PYTEST_VERSION" in os.environ:
        # What is measured waits for the disk; no test crashes this server.
        statement(f"ALTER DATABASE {name} SET synchronous_commit = off")
    return name


def url_of(name: str) -> str:
    return urlunsplit(urlsplit(server_url())._replace(path=f"/{name}"))


def drop_database(name: str) -> None:
    statement(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@contextmanager
def postgres_database() -> Iterator[str]:
    """The URL of a new, empty PostgreSQL database; `tests.support.migrated` has those with tables."""
    name = create_database()
    try:
        yield url_of(name)
    finally:
        drop_database(name)


def rabbitmq_vhost() -> AbstractContextManager[str]:
    """The URL of a new, empty virtual host of RabbitMQ. It is gone at the end of this process, with all others."""
    if not _vhosts:
        _make_vhosts()
    return nullcontext(RABBITMQ.rstrip("/") + f"/{_vhosts.pop()}")


def _make_vhosts() -> None:
    """Make several: RabbitMQ's command takes longer to start than for what it does."""
    made = [f"killsync-test-{uuid.uuid4().hex[:12]}" for _ in range(VHOSTS_AT_A_TIME)]
    user = urlsplit(RABBITMQ).username or "guest"
    allowed = {"user": user, "configure": ".*", "write": ".*", "read": ".*"}
    definitions = {
        "vhosts": [{"name": name} for name in made],
        "permissions": [{"vhost": name, **allowed} for name in made],
    }
    names = ", ".join(f'<<"{name}">>' for name in made)
    atexit.register(rabbitmqctl, "eval", f'[rabbit_vhost:delete(Name, <<"tests">>) || Name <- [{names}]].')
    rabbitmqctl("import_definitions", says=json.dumps(definitions))
    _vhosts.extend(made)


def rabbitmqctl(*arguments: str, says: str | None = None) -> str:
    """Run RabbitMQ's own command, with the input *says*: on this machine, or in the container of compose.yaml."""
    in_container = [] if shutil.which("rabbitmqctl") else ["docker", "compose", "exec", "-T", "rabbitmq"]
    done = subprocess.run(
        [*in_container, "rabbitmqctl", "-q", *arguments],
        capture_output=True, text=True, timeout=60, cwd=PROJECT, input=says or "",
    )  # fmt: skip
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
