"""Who may log in: LOGIN_ALLOWED and ADMIN_CHARACTER_IDS, by what ESI last said of where a character belongs.

Whom ESI was never asked about, or said nothing of, stays as they were: an outage throws nobody out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from peewee import Node, fn

from killsync.settings import Settings
from models.access import Affiliation
from models.names import Character
from models.users import DISABLED, User


@dataclass(frozen=True)
class Allowed:
    """Who may log in, by kind. `characters` holds the admins too."""

    corporations: frozenset[int]
    alliances: frozenset[int]
    characters: frozenset[int]


@lru_cache(maxsize=8)
def _allowed(entries: tuple[str, ...], admins: frozenset[int]) -> Allowed:
    pairs = [entry.split(":") for entry in entries]

    def of(kind: str) -> frozenset[int]:
        return frozenset(int(number) for word, number in pairs if word == kind)

    return Allowed(of("corporation"), of("alliance"), of("character") | admins)


def allowed(settings: Settings) -> Allowed | None:
    """Who may log in; None for everybody."""
    return _allowed(settings.login_allowed, settings.admin_character_ids) if settings.login_allowed else None


def is_allowed(settings: Settings, character_id: int, affiliation: Affiliation | None) -> bool | None:
    """Whether a character may log in; None when that is not known, since ESI has not said where it belongs."""
    chosen = allowed(settings)
    if chosen is None or character_id in chosen.characters:
        return True
    if not (chosen.corporations or chosen.alliances):
        return False
    if affiliation is None or affiliation.corporation_id is None:
        return None
    return affiliation.corporation_id in chosen.corporations or affiliation.alliance_id in chosen.alliances


def known(character_ids: Iterable[int]) -> dict[int, Affiliation]:
    """Where characters belong, as far as ESI has said."""
    found = Affiliation.select().where(Affiliation.character_id.in_(list(character_ids)))
    return {each.character_id: each for each in found}


def lets_in(settings: Settings, users: Iterable[User]) -> bool:
    """Whether an account of these characters is a member's: one of them may log in, or nobody knows better."""
    users = list(users)
    if not settings.login_allowed:
        return bool(users)
    where = known(user.character_id for user in users)
    return any(is_allowed(settings, user.character_id, where.get(user.character_id)) is not False for user in users)


def former(settings: Settings, character_ids: Iterable[int]) -> set[int]:
    """Those of the characters that may not log in any more."""
    if not settings.login_allowed:
        return set()
    wanted = list(character_ids)
    where = known(wanted)
    return {number for number in wanted if is_allowed(settings, number, where.get(number)) is False}


def strangers(settings: Settings, limit: int) -> list[User]:
    """Characters that are connected, or need a login, and may not log in any more."""
    chosen = allowed(settings)
    if chosen is None:
        return []
    belongs = (
        User.character_id.in_(list(chosen.characters))
        | fn.COALESCE(Affiliation.corporation_id, 0).in_(list(chosen.corporations))
        | fn.COALESCE(Affiliation.alliance_id, 0).in_(list(chosen.alliances))
    )
    is_told: Node = Affiliation.corporation_id.is_null(False)
    if not (chosen.corporations or chosen.alliances):
        is_told = User.id.is_null(False)
    on = Affiliation.character_id == User.character_id
    found: Any = User.select().left_outer_join(Affiliation, on=on)
    return list(found.where((User.status != DISABLED) & is_told & ~belongs).order_by(User.id).limit(limit))


def admin_names(settings: Settings) -> list[str]:
    """The names of the admins, as far as they are known, for who is refused and wants to ask somebody."""
    ids = sorted(settings.admin_character_ids)
    of_users = {row.character_id: row.character_name for row in User.select().where(User.character_id.in_(ids))}
    of_killmails = {row.character_id: row.name for row in Character.select().where(Character.character_id.in_(ids))}
    names = [of_users.get(number) or of_killmails.get(number) for number in ids]
    return [name for name in names if name][:5]
