"""Which names are wanted, and storing them. The tables of names are the to-do list: a row without a name is a task."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from peewee import Case, Node, Select, Value, fn

from models.db import in_transaction
from models.exactly_once import in_transaction_once
from models.expressions import folded, locked, now
from models.fields import utcnow
from models.killmails import Attacker, Killmail, Victim
from models.names import NAMED, Alliance, Character, Corporation, ItemType, SolarSystem
from models.prepared import Prepared
from models.static_data import Constellation, ItemCategory, ItemGroup, Region

T = TypeVar("T")

#: An id that ESI refuses to name is asked for again after so many seconds: the first time, the second, and from then on.
#: A character is not named for an hour after it is born, and now and then one is refused for no reason.
REFUSED_SECONDS = (3_600.0, 21_600.0, 86_400.0)
#: The killmails whose victims and final blows are the most wanted names: those that people look at.
NEWEST_KILLMAILS = 200
#: How long asked-for names are left alone, so that two workers never ask for the same one.
ASKED_SECONDS = 120.0
#: Names that change are asked for again when they are this old, seconds. Types, systems and factions never.
STALE_SECONDS: dict[Any, float] = {
    Character: 30 * 86_400.0,
    Corporation: 7 * 86_400.0,
    Alliance: 7 * 86_400.0,
}
#: What the static data has of a kind is never asked of ESI: this column says of each thing whether it has.
_OF_BUILD: dict[Any, Any] = {ItemType: ItemType.group_id, SolarSystem: SolarSystem.region_id}
#: Rows of one statement.
_BATCH = 500
#: No name in EVE is longer.
MOST_NAME = 100

#: Ids by the table that they are of.
Claimed = dict[Any, list[int]]

#: Tables of names; those of the last four come from the static data alone.
_MODELS: dict[str, Any] = {
    model._meta.table_name: model for model in (*NAMED, ItemGroup, ItemCategory, Constellation, Region)
}


def model_of(name: str) -> Any:
    """The table called *name*."""
    return _MODELS[name]


def name_of(model: Any) -> str:
    """How a table is called."""
    return str(model._meta.table_name)


def claim_unnamed(limit: int, *, without: Iterable[str] = ()) -> Claimed:
    """Up to *limit* ids without a name, due to be asked for, by table; they are left to the caller for ASKED_SECONDS.

    What ESI refused before comes by itself, when nothing else is due: one such id may fail a whole request.
    """
    kinds = _without(without)
    return _claim(limit, [(model, _is_unnamed(model) & (model.refusals == 0)) for model in kinds]) or _claim(
        limit, [(model, _is_unnamed(model)) for model in kinds]
    )


def claim_stale(limit: int, *, without: Iterable[str] = ()) -> Claimed:
    """Up to *limit* ids whose name is old enough to be asked for again."""
    return _claim(
        limit,
        [
            (model, model.name.is_null(False) & (model.updated_at <= now(-STALE_SECONDS[model])) & _is_due(model))
            for model in _without(without)
            if model in STALE_SECONDS
        ],
    )


def claim_most_wanted(model: Any, limit: int) -> list[int]:
    """Up to *limit* ids of one table to be asked for one by one: those on the newest killmails first, then the newest."""
    key = model._meta.primary_key
    newest = Killmail.select(Killmail.killmail_id).order_by(Killmail.killmail_id.desc()).limit(NEWEST_KILLMAILS)
    numbers = [row.killmail_id for row in newest]
    shown: list[int] = []
    for side in (Victim, Attacker):
        field = getattr(side, key.name)
        of_newest = side.select(side.killmail_id, field.alias("number")).where(
            side.killmail_id.in_(numbers) & field.is_null(False)
        )
        if side is Attacker:
            of_newest = of_newest.where(Attacker.final_blow)
        found: list[Any] = sorted(of_newest.namedtuples(), key=lambda row: -row.killmail_id)
        shown += [row.number for row in found]
    first = _claim(limit, [(model, _is_unnamed(model) & key.in_(list(dict.fromkeys(shown))[:_BATCH]))]).get(model, [])
    if len(first) < limit:
        rest = _claim(limit - len(first), [(model, _is_unnamed(model) & (model.refusals == 0))], newest_first=True)
        first += rest.get(model, [])
    if len(first) < limit:
        first += _claim(limit - len(first), [(model, _is_unnamed(model))]).get(model, [])
    return first


def _without(names: Iterable[str]) -> list[Any]:
    left_out = set(names)
    return [model for model in NAMED if name_of(model) not in left_out]


def _is_due(model: Any, offset_seconds: float = 0.0) -> Any:
    return model.retry_at.is_null() | (model.retry_at <= now(offset_seconds))


def _is_unnamed(model: Any, offset_seconds: float = 0.0) -> Any:
    return model.name.is_null() & _is_esis(model) & _is_due(model, offset_seconds)


def _is_esis(model: Any) -> Any:
    """That ESI alone can name a thing."""
    return _OF_BUILD[model].is_null() if model in _OF_BUILD else Value(1) == 1


def _claim(limit: int, conditions: list[tuple[Any, Node]], *, newest_first: bool = False) -> Claimed:
    def work() -> Claimed:
        claimed: Claimed = {}
        left = limit
        for model, condition in conditions:
            if left <= 0:
                break
            key = model._meta.primary_key
            chosen = model.select(key).where(condition).order_by(key.desc() if newest_first else key).limit(left)
            claiming = model.update(retry_at=now(ASKED_SECONDS)).where(key.in_(locked(chosen, skip=True)))
            ids = sorted(getattr(row, key.name) for row in claiming.returning(key).namedtuples().execute())
            if ids:
                claimed[model] = ids
                left -= len(ids)
        return claimed

    return in_transaction_once(work)


def store_names(names: Mapping[int, str]) -> None:
    """Store what ESI answered, names by id. Only rows that exist are touched."""
    known = sorted(names)

    def work() -> None:
        for model in NAMED:
            _store(model, known, names)

    in_transaction(work)


def _store(model: Any, ids: list[int], names: Mapping[int, str]) -> None:
    key, moment = model._meta.primary_key, utcnow()
    for part in _parts(ids):
        present = sorted(getattr(row, key.name) for row in model.select(key).where(key.in_(part)).namedtuples())
        if present:
            model.insert_many(
                [(number, names[number], moment, None, 0) for number in present],
                [key, model.name, model.updated_at, model.retry_at, model.refusals],
            ).on_conflict(
                conflict_target=[key], preserve=[model.name, model.updated_at, model.retry_at, model.refusals]
            ).as_rowcount().execute()


def refuse(model: Any, ids: Iterable[int]) -> None:
    """ESI refused to name these, each by itself: they are asked for again after an hour, six hours, then once a day."""
    key, refused = model._meta.primary_key, sorted(ids)
    *early, last = REFUSED_SECONDS
    due = Case(model.refusals, [(number, now(seconds)) for number, seconds in enumerate(early)], now(last))

    def work() -> None:
        for part in _parts(refused):
            model.update(refusals=model.refusals + 1, retry_at=due).where(key.in_(part)).execute()

    in_transaction_once(work)


def _set_retry(model: Any, ids: list[int], seconds: float) -> None:
    key = model._meta.primary_key
    for part in _parts(ids):
        model.update(retry_at=now(seconds)).where(key.in_(part), model.retry_at.is_null(False)).execute()


def release(claimed: Claimed, seconds: float) -> None:
    """ESI could not be asked: these names are due again in *seconds*."""

    def work() -> None:
        for model in NAMED:
            _set_retry(model, sorted(claimed.get(model, ())), seconds)

    in_transaction(work)


def ask_again(model: Any) -> None:
    """ESI names this kind again: all that it refused meanwhile is due at once."""
    waits: Any = model.name.is_null() & (model.retry_at > now())
    in_transaction(model.update(retry_at=now()).where(waits).execute)


def known_id(model: Any, besides: Sequence[int]) -> int | None:
    """An id that ESI has named, the oldest of its kind: a new one may not be named in bulk yet."""
    key = model._meta.primary_key
    named = model.select(key).where(model.name.is_null(False) & _is_esis(model)).order_by(key).limit(len(besides) + 1)
    found = [getattr(row, key.name) for row in named.namedtuples()]
    return next((number for number in found if number not in set(besides)), None)


def any_id(model: Any) -> int | None:
    """An id of this kind, whatever is known of it."""
    key = model._meta.primary_key
    found: int | None = model.select(key).where(_is_esis(model)).order_by(key).limit(1).scalar()
    return found


def is_wanted(*, without: Iterable[str] = ()) -> bool:
    """Whether any name is due to be asked for."""
    return any(_due(model, 1) for model in _without(without))


def count_due(most: int) -> int:
    """How many names are due to be asked for, counted up to *most*."""
    found = 0
    for model in NAMED:
        if found < most:
            found += _due(model, most - found)
    return found


def _due(model: Any, most: int) -> int:
    ((number,),) = _COUNT_DUE[model].rows(most)
    return int(number)


def _count_due(model: Any, most: Any) -> Select:
    due = model.select(model._meta.primary_key).where(_is_unnamed(model)).limit(most)
    return Select([due.alias("due")], [fn.COUNT(Value(1))])


_COUNT_DUE = {model: Prepared(partial(_count_due, model), lists=0, values=1) for model in NAMED}


def count_unnamed() -> int:
    """Names that are not known and that ESI is asked for."""
    return sum(model.select().where(model.name.is_null() & _is_esis(model)).count() for model in NAMED)


def is_unnamed() -> bool:
    """Whether any name that ESI has not refused is still to come, asked for or not."""
    return any(model.select().where(_is_unnamed(model, ASKED_SECONDS + 60.0)).exists() for model in NAMED)


def _parts(given: list[T]) -> Iterator[list[T]]:
    return (given[start : start + _BATCH] for start in range(0, len(given), _BATCH))


def find_ids(table: str, texts: Iterable[str]) -> dict[str, int]:
    """The ids that *texts* are, or that are called so, by text; what no killmail ever mentioned is left out."""
    asked = dict.fromkeys(texts)
    found = {text: int(text) for text in asked if text.isascii() and text.isdecimal() and len(text) < 19}
    names = [text for text in asked if text not in found and len(text) <= MOST_NAME]
    model = _MODELS[table]
    key = model._meta.primary_key
    by_name: dict[str, int] = {}
    for part in _parts(names):
        # As the index of names has them: to look at every name of a table for each text took a form nine seconds.
        called = model.select(key.alias("number"), model.name).where(
            folded(model.name).in_([text.lower() for text in part])
        )
        for row in called.order_by(key).namedtuples():
            by_name.setdefault(row.name.lower(), row.number)
    return found | {text: by_name[text.lower()] for text in names if text.lower() in by_name}


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
