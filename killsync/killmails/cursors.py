"""Cursors of pages of killmails: a place in time, written as text that means nothing to clients. Pure."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from datetime import UTC, datetime

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


def cursor_of(killmail: Killmail | KillmailSummary) -> str:
    """The cursor behind *killmail*: its place in time, so it stays true while newer killmails arrive."""
    text = f"{to_text(killmail.killmail_time)}|{killmail.killmail_id}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read_cursor(cursor: str) -> Place:
    """The place that `cursor_of` wrote.

    Raises:
        BadCursor: it is not one of ours.
    """
    try:
        text = base64.urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4)).decode()
        moment, _, number = text.partition("|")
        time = datetime.fromisoformat(moment)
        if time.tzinfo is None or len(cursor) > _MOST_CHARACTERS:
            raise ValueError
        # In UTC: the first and last days of the calendar do not have every offset.
        place = Place(time.astimezone(UTC), int(number))
        if not 0 <= place.killmail_id < 2**63:
            raise ValueError
        return place
    except (ValueError, OverflowError, binascii.Error):
        raise BadCursor("this cursor is not one of this server's") from None
