"""Which names are wanted, and storing them. The tables of names are the to-do list: a row without a name is a task."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from models.db import in_transaction, is_postgres
from models.fields import to_text, utcnow
from models.names import NAME_KEYS
from models.sql import insert_rows, rows, run, sql_now

#: An id that ESI does not know is not asked for again for a day.
UNKNOWN_SECONDS = 86_400.0
#: How long asked-for names are left alone, so that two workers never ask for the same one.
ASKED_SECONDS = 120.0
#: Names that change are asked for again when they are this old, seconds. Types, systems and factions never.
STALE_SECONDS = {"character": 30 * 86_400.0, "corporation": 7 * 86_400.0, "alliance": 7 * 86_400.0}


def claim_unnamed(limit: int) -> list[int]:
    """Up to *limit* distinct ids without a name, due to be asked for; they are left to the caller for ASKED_SECONDS."""
    return _claim(limit, dict.fromkeys(NAME_KEYS, "name IS NULL AND (retry_at IS NULL OR retry_at <= {now})"))


def claim_stale(limit: int) -> list[int]:
    """Up to *limit* ids whose name is old enough to be asked for again."""
    conditions = {
        table: f"name IS NOT NULL AND updated_at <= {sql_now(-age)} AND (retry_at IS NULL OR retry_at <= {{now}})"
        for table, age in STALE_SECONDS.items()
    }
    return _claim(limit, conditions)


def _claim(limit: int, conditions: Mapping[str, str]) -> list[int]:
    lock = "FOR UPDATE SKIP LOCKED" if is_postgres() else ""

    def work() -> list[int]:
        ids: set[int] = set()
        for table, condition in conditions.items():
            if len(ids) >= limit:
                break
            key = NAME_KEYS[table]
            where = condition.format(now=sql_now())
            sql = (
                f"UPDATE {table} SET retry_at = {sql_now(ASKED_SECONDS)} WHERE {key} IN ("
                f"SELECT {key} FROM {table} WHERE {where} ORDER BY {key} LIMIT %s {lock}) RETURNING {key}"
            )
            ids.update(number for (number,) in rows(sql, (limit - len(ids),)))
        return sorted(ids)

    return in_transaction(work)


def store_names(names: Mapping[int, str], unknown: Iterable[int]) -> None:
    """Store what ESI answered: names by id, and the ids it does not know. Only rows that exist are touched."""
    now = to_text(utcnow())

    def work() -> None:
        for table, key in NAME_KEYS.items():
            _store(table, key, sorted(names), dict(names), now)
        for table, key in NAME_KEYS.items():
            for part in _parts(sorted(unknown)):
                run(
                    f"UPDATE {table} SET retry_at = {sql_now(UNKNOWN_SECONDS)} WHERE {key} IN ({_marks(part)})",
                    part,
                )

    in_transaction(work)


def _store(table: str, key: str, ids: list[int], names: dict[int, str], now: str) -> None:
    for part in _parts(ids):
        present = [number for (number,) in rows(f"SELECT {key} FROM {table} WHERE {key} IN ({_marks(part)})", part)]
        if present:
            insert_rows(
                table,
                (key, "name", "updated_at", "retry_at"),
                [(number, names[number], now, None) for number in sorted(present)],
                f"ON CONFLICT ({key}) DO UPDATE SET name = excluded.name, updated_at = excluded.updated_at, "
                "retry_at = NULL",
            )


def release(ids: Iterable[int], seconds: float) -> None:
    """ESI could not be asked: these names are due again in *seconds*."""

    def work() -> None:
        for table, key in NAME_KEYS.items():
            for part in _parts(sorted(ids)):
                run(
                    f"UPDATE {table} SET retry_at = {sql_now(seconds)} "
                    f"WHERE {key} IN ({_marks(part)}) AND retry_at IS NOT NULL",
                    part,
                )

    in_transaction(work)


def is_wanted() -> bool:
    """Whether any name is due to be asked for."""
    return any(
        rows(f"SELECT 1 FROM {table} WHERE name IS NULL AND (retry_at IS NULL OR retry_at <= {sql_now()}) LIMIT 1")
        for table in NAME_KEYS
    )


def _parts(ids: list[int], size: int = 500) -> list[list[int]]:
    return [ids[start : start + size] for start in range(0, len(ids), size)]


def _marks(part: list[int]) -> str:
    return ", ".join(["%s"] * len(part))


def is_unnamed() -> bool:
    """Whether any name that ESI has not refused is still to come, asked for or not."""
    soon = sql_now(ASKED_SECONDS + 60.0)
    return any(
        rows(f"SELECT 1 FROM {table} WHERE name IS NULL AND (retry_at IS NULL OR retry_at <= {soon}) LIMIT 1")
        for table in NAME_KEYS
    )


def find_id(table: str, text: str) -> int | None:
    """The id that *text* is, or that is called so; None when no killmail ever mentioned a thing of that name."""
    if text.isascii() and text.isdecimal() and len(text) < 19:
        return int(text)
    key = NAME_KEYS[table]
    found = rows(f"SELECT {key} FROM {table} WHERE lower(name) = lower(%s) ORDER BY {key} LIMIT 1", (text,))
    return int(found[0][0]) if found else None


def names_of(things: Iterable[tuple[str, int]]) -> dict[tuple[str, int], str]:
    """Names by (table, id), where they are known."""
    wanted: dict[str, list[int]] = {}
    for table, number in things:
        wanted.setdefault(table, []).append(number)
    return {
        (table, number): name
        for table, ids in wanted.items()
        for number, name in rows(
            f"SELECT {NAME_KEYS[table]}, name FROM {table} WHERE {NAME_KEYS[table]} IN ({_marks(ids)}) AND name IS NOT NULL",
            ids,
        )
    }
