"""What every process does before it works: settings, logging, database, schema. Waits for a database that is away."""

from __future__ import annotations

import gc
import socket
import struct
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import peewee
import psycopg2

from killsync import settings as settings_module
from killsync.logging import get_logger, setup_logging
from killsync.settings import Need, Settings
from models import connect, connection, schema
from models.db import postgres_parameters
from models.errors import is_away

log = get_logger("startup")

#: New objects that outnumber those freed before the cycle collector looks at the young ones, and of how many looks each older
#: generation takes part in one.
COLLECT_AFTER = (20_000, 20, 20)
#: Seconds that a question to a server about its own state may take.
PROBE_SECONDS = 3.0
#: Where PostgreSQL's local socket lies on Debian and where it was built from source.
_SOCKETS = ("/var/run/postgresql", "/tmp")  # noqa: S108


@dataclass(frozen=True)
class DatabaseProblem:
    """Why the database cannot be used, as one line; *passes*: waiting may cure it, else somebody has to mend something."""

    text: str
    passes: bool


def start(*needs: Need, wait: bool = True) -> Settings:
    """Check the settings, set logging up, connect the models and check the schema.

    What is wrong ends the process with one line and exit code 2. A database that does not answer is waited for when
    *wait* is true, with a line that says so; one that does not exist, or does not let us in, is wrong.
    """
    settings = settings_module.load(*needs)
    setup_logging(settings)
    connect_models(settings)
    pause = 1.0
    while True:
        try:
            with connection():
                schema.check()
            return settings
        except schema.SchemaError as error:
            settings_module.refuse(str(error))
        except (peewee.PeeweeException, psycopg2.Error) as error:
            if not is_away(error):
                raise
            problem = database_problem(settings)
            if not wait or not problem.passes:
                settings_module.refuse(problem.text)
            log.warning("waiting for the database", reason=problem.text, retry_in=pause)
            time.sleep(pause)
            pause = min(pause * 2, 15.0)


def spare_garbage_collection() -> None:
    """Keep Python's cycle collector off what is there by now, and let it look at the rest less often.

    For processes that work for long, once they are ready: a command that ends soon has nothing of it. What the modules hold is
    some 80,000 objects. Each full look over them takes 0.04 s, and the thousands of small objects of a page of killmails ask for
    one every second or two: it was a fifth of a busy worker's CPU time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)


def connect_models(settings: Settings) -> None:
    """Point the models at the database of *settings*; a folder that cannot be made ends the process with one line."""
    try:
        connect(settings)
    except OSError as error:
        settings_module.refuse(f"the folder {error.filename} cannot be made ({error.strerror}): correct DATABASE_URL")


def database_away(settings: Settings) -> str:
    """`database_problem` as its one line."""
    return database_problem(settings).text


def database_problem(settings: Settings) -> DatabaseProblem:
    """Why a database that did not answer cannot be used: where it was sought, and what to do. Asks the server once more."""
    if not settings.uses_postgres:
        path = settings.database_url.removeprefix("sqlite:///")
        return DatabaseProblem(f"the SQLite file {path} cannot be opened: check the folder", passes=True)
    parts = urlsplit(settings.database_url)
    place = f"PostgreSQL at {parts.hostname or 'the local socket'}:{parts.port or 5432}"
    name = unquote(parts.path.lstrip("/")) or "postgres"
    away = DatabaseProblem(
        f"{place}{parts.path} does not answer: start it "
        "(`docker compose up -d postgres` or your system's service) or correct DATABASE_URL",
        passes=True,
    )
    parameters = {**postgres_parameters(settings.database_url), "connect_timeout": "5"}
    if not _takes_logins(parameters, name):
        return away
    reason = _refusal(parameters, name)
    if reason is None:
        return away
    # Whether the database exists is asked by another: the server's own words are in the language of its settings.
    if any(_refusal(parameters, other) is None for other in ("postgres", "template1") if other != name):
        return DatabaseProblem(
            f"{place} has no database {name} for us ({reason}): create it (`createdb {name}`) or correct DATABASE_URL",
            passes=False,
        )
    return DatabaseProblem(
        f"{place} does not let us in ({reason}): correct user and password in DATABASE_URL", passes=False
    )


def _refusal(parameters: dict[str, Any], name: str) -> str | None:
    """What the server says to a connection to the database *name*; None when it takes it."""
    try:
        psycopg2.connect(**{**parameters, "dbname": name}).close()
    except psycopg2.Error as error:
        lines = str(error).strip().splitlines()
        return lines[-1].split(":  ", 1)[-1].strip() if lines else type(error).__name__
    return None


def _takes_logins(parameters: dict[str, Any], name: str) -> bool:
    """Whether a server that is up and not just starting is there: asked by PostgreSQL's first message.

    A server that starts, stops or has no room answers that message with an error of class 57 or 53, a PgBouncer without its
    server with one of class 08; one that takes logins asks for a password or says what it does not like. (Frontend/backend
    protocol 3.0, https://www.postgresql.org/docs/current/protocol-message-formats.html)
    """
    try:
        with _socket(parameters) as server:
            server.settimeout(PROBE_SECONDS)
            user = str(parameters.get("user") or "killsync")
            words = f"user\0{user}\0database\0{name}\0\0".encode()
            server.sendall(struct.pack("!ii", 8 + len(words), 196_608) + words)
            answer = server.recv(4096)
    except OSError:
        return False
    if not answer.startswith(b"E"):
        return bool(answer)
    fields = {field[:1]: field[1:] for field in answer[5:].split(b"\0") if field}
    return fields.get(b"C", b"57")[:2] not in (b"08", b"53", b"57")


def _socket(parameters: dict[str, Any]) -> socket.socket:
    """A connection to the server that psycopg2's *parameters* name."""
    host, port = str(parameters.get("host") or ""), int(str(parameters.get("port") or 5432))
    if host and not host.startswith("/"):
        return socket.create_connection((host, port), PROBE_SECONDS)
    folders = (host,) if host else _SOCKETS
    path = next((path for folder in folders if (path := Path(folder, f".s.PGSQL.{port}")).exists()), None)
    if path is None:
        raise OSError("no local socket")
    server = socket.socket(socket.AF_UNIX)
    server.settimeout(PROBE_SECONDS)
    server.connect(str(path))
    return server


def broker_away(settings: Settings, error: BaseException | None = None) -> str:
    """One line for a broker that cannot be used; *error*: what it was asked with last, when it may tell more."""
    parts = urlsplit(settings.broker_url)
    place = f"RabbitMQ at {parts.hostname}:{parts.port or 5672}"
    if getattr(error, "is_refusal", False):
        return f"{error}. Correct BROKER_URL"
    return (
        f"{place} does not answer: start it "
        "(`docker compose up -d rabbitmq` or your system's service) or correct BROKER_URL"
    )
