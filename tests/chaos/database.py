"""Faults of the database: PostgreSQL restarted, killed, full of connections, deadlocked, without room; SQLite locked."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from pathlib import Path

import psycopg2
import psycopg2.errors

from tests.chaos.play import Fault, Stage

CUT = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
    "AND pid <> pg_backend_pid() AND application_name = 'killsync'"
)


def restarted(stage: Stage) -> None:
    assert stage.postgres is not None
    stage.postgres.stop("fast")
    time.sleep(5)
    stage.postgres.start()


def crashed(stage: Stage) -> None:
    assert stage.postgres is not None
    for _ in range(2):
        stage.postgres.restart("immediate")
        time.sleep(2)


def connections_killed(stage: Stage) -> None:
    for _ in range(4):
        stage.world.sql(CUT)
        time.sleep(0.7)


def out_of_connections(stage: Stage) -> None:
    """Take every connection there is while the processes lose theirs."""
    assert stage.postgres is not None
    taken = []
    until = time.monotonic() + 8
    while time.monotonic() < until:
        try:
            taken.append(psycopg2.connect(stage.postgres.url()))
        except psycopg2.OperationalError:
            with contextlib.suppress(psycopg2.Error):
                taken[0].autocommit = True
                taken[0].cursor().execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'killsync'"
                )
            time.sleep(0.1)
    for each in taken:
        each.close()
    assert len(taken) > 20


def deadlocks(stage: Stage) -> None:
    """Lock names first and ledger rows second, against the order of every transaction of Killsync's, until it has cost
    somebody a transaction."""
    world = stage.world
    url = world.settings["DATABASE_URL"]
    until = time.monotonic() + 12
    ours = 0
    while time.monotonic() < until:
        rows = [
            n
            for (n,) in world.sql(
                "SELECT killmail_id FROM killmail_ref WHERE state = 'pending' AND sent_at IS NOT NULL"
            )
        ]
        if not rows:
            time.sleep(0.1)
            continue
        database = psycopg2.connect(url)
        try:
            cursor = database.cursor()
            cursor.execute("SET deadlock_timeout = '5s'")  # so that it is the other side that is cut
            cursor.execute("LOCK TABLE victim IN EXCLUSIVE MODE")
            time.sleep(0.2)
            for number in rows[:20]:
                cursor.execute("UPDATE killmail_ref SET lane = lane WHERE killmail_id = %s", (number,))
        except psycopg2.errors.DeadlockDetected:
            ours += 1
        finally:
            database.rollback()
            database.close()
        time.sleep(0.3)
    found = world.sql("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")[0][0]
    assert found > ours, f"{found} deadlocks, {ours} of them cut us"


def sqlite_locked(stage: Stage) -> None:
    """Hold SQLite's write lock for longer than the processes wait for it."""
    path = stage.world.settings["DATABASE_URL"].removeprefix("sqlite:///")
    with contextlib.closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        time.sleep(40)
        database.execute("ROLLBACK")


def no_room(stage: Stage) -> None:
    """Fill the small file system to its last byte, for a while."""
    filler = stage.folder / "database" / "filler"
    stop = threading.Event()

    def fill() -> None:
        with filler.open("wb", buffering=0) as file:
            while not stop.is_set():
                with contextlib.suppress(OSError):
                    file.write(b"0" * 4096)
                    continue
                time.sleep(0.01)

    thread = threading.Thread(target=fill)
    thread.start()
    time.sleep(12)
    complaints = _complaints(stage.folder)
    stop.set()
    thread.join()
    filler.unlink()
    assert complaints, "nobody met the full disk"


def _complaints(folder: Path) -> int:
    said = "".join(log.read_text(errors="replace") for log in folder.glob("*.log")).lower()
    return said.count("no space left") + said.count("disk is full") + said.count("does not answer")


FAULTS = (
    Fault("PostgreSQL restarted", "every process reconnects by itself", "pg_ctl stop, 5 s, start", restarted,
          services="own"),
    Fault("PostgreSQL crashed", "what was committed is there", "immediate shutdown and recovery, twice", crashed,
          services="own"),
    Fault("connections to PostgreSQL killed", "every process reconnects by itself", "pg_terminate_backend, four times",
          connections_killed),
    Fault("PostgreSQL out of connections", "waits and goes on", "every connection taken for 8 s", out_of_connections,
          services="own"),
    Fault("deadlocks", "the same transaction again", "tables and rows locked against the order of all transactions",
          deadlocks, services="own"),
    Fault("SQLite locked", "waits and goes on", "write lock held for 40 s; all processes on one SQLite file",
          sqlite_locked, database="sqlite", seconds=120),
    Fault("disk full under PostgreSQL", "waits and goes on", "tablespace on a tmpfs filled for 12 s", no_room,
          services="own", database="small postgres"),
    Fault("disk full under SQLite", "waits and goes on", "file on a tmpfs filled for 12 s", no_room,
          database="small sqlite"),
)  # fmt: skip
