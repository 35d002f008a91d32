"""Database errors are told apart by their codes, whatever language the server speaks, and no session holds a row for ever."""

from __future__ import annotations

import sqlite3
import threading
import time
from typing import Any

import peewee
import psycopg2
import pytest
from playhouse.pool import MaxConnectionsExceeded

from killsync.esi.rate_limit.rate_limit import Bucket, RateLimit, Reservation
from models import EsiBucket, connection, db, schema
from models.db import database, in_transaction
from models.errors import is_away, is_locked, is_transient
from models.sql import rows, run
from tests.support.resources import free_port

ON_POSTGRES = pytest.mark.parametrize("database_url", ["postgres"], indirect=True)

#: What the error is, as its SQLSTATE and in German; whether trying again helps, whether waiting for the server does.
STATES = [
    ("40P01", "Verklemmung entdeckt", True, False),
    ("40001", "konnte Zugriff nicht serialisieren", True, False),
    ("55P03", "storniere Anfrage wegen Zeitueberschreitung einer Sperre", True, False),
    ("57P01", "Verbindung wird abgebrochen aufgrund von Anweisung des Administrators", False, True),
    ("57P02", "Abbruch wegen Absturz eines anderen Prozesses", False, True),
    ("57P03", "das Datenbanksystem startet", False, True),
    ("57P05", "Abbruch wegen Unttaetigkeit", False, True),
    ("25P03", "Abbruch wegen Untaetigkeit in der Transaktion", False, True),
    ("53300", "zu viele Verbindungen", False, True),
    ("53100", "kein Platz auf dem Geraet", False, True),
    ("08006", "Verbindungsfehler", False, True),
    ("08P01", "Protokollfehler", False, True),
    ("57014", "storniere Anfrage", False, False),
    ("23505", "doppelter Schluesselwert: connection terminating, deadlock detected", False, False),
    ("42P01", "Relation existiert nicht: connection", False, False),
    ("22003", "Zahl ausserhalb des Bereichs: database is locked", False, False),
]


@ON_POSTGRES
@pytest.mark.parametrize(("state", "text", "transient", "away"), STATES)
def test_an_error_of_a_server_that_speaks_german_means_the_same(
    settings: Any, state: str, text: str, transient: bool, away: bool
) -> None:
    with pytest.raises((peewee.PeeweeException, psycopg2.Error)) as raised, connection():
        database.execute_sql(f"DO $$ BEGIN RAISE EXCEPTION '{text}' USING ERRCODE = '{state}'; END $$")
    assert (is_transient(raised.value), is_away(raised.value)) == (transient, away)
    assert is_locked(raised.value) is (state == "55P03")


SQLITE = [
    (sqlite3.SQLITE_BUSY, True, False),
    (sqlite3.SQLITE_BUSY_SNAPSHOT, True, False),
    (sqlite3.SQLITE_LOCKED, True, False),
    (sqlite3.SQLITE_LOCKED_SHAREDCACHE, True, False),
    (sqlite3.SQLITE_FULL, False, True),
    (sqlite3.SQLITE_CANTOPEN, False, True),
    (sqlite3.SQLITE_CANTOPEN_ISDIR, False, True),
    (sqlite3.SQLITE_READONLY, False, False),
    (sqlite3.SQLITE_CORRUPT, False, False),
    (sqlite3.SQLITE_ERROR, False, False),
    (sqlite3.SQLITE_CONSTRAINT_UNIQUE, False, False),
]


@pytest.mark.parametrize(("code", "transient", "away"), SQLITE)
def test_an_error_of_sqlite_is_told_by_its_code(code: int, transient: bool, away: bool) -> None:
    inner: Any = sqlite3.OperationalError("irgendein Text: connection, database is locked, deadlock detected")
    inner.sqlite_errorcode = code
    for error in (inner, peewee.OperationalError(inner, *inner.args)):
        assert (is_transient(error), is_away(error)) == (transient, away)


def test_what_comes_without_a_code_is_a_connection_or_our_own_mistake() -> None:
    with pytest.raises(psycopg2.OperationalError) as refused:
        psycopg2.connect(f"postgresql://127.0.0.1:{free_port()}/nowhere", connect_timeout=2)
    assert is_away(refused.value)
    for error in (psycopg2.OperationalError("Server beendete die Verbindung"), psycopg2.InterfaceError("Cursor ist zu"),
                  psycopg2.DatabaseError("keine Meldung"), peewee.InterfaceError("nicht offen"),
                  MaxConnectionsExceeded()):  # fmt: skip
        assert is_away(error) and not is_transient(error), error
    for mistake in (psycopg2.ProgrammingError("connection"), psycopg2.DataError("terminating"), ValueError("connection"),
                    peewee.IntegrityError("connection"), sqlite3.ProgrammingError("connection")):  # fmt: skip
        assert not is_away(mistake) and not is_transient(mistake), mistake


@ON_POSTGRES
def test_a_real_deadlock_a_real_lock_timeout_and_a_real_shutdown(settings: Any) -> None:
    with connection():
        for number in (1, 2):
            EsiBucket.create(name=str(number), account="{}")

    def lock(first: str, second: str, met: threading.Barrier, found: list[BaseException]) -> None:
        try:
            with connection(), db.transaction():
                run("UPDATE esi_bucket SET account = '{}' WHERE name = %s", (first,))
                met.wait(5)
                run("UPDATE esi_bucket SET account = '{}' WHERE name = %s", (second,))
        except (peewee.PeeweeException, psycopg2.Error) as error:
            found.append(error)

    met, found = threading.Barrier(2), []
    threads = [threading.Thread(target=lock, args=(*names, met, found)) for names in (("1", "2"), ("2", "1"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (deadlock,) = found
    assert is_transient(deadlock) and not is_away(deadlock)
    other = psycopg2.connect(settings.database_url)
    other.cursor().execute("LOCK TABLE esi_bucket")
    with pytest.raises((peewee.PeeweeException, psycopg2.Error)) as locked, connection(), db.transaction():
        rows("SELECT set_config('lock_timeout', '50ms', true)")
        run("UPDATE esi_bucket SET account = '{}'")
    assert is_locked(locked.value)
    other.rollback()
    with pytest.raises((peewee.PeeweeException, psycopg2.Error)) as ended, connection():
        ((pid,),) = rows("SELECT pg_backend_pid()")
        other.cursor().execute("SELECT pg_terminate_backend(%s)", (pid,))
        time.sleep(0.2)
        rows("SELECT 1")
    assert is_away(ended.value)
    other.close()


def test_a_database_file_that_another_process_writes_is_tried_again(settings: Any) -> None:
    if db.is_postgres():
        pytest.skip("PostgreSQL has no lock on the whole database")
    path = settings.database_url.removeprefix("sqlite:///")
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    with connection():
        database.execute_sql("PRAGMA busy_timeout = 1")
        with pytest.raises(peewee.OperationalError) as raised, db.transaction():
            pass
        assert is_transient(raised.value) and is_locked(raised.value)
        ender = threading.Timer(0.05, other.execute, ("ROLLBACK",))
        ender.start()
        assert in_transaction(lambda: 5) == 5
        ender.join()
    other.close()


# Sessions.


@ON_POSTGRES
def test_sessions_have_limits_and_migrations_and_the_removal_of_old_rows_have_none(settings: Any) -> None:
    from killsync.scheduling import sweep

    def limits() -> list[tuple[str, ...]]:
        return rows(
            "SELECT current_setting('statement_timeout'), current_setting('idle_in_transaction_session_timeout')"
        )

    with connection():
        assert limits() == [("1min", "30s")]
    seen: list[Any] = []
    with pytest.MonkeyPatch.context() as patch:
        for name in ("deliveries", "runs", "counters"):
            patch.setattr(getattr(sweep, name), "prune", lambda *_: None)
        patch.setattr(sweep.killmail_log, "prune", lambda *_: seen.append(limits()))
        with connection():
            in_transaction(sweep._prune)
            assert limits() == [("1min", "30s")], "for that transaction alone"
        assert seen == [[("0", "30s")]]
    with pytest.MonkeyPatch.context() as patch:

        class Router:
            diff: tuple[str, ...] = ()

            def run(self) -> list[str]:
                seen.append(limits())
                return []

        patch.setattr(schema, "_router", Router)
        schema.migrate()
    assert seen[1] == [("0", "0")]
    with connection():
        assert limits() == [("1min", "30s")], "nobody is given the connection of a migration"


@ON_POSTGRES
def test_behind_a_pooler_of_transactions_nothing_is_set_in_a_session(settings: Any) -> None:
    db.connect(settings.model_copy(update={"database_listen_url": settings.database_url}))
    with connection():
        assert rows("SELECT current_setting('statement_timeout')") == [("0",)]
    database.obj.close_all()


@ON_POSTGRES
def test_a_statement_that_takes_too_long_is_given_up(settings: Any) -> None:
    db.connect(settings.model_copy(update={"database_statement_seconds": 1}))
    began = time.monotonic()
    with pytest.raises((peewee.PeeweeException, psycopg2.Error)) as raised, connection():
        rows("SELECT pg_sleep(20)")
    assert time.monotonic() - began < 10
    assert not is_away(raised.value) and not is_transient(raised.value)
    database.obj.close_all()


@ON_POSTGRES
def test_a_session_that_goes_idle_with_the_row_of_a_bucket_is_ended_and_work_goes_on(
    settings: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(db, "IDLE_IN_TRANSACTION_SECONDS", 2)
    db.connect(settings)
    rate_limit, bucket = RateLimit(5), Bucket("killmail", "ip:test", 100, 900.0)
    assert isinstance(rate_limit.take(bucket, 2, backlog=False), Reservation)
    is_held, ended, may_go_on = threading.Event(), [], threading.Event()

    def stuck() -> None:
        try:
            with connection(), db.transaction():
                rows("SELECT name FROM esi_bucket FOR UPDATE")
                is_held.set()
                may_go_on.wait(30)
                rows("SELECT 1")
        except (peewee.PeeweeException, psycopg2.Error) as error:
            ended.append(error)

    thread = threading.Thread(target=stuck)
    thread.start()
    assert is_held.wait(10)
    began = time.monotonic()
    assert isinstance(rate_limit.take(bucket, 2, backlog=False), Reservation)
    assert 1.0 < time.monotonic() - began < 10
    may_go_on.set()
    thread.join()
    assert len(ended) == 1 and is_away(ended[0]), "it is tried again on a new connection"
    database.obj.close_all()


@ON_POSTGRES
def test_who_holds_the_row_in_a_reservation_loses_it_after_ten_seconds_through_a_pooler_too(settings: Any) -> None:
    from killsync.esi.rate_limit import store

    db.connect(settings.model_copy(update={"database_listen_url": settings.database_url}))
    with connection(), db.transaction():
        rows(store._lock_text(), ("any",))
        # It takes a row to evaluate what is set for its transaction.
        EsiBucket.create(name="any", account="{}")
        rows(store._lock_text(), ("any",))
        assert rows("SELECT current_setting('idle_in_transaction_session_timeout')") == [("10s",)]
    database.obj.close_all()
