"""The database connection, the field types and the one way to write: shared by every table.

PostgreSQL (psycopg2, pooled) and SQLite (WAL) serve the same models. Nothing here knows what a killmail is.
"""

from __future__ import annotations

import io
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

import peewee
import psycopg2
from peewee import DatabaseProxy, Field, Model
from playhouse.pool import MaxConnectionsExceeded, PooledPostgresqlDatabase

from settings import Settings

T = TypeVar("T")

database = DatabaseProxy()

#: Errors after which the same transaction may simply be tried again: deadlock, serialization failure, SQLite's lock.
_TRANSIENT_TEXTS = ("deadlock detected", "could not serialize", "database is locked", "database table is locked")
#: Errors that say that the server is away, coming back or without room, not that the statement is wrong.
_AWAY_TEXTS = (
    "connection", "server closed", "terminating", "starting up", "shutting down", "recovery mode", "too many clients",
    "remaining connection slots", "could not translate host", "unable to open database",
    "no space left", "disk is full",
    # SQLite without room has ended the transaction itself; that is all that its driver then says.
    "cannot rollback",
)  # fmt: skip


class DatabaseAway(Exception):
    """The database does not answer; the text says where it was sought and never carries a password."""


class UtcDateTimeField(Field):
    """A moment in UTC: `timestamptz` on PostgreSQL, sortable ISO text on SQLite; an aware `datetime` in Python."""

    field_type = "TIMESTAMPTZ"

    def db_value(self, value: datetime | str | None) -> str | None:
        if value is None or isinstance(value, str):
            return value
        return to_text(value)

    def python_value(self, value: datetime | str | None) -> datetime | None:
        if isinstance(value, str):
            value = datetime.fromisoformat(value)
        return value.astimezone(UTC) if value is not None else None


class BaseModel(Model):
    """Every table of Killsync."""

    class Meta:
        database = database
        legacy_table_names = False


class _SqliteDatabase(peewee.SqliteDatabase):
    """SQLite with one writer at a time inside this process, so that threads queue instead of colliding."""

    field_types = {**peewee.SqliteDatabase.field_types, "TIMESTAMPTZ": "DATETIME"}  # noqa: RUF012

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.write_lock = threading.RLock()


def connect(settings: Settings) -> peewee.Database:
    """Point the models at the database of *settings*. Opens no connection yet; replaces an earlier choice."""
    made = open_database(settings.database_url, settings.database_pool_size)
    database.initialize(made)
    return made


def open_database(url: str, pool_size: int = 20) -> peewee.Database:
    """A Peewee database for *url*; creates the folder of an SQLite file."""
    if url.startswith("sqlite:///"):
        path = url.removeprefix("sqlite:///")
        if path != ":memory:":
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        pragmas = {"journal_mode": "wal", "synchronous": "normal", "foreign_keys": 1, "cache_size": -65_536}
        return _SqliteDatabase(path, pragmas=pragmas, timeout=30)
    return PooledPostgresqlDatabase(
        None if not url else urlsplit(url).path.lstrip("/") or "postgres",
        max_connections=pool_size,
        stale_timeout=300,
        timeout=30,
        **postgres_parameters(url),
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


def open_listener(settings: Settings) -> Any:
    """A psycopg2 connection of its own, in autocommit, for LISTEN: past a PgBouncer if the settings name a way."""
    url = settings.database_listen_url or settings.database_url
    # A link that died without a word is noticed within half a minute: the listener sends nothing by itself.
    alive = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 20_000}
    name = urlsplit(url).path.lstrip("/") or "postgres"
    listener = psycopg2.connect(dbname=name, **{**alive, **postgres_parameters(url)})
    listener.autocommit = True
    return listener


def is_postgres() -> bool:
    """Whether the models are pointed at PostgreSQL."""
    return isinstance(database.obj, peewee.PostgresqlDatabase)


def utcnow() -> datetime:
    """The moment, aware, in UTC."""
    return datetime.now(UTC)


def to_text(moment: datetime) -> str:
    """*moment* as text of fixed width whose order is the order of time, for either database."""
    return moment.astimezone(UTC).isoformat(sep=" ", timespec="microseconds")


#: A moment that every clock agrees has passed: for what is due at once, whatever this host's clock says.
LONG_AGO = to_text(datetime(2000, 1, 1, tzinfo=UTC))


def from_any(value: datetime | str | None) -> datetime | None:
    """A moment read by plain SQL, which PostgreSQL gives as datetime and SQLite as text."""
    return UtcDateTimeField().python_value(value)


@contextmanager
def transaction() -> Iterator[None]:
    """A write transaction: whole or not at all. On SQLite it takes the write lock first, so it cannot fail half-way."""
    obj = database.obj
    if obj.in_transaction():
        # It belongs to the one that runs: a savepoint would cost two statements, and nobody goes back to one.
        yield
    elif isinstance(obj, _SqliteDatabase):
        with obj.write_lock, obj.atomic("IMMEDIATE"):
            yield
    else:
        with obj.atomic():
            yield


def in_transaction(work: Callable[[], T], attempts: int = 6) -> T:
    """Run *work* in a write transaction and try again what may succeed then: deadlocks, lock time-outs, a lost connection.

    *work* may run more than once, and after a connection that broke at the commit it may find its own work done: it has
    to be harmless to repeat. Inside another transaction nothing is repeated, since that one is lost as a whole.
    """
    is_outermost = not database.obj.in_transaction()
    for attempt in range(attempts):
        try:
            with transaction():
                return work()
        except (peewee.OperationalError, peewee.InterfaceError, psycopg2.Error) as error:
            is_lost = is_away(error)
            if not is_outermost or attempt + 1 == attempts or not (is_lost or is_transient(error)):
                raise
            if is_lost:
                discard()
            time.sleep(random.uniform(0.01, 0.05) * 2**attempt)  # noqa: S311
    raise AssertionError("unreachable")


def is_transient(error: Exception) -> bool:
    """Whether the same transaction may succeed if it is simply run again."""
    text = str(error).lower()
    return any(part in text for part in _TRANSIENT_TEXTS)


def is_away(error: BaseException) -> bool:
    """Whether *error* says that the database is unreachable, restarting or out of room, so that waiting is the cure."""
    if isinstance(error, DatabaseAway | MaxConnectionsExceeded):
        return True
    if not isinstance(error, peewee.OperationalError | peewee.InterfaceError | psycopg2.OperationalError
                      | psycopg2.InterfaceError):  # fmt: skip
        return False
    text = str(error).lower()
    return any(part in text for part in _AWAY_TEXTS)


@contextmanager
def connection() -> Iterator[None]:
    """A connection for this thread while the block runs; given back to the pool, or thrown away if it broke."""
    obj = database.obj
    opened = obj.connect(reuse_if_open=True)
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


def rows(sql: str, parameters: Any = ()) -> list[tuple[Any, ...]]:
    """Run one statement written with `%s` placeholders and fetch all it returns, on either database."""
    if not is_postgres():
        sql = sql.replace("%s", "?")
    cursor = database.execute_sql(sql, tuple(parameters))
    return cursor.fetchall() if cursor.description else []


def run(sql: str, parameters: Any = ()) -> int:
    """Run one statement written with `%s` placeholders; the number of rows it touched."""
    if not is_postgres():
        sql = sql.replace("%s", "?")
    return int(database.execute_sql(sql, tuple(parameters)).rowcount)


def sql_now(offset_seconds: float = 0.0) -> str:
    """SQL for the database's own clock, moved by an offset: hosts whose clocks differ still agree on what is due.

    On PostgreSQL it is the moment the statement began: unlike `clock_timestamp()` that can be looked up in an index.
    """
    if is_postgres():
        moved = f" + interval '1 second' * {float(offset_seconds)!r}" if offset_seconds else ""
        return f"(statement_timestamp(){moved})"
    return f"strftime('%Y-%m-%d %H:%M:%f000+00:00', 'now', '{float(offset_seconds):+.3f} seconds')"


def sql_moment(moment: datetime) -> str:
    """SQL for *moment*, told by this host's clock, on the database's clock."""
    return sql_now((moment - utcnow()).total_seconds())


def insert_rows(table: str, columns: tuple[str, ...], values: list[tuple[Any, ...]], suffix: str = "") -> Any:
    """One multi-row INSERT; the cursor. *suffix* is an ON CONFLICT or RETURNING clause."""
    one = f"({', '.join(['%s'] * len(columns))})"
    sql = f"INSERT INTO {table} ({', '.join(columns)}) VALUES {', '.join([one] * len(values))} {suffix}"
    if not is_postgres():
        sql = sql.replace("%s", "?")
    return database.execute_sql(sql, [value for row in values for value in row])


def add_rows(table: str, columns: tuple[str, ...], values: list[tuple[Any, ...]]) -> None:
    """Add any number of rows that cannot be there yet, in the cheapest way each database has."""
    if not values:
        return
    if is_postgres():
        text = io.StringIO("".join("\t".join(map(_copied, row)) + "\n" for row in values))
        with peewee.__exception_wrapper__:  # type: ignore[attr-defined]
            database.cursor().copy_expert(f"COPY {table} ({', '.join(columns)}) FROM STDIN", text)
        return
    sql = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
    with peewee.__exception_wrapper__:  # type: ignore[attr-defined]
        database.cursor().executemany(sql, values)


_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def _copied(value: Any) -> str:
    """A value as COPY reads it."""
    if value is None:
        return "\\N"
    return value.translate(_ESCAPES) if type(value) is str else str(value)
