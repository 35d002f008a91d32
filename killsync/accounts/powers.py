"""What one character of an account may do to the others. Pure.

An account is as safe as the least safe of its characters: one that was sold, lent or taken over and logs in must not take the
others from their owner. So whoever came later may not disconnect, separate or delete who was there before. Who was disconnected
has given its place up: it comes last when it logs in again, and until then it holds nobody back.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from models.users import DISABLED, User


def since(user: User) -> tuple[datetime, int]:
    """Since when *user* belongs to its account; of two at the same time the one that was known first."""
    return user.joined_at or user.created_at, user.id


def may_remove(acting: User | None, user: User) -> bool:
    """Whether who is here by *acting* (None: by none of the account's characters) may disconnect or separate *user*."""
    if acting is None:
        return False
    return acting.id == user.id or user.status == DISABLED or since(acting) <= since(user)


def may_delete(acting: User | None, users: Iterable[User]) -> bool:
    """Whether who is here by *acting* may delete the whole account."""
    return all(may_remove(acting, user) for user in users)


def acting(users: Sequence[User], user_id: int | None) -> User | None:
    """The character by which a session is here, of an account's *users*; None where it has left the account."""
    if user_id is None:
        # Begun by the version before, which did not tell the characters of an account apart.
        return min(users, key=since)
    return next((user for user in users if user.id == user_id), None)
