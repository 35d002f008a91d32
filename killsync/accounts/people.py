"""Reading users for their owners."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from peewee import Value, fn

from models.killmails import Involvement
from models.users import User


class UserSummary(msgspec.Struct, kw_only=True):
    """A character that logged in, as its own account sees it."""

    id: int
    character_id: int
    character_name: str
    #: active, needs_login or disabled.
    status: str
    last_killmail_sync_at: datetime | None
    next_sync_at: datetime | None
    #: Set while EVE's login refuses the character's token and nobody knows yet whether for good: when it is asked again.
    doubted_until: datetime | None
    #: Stored killmails in which it takes part.
    killmail_count: int


def user_summaries(user_ids: Sequence[int]) -> list[UserSummary]:
    """The users, in the order of *user_ids*."""
    if not user_ids:
        return []
    involved = Involvement.select(fn.COUNT(Value(1))).where(Involvement.character_id == User.character_id)
    query: Any = User.select(
        User.id, User.character_id, User.character_name, User.status, User.last_killmail_sync_at, User.next_sync_at,
        User.doubted_until,
        involved.alias("killmail_count"),
    ).where(User.id.in_(user_ids))  # fmt: skip
    found: dict[int, UserSummary] = {user.id: user for user in query.objects(UserSummary)}
    return [found[number] for number in user_ids if number in found]


def name_of(user_id: int) -> str | None:
    """The name of a user's character."""
    name: str | None = User.select(User.character_name).where(User.id == user_id).scalar()
    return name
