"""Who is logged in."""

from __future__ import annotations

from dataclasses import dataclass

from killsync.accounts import powers
from models.users import User


@dataclass(frozen=True)
class Viewer:
    """Who is asking: one account and its characters, the one that logged in last first."""

    account_id: int
    users: tuple[User, ...]
    is_admin: bool
    #: The character by which the person is here; None where it has left the account.
    acting: User | None = None

    def may_remove(self, user: User) -> bool:
        """Whether this person may disconnect or separate one of the account's characters."""
        return powers.may_remove(self.acting, user)

    @property
    def user_ids(self) -> tuple[int, ...]:
        return tuple(user.id for user in self.users)

    @property
    def character_ids(self) -> tuple[int, ...]:
        return tuple(user.character_id for user in self.users)
