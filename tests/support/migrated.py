"""Databases with the schema of the code and nothing stored, without running its migrations for each.

PostgreSQL takes longer to make and to drop a database, with a thousand files, than most tests take. So a database that a test
is done with is emptied and given to a later one under another name: who still has the old one finds nothing there. One whose
catalog is not as the migrations left it, or that somebody ran ANALYZE on, is dropped.
"""

from __future__ import annotations

import atexit
import contextlib
import io
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import psycopg2

from tests.support.resources import PROJECT, create_database, drop_database, new_name, statement, url_of

_free: list[str] = []

#: What there is besides rows: tables and what is known of their size, columns, indexes, constraints, triggers, settings.
_CATALOG = """
    WITH ours AS (SELECT * FROM pg_class WHERE relnamespace = 'public'::regnamespace)
    SELECT md5(string_agg(line, '|' ORDER BY line)) FROM (
        SELECT concat_ws(',', relname, relkind, relpersistence, reloptions::text,
                         CASE WHEN relkind = 'r' THEN reltuples END) AS line FROM ours
        UNION ALL SELECT concat_ws(',', relname, attnum, attname, atttypid, attnotnull, atthasdef, attstattarget)
                  FROM pg_attribute JOIN ours ON ours.oid = attrelid WHERE attnum > 0
        UNION ALL SELECT concat_ws(',', relname, pg_get_expr(adbin, adrelid)) FROM pg_attrdef JOIN ours ON ours.oid = adrelid
        UNION ALL SELECT pg_get_indexdef(indexrelid) || indisvalid FROM pg_index JOIN ours ON ours.oid = indexrelid
        UNION ALL SELECT conname || pg_get_constraintdef(oid) FROM pg_constraint
                  WHERE connamespace = 'public'::regnamespace
        UNION ALL SELECT concat_ws(',', relname, tgname, tgenabled) FROM pg_trigger JOIN ours ON ours.oid = tgrelid
                  WHERE NOT tgisinternal
        UNION ALL SELECT proname || prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace
        UNION ALL SELECT nspname FROM pg_namespace WHERE nspname NOT LIKE 'pg\\_%'
        UNION ALL SELECT concat_ws(',', 'statistics', count(*)) FROM pg_statistic JOIN ours ON ours.oid = starelid
        UNION ALL SELECT setconfig::text FROM pg_db_role_setting
                  WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
    ) AS lines
"""
_TABLES = (
    "SELECT format('%I', relname), pg_relation_size(oid) FROM pg_class "
    "WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
)
_SEQUENCES = (
    "SELECT format('%I', sequencename), coalesce(last_value, start_value), last_value IS NOT NULL "
    "FROM pg_sequences WHERE schemaname = 'public'"
)
#: PostgreSQL plans for a table that it knows nothing of as if it had ten pages, unless there are more.
_TEN_PAGES = 10 * 8192


class _Template:
    """A migrated database that nobody connects to, and how it differs from one without rows."""

    def __init__(self, name: str) -> None:
        self.name, url = name, url_of(name)
        migrate(url)
        with contextlib.closing(psycopg2.connect(url)) as server:
            cursor = server.cursor()
            self.catalog = _value(cursor, _CATALOG)
            cursor.execute(_TABLES)
            self.rows: dict[str, str] = {}
            for table, size in cursor.fetchall():
                if size:
                    held = io.StringIO()
                    cursor.copy_expert(f"COPY {table} TO STDOUT", held)
                    self.rows[table] = held.getvalue()
            self.sequences = _sequences(cursor)

    def restore(self, url: str) -> bool:
        """Make the database at *url* like this one, unless more than its rows is different."""
        with contextlib.closing(psycopg2.connect(url)) as server, server:
            cursor = server.cursor()
            if _value(cursor, _CATALOG) != self.catalog:
                return False
            cursor.execute(_TABLES)
            sizes = cursor.fetchall()
            if grown := [table for table, size in sizes if size > _TEN_PAGES]:
                cursor.execute(f"TRUNCATE {', '.join(grown)} CASCADE")
            # In one statement: references are looked at behind it, when none is left.
            filled = [table for table, size in sizes if size and table not in grown]
            deletes = ", ".join(f"d{number} AS (DELETE FROM {table})" for number, table in enumerate(filled))
            cursor.execute(f"WITH {deletes} SELECT 1")
            for table, held in self.rows.items():
                cursor.copy_expert(f"COPY {table} FROM STDIN", io.StringIO(held))
            for sequence, state in _sequences(cursor).items():
                if state != self.sequences[sequence]:
                    cursor.execute("SELECT setval(%s, %s, %s)", (sequence, *self.sequences[sequence]))
        return True


def _value(cursor: Any, sql: str) -> Any:
    cursor.execute(sql)
    return cursor.fetchone()[0]


def _sequences(cursor: Any) -> dict[str, tuple[int, bool]]:
    """Where each sequence stands, and whether it gave that number to somebody."""
    cursor.execute(_SEQUENCES)
    return {name: (last, is_given) for name, last, is_given in cursor.fetchall()}


def migrate(url: str) -> None:
    """What `killsync migrate` does, in a process of its own: the models of this one may be in use."""
    code = "import sys; from tests.support.process import begin, end, settings_for; begin(settings_for(sys.argv[1])); end()"
    subprocess.run([sys.executable, "-c", code, url], cwd=PROJECT, check=True, timeout=120)


@cache
def _template() -> _Template:
    name = create_database()
    atexit.register(drop_database, name)
    return _Template(name)


@cache
def _file() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="killsync-test-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    migrate(f"sqlite:///{folder / 'killsync.db'}")
    return folder / "killsync.db"


def sqlite(path: Path) -> str:
    """The URL of a new database in the file *path*."""
    shutil.copyfile(_file(), path)
    return f"sqlite:///{path}"


@contextlib.contextmanager
def postgres() -> Iterator[str]:
    """The URL of a database of PostgreSQL."""
    template = _template()
    name = _free.pop() if _free else create_database(template.name)
    try:
        yield url_of(name)
    finally:
        _give_back(template, name)


def _give_back(template: _Template, name: str) -> None:
    later = new_name()
    try:
        statement(
            f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{name}'",
            f"ALTER DATABASE {name} RENAME TO {later}",
        )
    except psycopg2.OperationalError:  # somebody connected meanwhile
        drop_database(name)
        return
    if template.restore(url_of(later)):
        _free.append(later)
    else:
        drop_database(later)


@atexit.register
def _drop_all() -> None:
    while _free:
        drop_database(_free.pop())
