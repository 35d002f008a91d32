"""The database connection, the field types and the one way to write: shared by every table.

PostgreSQL (psycopg2, pooled) and SQLite (WAL) serve the same models. Nothing here knows what a killmail is.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

import peewee
import psycopg2
import psycopg2.extensions
from peewee import DatabaseProxy
from playhouse.pool import PooledPostgresqlDatabase

from killsync.settings import Settings
from models.errors import is_away, is_transient
from models.sqlite import SqliteDatabase

T = TypeVar("T")

database = DatabaseProxy()

#: libpq's own options (seconds; milliseconds for the last): a link that died without a word is noticed within half a minute.
ALIVE = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 20_000}
#: A transaction of ours does nothing between two statements but compute; PostgreSQL ends one that is idle for longer than
#: this, so that a process that was stopped or a host that died holds no row for ever, seconds.
IDLE_IN_TRANSACTION_SECONDS = 30


def _session_with(values: Mapping[str, str]) -> Any:
    """A class of psycopg2 connections whose sessions begin with *values*, PostgreSQL's settings by name."""

    class Session(psycopg2.extensions.connection):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            self.autocommit = True
            # Not as `options` when the connection is made: a PgBouncer refuses those.
            calls = ", ".join(["set_config(%s, %s, false)"] * len(values))
            self.cursor().execute(f"SELECT {calls}", [text for pair in values.items() for text in pair])

    return Session


def connect(settings: Settings) -> peewee.Database:
    """Point the models at the database of *settings*. Opens no connection yet; replaces an earlier choice."""
    session = {}
    # Behind a pooler of transactions a session is not ours: what is set there would hit whoever has it next.
    if not settings.database_listen_url:
        session = {
            "statement_timeout": f"{settings.database_statement_seconds}s",
            "idle_in_transaction_session_timeout": f"{IDLE_IN_TRANSACTION_SECONDS}s",
        }
    made = open_database(settings.database_url, settings.database_pool_size, session)
    if isinstance(database.obj, SqliteDatabase):
        database.obj.close_writer()
    database.initialize(made)
    return made


def open_database(url: str, pool_size: int = 20, session: Mapping[str, str] | None = None) -> peewee.Database:
    """A Peewee database for *url*; creates the folder of an SQLite file.

    Args:
        url: `postgresql://` or `sqlite:///`.
        pool_size: most connections to PostgreSQL.
        session: settings with which each PostgreSQL session begins.
    """
    if url.startswith("sqlite:///"):
        path = url.removeprefix("sqlite:///")
        if path != ":memory:":
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        return SqliteDatabase(path)
    return PooledPostgresqlDatabase(
        None if not url else urlsplit(url).path.lstrip("/") or "postgres",
        max_connections=pool_size,
        stale_timeout=300,
        timeout=30,
        **{**ALIVE, **({"connection_factory": _session_with(session)} if session else {}), **postgres_parameters(url)},
    )


def postgres_parameters(url: str) -> dict[str, Any]:
    """What psycopg2 needs of a `postgresql://` URL, but for the database name."""
    parts = urlsplit(url)
    parameters: dict[str, Any] = dict(parse_qsl(parts.query))
    parameters.setdefault("application_name", "killsync")
    parameters.setdefault("connect_timeout", "10")
    for name, value in (("host", parts.hostname), ("port", parts.port), ("user", parts.username)):
        if value is not None:
            parameters[name] = unquote(value) if isinstance(value, str) else value
    if parts.password is not None:
        parameters["password"] = unquote(parts.password)
    return parameters


def create_database(url: str, through: str, name: str) -> None:
    """Create the database *name* on the server of *url*, connected to the database *through*."""
    server = psycopg2.connect(dbname=through, **postgres_parameters(url))
    try:
        server.autocommit = True
        server.cursor().execute(f"CREATE DATABASE {psycopg2.extensions.quote_ident(name, server)}")
    finally:
        server.close()


def open_listener(settings: Settings) -> Any:
    """A psycopg2 connection of its own that listens to `killsync`: past a PgBouncer if the settings name a way."""
    url = settings.database_listen_url or settings.database_url
    name = urlsplit(url).path.lstrip("/") or "postgres"
    listener = psycopg2.connect(dbname=name, **{**ALIVE, **postgres_parameters(url)})
    listener.autocommit = True
    listener.cursor().execute("LISTEN killsync")
    return listener


def probe(listener: Any) -> None:
    """Ask a listener's connection for an answer; it raises where the connection is broken without a sign of it."""
    listener.cursor().execute("SELECT 1")


def is_postgres() -> bool:
    """Whether the models are pointed at PostgreSQL."""
    return isinstance(database.obj, peewee.PostgresqlDatabase)


def server_version() -> int | None:
    """The major version of PostgreSQL; None on SQLite."""
    number = getattr(database.obj.connection(), "server_version", None)
    return None if number is None else int(number) // 10_000


@contextmanager
def transaction() -> Iterator[None]:
    """A write transaction: whole or not at all. On SQLite it takes the write lock first, so it cannot fail half-way."""
    obj = database.obj
    if obj.in_transaction():
        # It belongs to the one that runs: a savepoint would cost two statements, and nobody goes back to one.
        yield
    elif isinstance(obj, SqliteDatabase):
        with obj.writing():
            yield
    else:
        with obj.atomic():
            yield


@contextmanager
def _statement() -> Iterator[None]:
    """A write transaction of one statement: PostgreSQL begins and ends it by itself, in a third of the round trips."""
    if isinstance(database.obj, SqliteDatabase):
        with transaction():
            yield
    else:
        yield


def in_statement(work: Callable[[], T]) -> T:
    """Run *work*, which is one statement, as `in_transaction` does."""
    return in_transaction(work, within=_statement)


def in_transaction(
    work: Callable[[], T], attempts: int = 6, within: Callable[[], AbstractContextManager[None]] = transaction
) -> T:
    """Run *work* in a write transaction and try again what may succeed then: deadlocks, lock time-outs, a lost connection.

    *work* may run more than once, and after a connection that broke at the commit it may find its own work done: it has
    to be harmless to repeat. Inside another transaction nothing is repeated, since that one is lost as a whole.
    """
    is_outermost = not database.obj.in_transaction()
    for attempt in range(attempts):
        try:
            with within():
                return work()
        except (peewee.PeeweeException, psycopg2.Error) as error:
            is_lost = is_away(error)
            if not is_outermost or attempt + 1 == attempts or not (is_lost or is_transient(error)):
                raise
            if is_lost:
                discard()
            time.sleep(random.uniform(0.01, 0.05) * 2**attempt)  # noqa: S311
    raise AssertionError("unreachable")


@contextmanager
def connection() -> Iterator[None]:
    """A connection for this thread while the block runs; given back to the pool, or thrown away if it broke.

    SQLite opens its own with the first statement that needs it: transactions share one (`models.sqlite`).
    """
    obj = database.obj
    opened = obj.is_closed() if isinstance(obj, SqliteDatabase) else obj.connect(reuse_if_open=True)
    try:
        yield
    except BaseException as error:
        if opened and is_away(error):
            discard()
        raise
    finally:
        if opened and not obj.is_closed():
            obj.close()


def discard() -> None:
    """Throw this thread's connection away instead of giving a broken one back to the pool."""
    obj = database.obj
    if obj.is_closed():
        return
    try:
        if hasattr(obj, "manual_close"):
            obj.manual_close()
        else:
            obj.close()
    except (peewee.DatabaseError, peewee.InterfaceError, psycopg2.Error):
        obj._state.reset()
