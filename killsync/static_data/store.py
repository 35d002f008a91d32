"""Loading a build into the tables: in one transaction, so that readers see the old build or the new one and never half.

Types and systems that killmails mention and the build does not know stay as they are: they are newer than the build. Only
rows that differ are written.
"""

from __future__ import annotations

import functools
import operator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import peewee
from peewee import EXCLUDED

from killsync.static_data import catalog
from killsync.static_data.archive import Build, StaticData
from models import (
    Constellation,
    ItemCategory,
    ItemGroup,
    ItemType,
    MarketGroup,
    MetaGroup,
    Region,
    SolarSystem,
    Stargate,
    StaticDataBuild,
    StaticDataChange,
)
from models.db import database, in_transaction
from models.expressions import differs, now
from models.sql import add_rows

#: The one row of `static_data_build`.
_BUILD = 1


def load(data: StaticData) -> int:
    """Put the build in the place of the one that is loaded; the number of rows that this changed.

    Raises:
        peewee.OperationalError: the database is away; the old build stays.
    """
    return in_transaction(lambda: _load(data))


def _load(data: StaticData) -> int:
    before = catalog.read()
    number = before.load_number + 1
    changed = 0
    for whole, rows in (
        (ItemCategory, data.categories),
        (ItemGroup, data.groups),
        (MarketGroup, data.market_groups),
        (MetaGroup, data.meta_groups),
        (Region, data.regions),
        (Constellation, data.constellations),
        (Stargate, data.stargates),
    ):
        changed += _merge(whole, rows, is_whole=True)
    # In the order in which a transaction that stores killmails touches them, so that neither waits for the other in a circle.
    changed += _merge(ItemType, data.types, is_whole=False)
    changed += _merge(SolarSystem, data.systems, is_whole=False)
    _record(build_number=data.build.number, released_at=data.build.released_at, loaded_at=now())
    if changed:
        _record(load_number=number)
    # Without static data nothing was classified by it: there is no killmail that this load puts in doubt.
    if changed and len(before):
        _record_changes(number, before)
    return changed


def _record_changes(number: int, before: catalog.Catalog) -> None:
    """Remember of what this load says something new, so that the killmails which it touches are classified again."""
    changes = [(*change, number) for change in before.changes(catalog.read())]
    for some in peewee.chunked(changes, 1_000):
        StaticDataChange.insert_many(some, list(StaticDataChange._meta.sorted_fields)).on_conflict(
            conflict_target=[StaticDataChange.kind, StaticDataChange.entity_id, StaticDataChange.former_group_id],
            preserve=[StaticDataChange.load_number],
        ).execute()


#: What a table of names holds beside what a build says.
_ASKING = ("updated_at", "retry_at", "refusals")


def _merge(model: Any, rows: list[tuple[Any, ...]], *, is_whole: bool) -> int:
    """Make a table say what *rows* say; the number of rows that this changed.

    Args:
        model: the table.
        rows: values by its columns, but for those that say when and how often a name was asked for.
        is_whole: rows that the build does not have are deleted.
    """
    fields = [field for field in model._meta.sorted_fields if field.name not in _ASKING]
    keys = list(model._meta.get_primary_keys())
    # By name: a field that is compared with another makes an expression, which counts as true.
    is_key = {key.name for key in keys}
    others = [field for field in fields if field.name not in is_key]
    staged = _stage(model, fields, rows)
    values, into = [getattr(staged, field.name) for field in fields], list(fields)
    if not is_whole:
        values += [now(), peewee.Value(None), peewee.Value(0)]
        into += [model.updated_at, model.retry_at, model.refusals]
    insert = model.insert_from(staged.select(*values).where(peewee.SQL("true")), into)
    if others:
        # A build changes some hundred of fifty thousand types: rows that say the same are not written anew.
        changes = [differs(field, getattr(EXCLUDED, field.column_name)) for field in others]
        preserved = [field for field in into if field.name not in is_key]
        insert = insert.on_conflict(
            conflict_target=keys, preserve=preserved, where=functools.reduce(operator.or_, changes)
        )
    else:
        insert = insert.on_conflict_ignore()
    changed = int(insert.as_rowcount().execute())
    if is_whole:
        same = functools.reduce(operator.and_, [getattr(staged, key.name) == key for key in keys])
        changed += model.delete().where(~peewee.fn.EXISTS(staged.select(peewee.SQL("1")).where(same))).execute()
    staged.drop_table()
    return changed


def _stage(model: Any, fields: list[Any], rows: list[tuple[Any, ...]]) -> Any:
    """A temporary table that holds *rows*."""
    key = peewee.CompositeKey(*(each.name for each in model._meta.get_primary_keys()))
    meta = type("Meta", (), {"database": database, "primary_key": key, "temporary": True,
                             "table_name": f"new_{model._meta.table_name}"})  # fmt: skip
    columns = {field.name: type(field)(null=True, column_name=field.column_name) for field in fields}
    staged: Any = type(f"New{model.__name__}", (peewee.Model,), {"Meta": meta, **columns})
    staged.create_table(safe=False)
    add_rows(staged._meta.table_name, tuple(field.column_name for field in fields), rows)
    return staged


def loaded() -> Build | None:
    """The build that is loaded; None before the first."""
    row = StaticDataBuild.get_or_none(StaticDataBuild.id == _BUILD)
    return Build(row.build_number, row.released_at) if row is not None and row.build_number is not None else None


def record_newest(build_number: int) -> None:
    """CCP was asked for its newest build."""
    in_transaction(lambda: _record(newest_build_number=build_number, checked_at=now()))


@dataclass(frozen=True)
class Status:
    """Which build is loaded and since when; the newest build that CCP was heard of, and when that was."""

    build: Build | None = None
    loaded_at: datetime | None = None
    newest: int | None = None
    checked_at: datetime | None = None


def status() -> Status:
    """How the static data stands."""
    row = StaticDataBuild.get_or_none(StaticDataBuild.id == _BUILD)
    if row is None:
        return Status()
    return Status(loaded(), row.loaded_at, row.newest_build_number, row.checked_at)


def _record(**values: Any) -> None:
    fields = [getattr(StaticDataBuild, name) for name in values]
    StaticDataBuild.insert(id=_BUILD, **values).on_conflict(
        conflict_target=[StaticDataBuild.id], preserve=fields
    ).execute()
