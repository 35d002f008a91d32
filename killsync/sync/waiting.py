"""Why a sync waits, in words for the people it waits for, and until when. Pure.

The text ends with a moment in EVE time, which pages count down to: `until_of` reads it back.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from killsync.esi import errors
from killsync.sso.errors import SsoAway

_GOES_ON = "goes on at {:%Y-%m-%d %H:%M:%S} EVE time"
_MOMENT = re.compile(r"goes on at (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) EVE time$")
#: What waits for what, by the kind of error.
_WORDS: tuple[tuple[type[Exception], str], ...] = (
    (errors.NoToken, "ESI lets this list be asked only so often, and has been asked as often as it allows"),
    (errors.RateLimited, "ESI lets this list be asked only so often, and has asked for a pause"),
    (errors.ErrorLimited, "ESI has asked everybody here for a pause"),
    (errors.Downtime, "ESI does not answer, as every day around 11:00"),
    (errors.Malformed, "ESI gave an answer that cannot be read"),
    (SsoAway, "EVE's login server does not answer"),
)


def words(error: Exception, seconds: float, now: datetime) -> str:
    """Why a sync waits that *error* interrupted, with ESI's own words, and when it goes on: *seconds* after *now*."""
    reason = next((text for kind, text in _WORDS if isinstance(error, kind)), "ESI cannot be asked now")
    if isinstance(error, errors.EsiError) and not isinstance(error, errors.NoToken):
        reason = f"{reason} ({error.reason})"
    return f"{reason}; it {_GOES_ON.format((now + timedelta(seconds=seconds)).astimezone(UTC))}"


def until_of(text: str | None) -> datetime | None:
    """When the sync goes on that waits for the reason *text*; None where it does not say."""
    found = _MOMENT.search(text or "")
    return datetime.strptime(found[1], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC) if found else None
