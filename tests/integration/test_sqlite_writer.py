"""SQLite: one connection of a process writes, whichever thread it is for, and no fault of one transaction stays with it."""

from __future__ import annotations

import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import peewee
import pytest

from killsync.settings import Settings
from models import connection, schema
from models.db import database, in_transaction, transaction
from models.sql import rows, run
from tests.support.deployment import wait_until

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def path(settings: Settings) -> Path:
    return Path(settings.database_url.removeprefix("sqlite:///"))


def _count() -> int:
    with connection():
        return int(rows("SELECT count(*) FROM killmail_ref")[0][0])


def _enter(killmail_id: int) -> int:
    """Enter a killmail; which connection did."""
    with connection(), transaction():
        run("INSERT INTO killmail_ref (killmail_id, killmail_hash) VALUES (%s, %s)", (killmail_id, "ab"))
        return id(database.obj.connection())


def test_transactions_of_all_threads_share_a_connection_and_readers_have_their_own(path: Path) -> None:
    with ThreadPoolExecutor(4) as threads:
        writers = set(threads.map(_enter, range(40)))
    assert len(writers) == 1
    assert _count() == 40
    with connection():
        rows("SELECT 1")
        own = database.obj.connection()
        assert id(own) not in writers
        with transaction():
            assert database.obj.connection() is not own
        assert database.obj.connection() is own
    assert database.obj.is_closed()


def test_a_thread_without_a_connection_has_none_after_its_transaction(path: Path) -> None:
    _enter(1)
    assert database.obj.is_closed()
    in_transaction(lambda: run("DELETE FROM killmail_ref"))
    assert database.obj.is_closed()
    assert _count() == 0


def test_what_a_transaction_wrote_is_seen_inside_it_alone_until_it_ends(path: Path) -> None:
    with connection(), transaction():
        run("INSERT INTO killmail_ref (killmail_id, killmail_hash) VALUES (1, 'ab')")
        assert rows("SELECT count(*) FROM killmail_ref") == [(1,)]
        with ThreadPoolExecutor(1) as other:
            assert other.submit(_count).result() == 0
    assert _count() == 1


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, peewee.OperationalError])
def test_a_failed_transaction_leaves_nothing_and_the_next_succeeds(path: Path, error: type[BaseException]) -> None:
    def fail() -> None:
        run("INSERT INTO killmail_ref (killmail_id, killmail_hash) VALUES (1, 'ab')")
        raise error

    with pytest.raises(error), transaction():
        fail()
    with pytest.raises(peewee.IntegrityError), transaction():
        run("INSERT INTO killmail_ref (killmail_id, killmail_hash) VALUES (1, 'ab'), (1, 'ab')")
    with pytest.raises(peewee.OperationalError), transaction():
        run("INSERT INTO nowhere VALUES (1)")
    assert _count() == 0
    _enter(2)
    assert _count() == 1


def test_a_writer_that_was_left_in_a_transaction_is_replaced(path: Path) -> None:
    _enter(1)
    left = database.obj._writer
    left.execute("BEGIN")
    left.execute("DELETE FROM killmail_ref")
    _enter(2)
    assert database.obj._writer is not left
    assert _count() == 2


def test_another_file_in_its_place_is_written_to(path: Path) -> None:
    _enter(1)
    for each in path.parent.glob("killsync.db*"):
        each.rename(each.with_name(f"former-{each.name}"))
    schema.migrate()
    _enter(2)
    with sqlite3.connect(path) as other:
        assert other.execute("SELECT killmail_id FROM killmail_ref").fetchall() == [(2,)]


def test_a_child_process_opens_its_own(path: Path) -> None:
    _enter(1)
    child = os.fork()
    if not child:
        try:
            before = database.obj._writer
            _enter(2)
            os._exit(0 if database.obj._writer is not before else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    _enter(3)
    assert _count() == 3


def test_another_process_that_writes_is_waited_for(path: Path) -> None:
    _enter(1)
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    with ThreadPoolExecutor(1) as threads:
        entering = threads.submit(_enter, 2)
        wait_until(entering.running, "it waits", 10)
        other.execute("INSERT INTO killmail_ref (killmail_id, killmail_hash) VALUES (3, 'ab')")
        other.execute("COMMIT")
        entering.result(timeout=30)
    other.close()
    assert _count() == 3


def test_what_was_read_to_its_half_holds_no_page_back(path: Path) -> None:
    with connection(), transaction():
        run("INSERT INTO killmail_ref (killmail_id, killmail_hash) VALUES (1, 'ab'), (2, 'cd'), (3, 'ef')")
        assert database.execute_sql("SELECT killmail_id FROM killmail_ref").fetchone() is not None
    with sqlite3.connect(path) as other:
        busy, *_ = other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    other.close()
    assert busy == 0
    assert path.with_name("killsync.db-wal").stat().st_size == 0
