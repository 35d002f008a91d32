"""Statements written as SQL text, for what Peewee cannot say or what is measured to matter."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import peewee

from models.db import database, is_postgres
from models.expressions import either
from models.work import CURRENT

#: Rows that are read between two looks at what the operation may still read.
ROWS_AT_A_TIME = 1_000
#: So many rows PostgreSQL takes by INSERT in less time than by COPY, which is one question and answer more.
FEW_ROWS = 8


def rows(sql: str, parameters: Any = ()) -> list[tuple[Any, ...]]:
    """Run one statement written with `%s` placeholders and fetch all it returns, on either database."""
    cursor = _execute(sql, parameters)
    return cursor.fetchall() if cursor.description else []


def each_tuple(cursor: Any) -> Iterator[tuple[Any, ...]]:
    """Each row of a cursor as the database gives it: a moment is text on SQLite (`from_any` reads it).

    For pages of killmails, which have thousands of values that need no conversion: Peewee's own rows take three times
    as long there, and all of a great page at once are 30 MB. On behalf of an operation (`models.work.CURRENT`) the rows
    are counted while they are read.
    """
    work = CURRENT.get()
    while some := cursor.fetchmany(ROWS_AT_A_TIME):
        if work is not None:
            work.read(len(some))
        yield from some


def each_row(cursor: Any) -> Iterator[dict[str, Any]]:
    """The same by column. What is made of many rows, such as attackers, takes a third less from tuples."""
    names = [column[0] for column in cursor.description]
    for row in each_tuple(cursor):
        yield dict(zip(names, row, strict=True))


def run(sql: str, parameters: Any = ()) -> int:
    """Run one statement written with `%s` placeholders; the number of rows it touched."""
    return int(_execute(sql, parameters).rowcount)


def _execute(sql: str, parameters: Any) -> Any:
    return database.execute_sql(sql if is_postgres() else sql.replace("%s", "?"), tuple(parameters))


def sql_now(offset_seconds: float = 0.0) -> str:
    """SQL for the database's own clock, moved by an offset: hosts whose clocks differ still agree on what is due.

    On PostgreSQL it is the moment the statement began: unlike `clock_timestamp()` that can be looked up in an index.
    """
    moved = f" + interval '1 second' * {float(offset_seconds)!r}" if offset_seconds else ""
    return either(
        postgres=f"(statement_timestamp(){moved})",
        sqlite=f"strftime('%Y-%m-%d %H:%M:%f000+00:00', 'now', '{float(offset_seconds):+.3f} seconds')",
    )


def insert_rows(table: str, columns: tuple[str, ...], values: list[tuple[Any, ...]], suffix: str = "") -> Any:
    """One multi-row INSERT; the cursor. *suffix* is an ON CONFLICT or RETURNING clause."""
    one = f"({', '.join(['%s'] * len(columns))})"
    sql = f"INSERT INTO {table} ({', '.join(columns)}) VALUES {', '.join([one] * len(values))} {suffix}"
    return _execute(sql, [value for row in values for value in row])


def add_rows(
    table: str, columns: tuple[str, ...], values: list[tuple[Any, ...]], *, without_texts: bool = False
) -> None:
    """Add any number of rows that cannot be there yet, in the cheapest way each database has.

    *without_texts*: there are only numbers and moments in them, none of which COPY could misread. That takes a third of the time.
    """
    if not values:
        return
    if is_postgres():
        if len(values) <= FEW_ROWS:
            insert_rows(table, columns, values)
            return
        if without_texts:
            line, nothing = "\t".join(["%s"] * len(columns)) + "\n", "None"
            text = "".join([line % row for row in values])
        else:
            text, nothing = "".join("\t".join(map(_copied, row)) + "\n" for row in values), "\\N"
        with peewee.__exception_wrapper__:  # type: ignore[attr-defined]
            database.cursor().copy_expert(
                f"COPY {table} ({', '.join(columns)}) FROM STDIN (NULL '{nothing}')", io.StringIO(text)
            )
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
