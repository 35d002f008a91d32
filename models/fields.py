"""The base of every table, the type of a moment, and moments as either database writes them."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

from peewee import Field, Model

from models.db import database


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


class IskField(Field):
    """An amount of ISK: `numeric` on PostgreSQL; SQLite keeps fractions as doubles. Written as text, which both read exactly."""

    field_type = "NUMERIC"

    def db_value(self, value: Any) -> Any:
        return str(value) if isinstance(value, Decimal) else value


class BaseModel(Model):
    """Every table of Killsync."""

    class Meta:
        database = database
        legacy_table_names = False


def utcnow() -> datetime:
    """The moment, aware, in UTC."""
    return datetime.now(UTC)


def to_text(moment: datetime) -> str:
    """*moment* as text of fixed width whose order is the order of time, for either database."""
    return moment.astimezone(UTC).isoformat(sep=" ", timespec="microseconds")


@lru_cache(maxsize=16)
def span_text(number: int, seconds: int) -> str:
    """The start of the span *number* of *seconds*, counted from 1970, as `to_text` writes it: the minute and the hour of now
    are asked for with each request to ESI."""
    return to_text(datetime.fromtimestamp(number * seconds, UTC))


#: A moment that every clock agrees has passed: for what is due at once, whatever this host's clock says.
LONG_AGO = to_text(datetime(2000, 1, 1, tzinfo=UTC))


def from_any(value: datetime | str | None) -> datetime | None:
    """A moment read by plain SQL, which PostgreSQL gives as datetime and SQLite as text."""
    return UtcDateTimeField().python_value(value)


def moment(value: datetime | str) -> datetime:
    """The same for a moment that is always there."""
    found = from_any(value)
    assert found is not None
    return found
