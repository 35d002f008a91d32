"""In which corporation our users are: asked of ESI for up to a thousand characters at a time, once a day for each at most.

Who may read a corporation's list because of that is noted in `directors`.
"""

from __future__ import annotations

from dataclasses import dataclass

from killsync import settings as settings_module
from killsync.esi import errors
from killsync.esi.client import shared
from killsync.logging import get_logger
from killsync.settings import CORPORATION_SCOPE
from killsync.sync import directors
from killsync.sync.directors import Member
from models.users import User

log = get_logger("corporations")

#: ESI takes at most this many ids at a time (POST /characters/affiliation, maxItems).
MOST = 1000
#: One id that ESI does not know fails the whole call. So many refused calls are spent on finding it, then the rest waits.
MOST_REFUSALS = 8


@dataclass
class _Search:
    """A look-up under way: what was found, and what may still be spent."""

    found: dict[int, int]
    refusals: int = 0


def after_sync_of(user: User) -> list[int]:
    """After a user's own sync: learn their corporation where it may matter, and in the same request those of others who are due.

    Returns:
        Corporations whose list can be read now, and could not before.
    """
    if not directors.wants_affiliation(user.id, user.character_id, user.scopes):
        return []
    return _learn(Member(user.id, user.character_id, user.scopes), directors.claim_members(MOST - 1))


def look_again(user: User) -> list[int]:
    """Learn one user's corporation anew, whenever it was last learned. Returns as `after_sync_of`."""
    return _learn(Member(user.id, user.character_id, user.scopes), [])


def _learn(first: Member, others: list[Member]) -> list[int]:
    members = {member.character_id: member for member in (first, *others)}
    search = _Search({})
    try:
        _ask(sorted(members), first.character_id, search)
    except errors.EsiError as error:
        log.info("corporations not learned", users=len(members) - len(search.found), reason=str(error))
    readable = []
    for character_id, corporation_id in sorted(search.found.items()):
        member = members[character_id]
        if directors.join(member.user_id, corporation_id, may_direct=CORPORATION_SCOPE in member.scopes.split()):
            readable.append(corporation_id)
    return readable


def _ask(character_ids: list[int], first: int, search: _Search) -> None:
    """Ask for all at once; where ESI refuses that, for the first by itself and for the others in halves.

    Raises:
        EsiError: ESI cannot be asked now, or refused too often.
    """
    parts = [character_ids]
    while parts:
        part = parts.pop()
        try:
            search.found.update(shared(settings_module.current()).affiliations(part))
        except (errors.BadRequest, errors.NotFound):
            search.refusals += 1
            if search.refusals >= MOST_REFUSALS:
                raise
            if len(part) == 1:
                continue
            rest = [number for number in part if number != first]
            middle = (len(rest) + 1) // 2
            parts += [half for half in (rest[middle:], rest[:middle]) if half]
            if len(rest) < len(part):
                parts.append([first])
