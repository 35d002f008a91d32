"""What ESI answers, as the client hands it on, and the reading of its headers. Nothing is sent here."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from killsync.esi import errors
from killsync.esi.clock import Clock
from killsync.esi.errors import Cost
from killsync.esi.schemas import Price, ServedKillmail
from models.fields import utcnow


@dataclass(frozen=True)
class Answer:
    """A response that arrived whole: status, lower-cased headers, body, and what it cost."""

    status: int
    headers: dict[str, str]
    body: bytes
    cost: Cost


@dataclass(frozen=True)
class ListAnswer:
    """A page of killmails/recent. `not_modified`: the page is as it was (304); `past_end`: there is no such page."""

    refs: list[tuple[int, str]]
    pages: int | None
    etag: str | None
    last_modified: str | None
    expires_at: datetime | None
    not_modified: bool
    past_end: bool
    cost: Cost


@dataclass
class NamesAnswer:
    """Names by id with their category, and the ids that ESI does not know."""

    names: dict[int, tuple[str, str]] = field(default_factory=dict)
    unknown: set[int] = field(default_factory=set)
    cost: Cost = field(default_factory=Cost)


@dataclass(frozen=True)
class PricesAnswer:
    """The prices of all types, and until when ESI gives no others, on our clock."""

    prices: list[Price]
    expires_at: datetime | None


@dataclass(frozen=True)
class Detail:
    """What became of asking for one killmail: its body as ESI serves it, or the error that came instead."""

    killmail_id: int
    outcome: ServedKillmail | errors.EsiError
    cost: Cost = field(default_factory=Cost)


#: Status, lower-cased headers and body of an answer, or why none came.
Sent = tuple[int, dict[str, str], bytes] | errors.EsiError


def outcome(status: int) -> str:
    """The name of a status in figures and metrics."""
    return str(status) if status in (304, 420, 429) else f"{status // 100}xx"


def seconds_of(text: str | None, default: float) -> float:
    """A header that gives whole seconds, a day at most; *default* when it is absent or no number."""
    return float(min(int(text), 86_400)) if text and text.isdecimal() else default


def expiry(headers: dict[str, str], clock: Clock) -> datetime | None:
    """`Expires` on our clock: its distance from the answer's own `Date`, so that a wrong clock of ours does not matter."""
    try:
        expires = parsedate_to_datetime(headers["expires"])
        date = parsedate_to_datetime(headers["date"]) if "date" in headers else datetime.now(UTC)
        ahead = max(timedelta(0), min(expires - date, timedelta(days=1)))
        return utcnow() + timedelta(seconds=clock.here(ahead.total_seconds()))
    except (KeyError, ValueError, TypeError):
        return None
