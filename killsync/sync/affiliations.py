"""In which corporation our users are: asked of ESI for up to a thousand characters at a time, once a day for each at most.

Who may read a corporation's list because of that is noted in `directors`.
"""

from __future__ import annotations

from collections.abc import Mapping

from killsync.esi.affiliations import MOST, look_up
from killsync.esi.schemas import Affiliation
from killsync.logging import get_logger
from killsync.settings import CORPORATION_SCOPE
from killsync.sync import directors
from killsync.sync.directors import Member
from models.users import User

log = get_logger("corporations")


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


def learn(found: Mapping[int, Affiliation]) -> None:
    """Note what ESI said of these characters, by id, where it matters: nobody asks for them again before it is old."""
    for member in directors.known_members(found):
        _note(member, found[member.character_id])


def _learn(first: Member, others: list[Member]) -> list[int]:
    members = {member.character_id: member for member in (first, *others)}
    answer = look_up(members, first.character_id)
    if answer.error is not None:
        log.info("corporations not learned", users=len(members) - len(answer.found), reason=str(answer.error))
    return [
        affiliation.corporation_id
        for character_id, affiliation in sorted(answer.found.items())
        if _note(members[character_id], affiliation)
    ]


def _note(member: Member, affiliation: Affiliation) -> bool:
    may_direct = CORPORATION_SCOPE in member.scopes.split()
    return directors.join(member.user_id, affiliation.corporation_id, may_direct=may_direct)
