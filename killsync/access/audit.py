"""The audit trail: who logged in or was refused, keys, disconnects, deletions, admins' views. Never a secret."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from killsync import settings as settings_module
from models.access import AccessLog
from models.db import in_transaction
from models.expressions import now

LOGIN = "login"
LOGIN_REFUSED = "login_refused"
MEMBER_LEFT = "member_left"
KEY_CREATED = "key_created"
KEY_REVOKED = "key_revoked"
KEY_REFUSED = "key_refused"
DISCONNECT = "disconnect"
ACCOUNT_DELETED = "account_deleted"
ADMIN_VIEW = "admin_view"
EVENTS = (
    LOGIN, LOGIN_REFUSED, MEMBER_LEFT, KEY_CREATED, KEY_REVOKED, KEY_REFUSED, DISCONNECT, ACCOUNT_DELETED, ADMIN_VIEW,
)  # fmt: skip

#: Entries are kept this long, days.
KEEP_DAYS = 90
#: A dashboard that stays open, and a program that goes on with a wrong key, are one entry in so long, seconds.
REPEATED_SECONDS = 3600.0
_MOST_CHARACTERS = 200


class Entry(msgspec.Struct, kw_only=True):
    """One entry as it is shown."""

    at: datetime
    event: str
    subject: str
    character_id: int | None
    detail: str
    address: str | None


def record(
    event: str, *, subject: str = "", detail: str = "", account_id: int | None = None, character_id: int | None = None,
    key_id: int | None = None, address: str | None = None,
) -> None:  # fmt: skip
    """Add an entry. *address* is kept with ACCESS_LOG_ADDRESSES=1 alone."""
    is_wanted = settings_module.current().access_log_addresses
    entering = AccessLog.insert(
        event=event, subject=_short(subject), detail=_short(detail), account_id=account_id, character_id=character_id,
        key_id=key_id, address=address if is_wanted else None, at=now(),
    )  # fmt: skip
    in_transaction(entering.execute)


def record_once(event: str, *, subject: str = "", detail: str = "", account_id: int | None = None,
                address: str | None = None) -> None:  # fmt: skip
    """The same for what goes on and on: one entry an hour."""
    same = (AccessLog.event == event) & (AccessLog.subject == _short(subject)) & (AccessLog.detail == _short(detail))
    if not AccessLog.select().where(same & (AccessLog.at > now(-REPEATED_SECONDS))).exists():
        record(event, subject=subject, detail=detail, account_id=account_id, address=address)


def _short(text: str) -> str:
    return " ".join(text.replace("\x00", "").split())[:_MOST_CHARACTERS]


def recent(limit: int, *, days: int = KEEP_DAYS, events: Sequence[str] = ()) -> list[Entry]:
    """The newest entries of the last *days*, newest first; of these *events*, or of all."""
    fields = (
        AccessLog.at, AccessLog.event, AccessLog.subject, AccessLog.character_id, AccessLog.detail, AccessLog.address,
    )  # fmt: skip
    wanted = AccessLog.at > now(-days * 86_400.0)
    if events:
        wanted &= AccessLog.event.in_(list(events))
    query = AccessLog.select(*fields).where(wanted).order_by(AccessLog.at.desc(), AccessLog.id.desc()).limit(limit)
    found: list[Entry] = list(query.objects(Entry))  # type: ignore[arg-type]
    return found


def prune() -> None:
    """Delete what is older than KEEP_DAYS. Inside the caller's transaction."""
    AccessLog.delete().where(AccessLog.at <= now(-KEEP_DAYS * 86_400.0)).execute()
