"""Cursors of pages of killmails: a place in the order of time or of value, as text that means nothing to clients. Pure."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from killsync.killmails.killmail import Killmail, KillmailSummary
from models.fields import to_text

_MOST_CHARACTERS = 200


class BadCursor(ValueError):
    """A cursor that this server did not make."""


@dataclass(frozen=True)
class Place:
    """Where a page ends: behind this killmail, newest first."""

    killmail_time: datetime
    killmail_id: int


@dataclass(frozen=True)
class ValuePlace:
    """Where a page ends that is ordered by value: behind this killmail of this total value, ISK, the dearest first."""

    total_value: Decimal
    killmail_id: int


_BY_VALUE = "value"


def value_cursor_of(killmail: Killmail) -> str:
    """The cursor behind *killmail* in the order of value. It keeps its place, whatever is valued anew meanwhile."""
    return _encoded(f"{_BY_VALUE}|{killmail.total_value}|{killmail.killmail_id}")


def read_value_cursor(cursor: str) -> ValuePlace:
    """The place that `value_cursor_of` wrote.

    Raises:
        BadCursor: it is not one of ours, or one of another order.
    """
    try:
        word, value, number = _decoded(cursor).split("|")
        place = ValuePlace(Decimal(value), int(number))
        if word != _BY_VALUE or not 0 <= place.total_value < 10**19 or not 0 <= place.killmail_id < 2**63:
            raise ValueError
        return place
    except (ValueError, ArithmeticError, binascii.Error):
        raise BadCursor("this cursor is not one of this server's for this order") from None


def cursor_of(killmail: Killmail | KillmailSummary) -> str:
    """The cursor behind *killmail*: its place in time, so it stays true while newer killmails arrive."""
    text = f"{to_text(killmail.killmail_time)}|{killmail.killmail_id}"
    return _encoded(text)


def _encoded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _decoded(cursor: str) -> str:
    if len(cursor) > _MOST_CHARACTERS:
        raise ValueError
    return base64.urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4)).decode()


def read_cursor(cursor: str) -> Place:
    """The place that `cursor_of` wrote.

    Raises:
        BadCursor: it is not one of ours.
    """
    try:
        moment, _, number = _decoded(cursor).partition("|")
        time = datetime.fromisoformat(moment)
        if time.tzinfo is None:
            raise ValueError
        # In UTC: the first and last days of the calendar do not have every offset.
        place = Place(time.astimezone(UTC), int(number))
        if not 0 <= place.killmail_id < 2**63:
            raise ValueError
        return place
    except (ValueError, OverflowError, binascii.Error):
        raise BadCursor("this cursor is not one of this server's") from None
