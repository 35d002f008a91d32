"""Which names are wanted, and storing them. The tables of names are the to-do list: a row without a name is a task."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from peewee import Node, fn

from models.db import in_transaction
from models.expressions import locked, now
from models.fields import utcnow
from models.names import NAMED, Alliance, Character, Corporation

#: An id that ESI does not know is not asked for again for a day.
UNKNOWN_SECONDS = 86_400.0
#: How long asked-for names are left alone, so that two workers never ask for the same one.
ASKED_SECONDS = 120.0
#: Names that change are asked for again when they are this old, seconds. Types, systems and factions never.
STALE_SECONDS: dict[Any, float] = {
    Character: 30 * 86_400.0,
    Corporation: 7 * 86_400.0,
    Alliance: 7 * 86_400.0,
}
#: Rows of one statement.
_BATCH = 500

_MODELS: dict[str, Any] = {model._meta.table_name: model for model in NAMED}


def claim_unnamed(limit: int) -> list[int]:
    """Up to *limit* distinct ids without a name, due to be asked for; they are left to the caller for ASKED_SECONDS."""
    return _claim(limit, [(model, _is_unnamed(model)) for model in NAMED])


def claim_stale(limit: int) -> list[int]:
    """Up to *limit* ids whose name is old enough to be asked for again."""
    return _claim(
        limit,
        [
            (model, model.name.is_null(False) & (model.updated_at <= now(-age)) & _is_due(model))
            for model, age in STALE_SECONDS.items()
        ],
    )


def _is_due(model: Any, offset_seconds: float = 0.0) -> Any:
    return model.retry_at.is_null() | (model.retry_at <= now(offset_seconds))


def _is_unnamed(model: Any, offset_seconds: float = 0.0) -> Any:
    return model.name.is_null() & _is_due(model, offset_seconds)


def _claim(limit: int, conditions: list[tuple[Any, Node]]) -> list[int]:
    def work() -> list[int]:
        ids: set[int] = set()
        for model, condition in conditions:
            if len(ids) >= limit:
                break
            key = model._meta.primary_key
            chosen = model.select(key).where(condition).order_by(key).limit(limit - len(ids))
            claiming = model.update(retry_at=now(ASKED_SECONDS)).where(key.in_(locked(chosen, skip=True)))
            ids.update(getattr(row, key.name) for row in claiming.returning(key).namedtuples().execute())
        return sorted(ids)

    return in_transaction(work)


def store_names(names: Mapping[int, str], unknown: Iterable[int]) -> None:
    """Store what ESI answered: names by id, and the ids it does not know. Only rows that exist are touched."""
    known, not_known = sorted(names), sorted(unknown)

    def work() -> None:
        for model in NAMED:
            _store(model, known, names)
        for model in NAMED:
            _set_retry(model, not_known, UNKNOWN_SECONDS)

    in_transaction(work)


def _store(model: Any, ids: list[int], names: Mapping[int, str]) -> None:
    key, moment = model._meta.primary_key, utcnow()
    for part in _parts(ids):
        present = sorted(getattr(row, key.name) for row in model.select(key).where(key.in_(part)).namedtuples())
        if present:
            model.insert_many(
                [(number, names[number], moment, None) for number in present],
                [key, model.name, model.updated_at, model.retry_at],
            ).on_conflict(
                conflict_target=[key], preserve=[model.name, model.updated_at, model.retry_at]
            ).as_rowcount().execute()


def _set_retry(model: Any, ids: list[int], seconds: float, *conditions: Node) -> None:
    key = model._meta.primary_key
    for part in _parts(ids):
        model.update(retry_at=now(seconds)).where(key.in_(part), *conditions).execute()


def release(ids: Iterable[int], seconds: float) -> None:
    """ESI could not be asked: these names are due again in *seconds*."""
    asked_for = sorted(ids)

    def work() -> None:
        for model in NAMED:
            _set_retry(model, asked_for, seconds, model.retry_at.is_null(False))

    in_transaction(work)


def is_wanted() -> bool:
    """Whether any name is due to be asked for."""
    return any(model.select().where(_is_unnamed(model)).exists() for model in NAMED)


def is_unnamed() -> bool:
    """Whether any name that ESI has not refused is still to come, asked for or not."""
    return any(model.select().where(_is_unnamed(model, ASKED_SECONDS + 60.0)).exists() for model in NAMED)


def _parts(ids: list[int]) -> Iterator[list[int]]:
    return (ids[start : start + _BATCH] for start in range(0, len(ids), _BATCH))


def find_id(table: str, text: str) -> int | None:
    """The id that *text* is, or that is called so; None when no killmail ever mentioned a thing of that name."""
    if text.isascii() and text.isdecimal() and len(text) < 19:
        return int(text)
    model = _MODELS[table]
    key = model._meta.primary_key
    found = model.select(key).where(fn.LOWER(model.name) == fn.LOWER(text)).order_by(key).limit(1).scalar()
    return None if found is None else int(found)


def names_of(things: Iterable[tuple[str, int]]) -> dict[tuple[str, int], str]:
    """Names by (table, id), where they are known."""
    ids_of: dict[str, list[int]] = {}
    for table, number in things:
        ids_of.setdefault(table, []).append(number)
    found: dict[tuple[str, int], str] = {}
    for table, ids in ids_of.items():
        model = _MODELS[table]
        key = model._meta.primary_key
        named = model.select(key.alias("number"), model.name).where(key.in_(ids), model.name.is_null(False))
        found.update({(table, row.number): row.name for row in named.namedtuples()})
    return found
