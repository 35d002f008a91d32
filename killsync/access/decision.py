"""The one decision of who may do what. Pure.

Each route and each resolver says in one word what it needs; this module says who has it, and for what reason another has not.
docs/access.md shows it as a table.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum


class Need(StrEnum):
    """What something needs of who asks for it."""

    #: Nothing: login, health, static files.
    OPEN = "open"
    #: A reader: everybody, or with READERS=members who has a session or a key.
    READ = "read"
    #: A reader, or whoever has a session, former members too: the page that says how things stand for them.
    ACCOUNT = "account"
    #: The caller's own things: a member, or a key that may read its owner's.
    OWN = "own"
    #: A member in person: whatever changes something. Never a key.
    PERSON = "person"
    #: A member whose character is one of ADMIN_CHARACTER_IDS, in person.
    ADMIN = "admin"
    #: Who runs the server: this host, METRICS_ALLOWED, an admin or an admin's key.
    METRICS = "metrics"


class Refusal(Enum):
    """Why somebody may not. The value is what a program is told."""

    LOGIN = "Log in first, or send an access key as Authorization: Bearer"
    LEFT = "your characters may no longer log in here: ask who runs this board"
    KEY_READS = "an access key may only read"
    KEY_SCOPE = "this access key may read killmails, and nothing of its owner's"
    ADMIN = "only for characters of ADMIN_CHARACTER_IDS"
    METRICS = "metrics are for this host, METRICS_ALLOWED, and admins' access keys"
    UNDECLARED = "this address does not say who may ask for it"


@dataclass(frozen=True)
class Asker:
    """Who asks, as far as deciding needs it. With a key the session counts for nothing."""

    has_session: bool = False
    has_key: bool = False
    #: The account of the session or key may log in; a key of the operator's own has no account, and may.
    is_member: bool = False
    #: The session's or key's owner is an admin.
    is_admin: bool = False
    #: The key may read what belongs to its owner.
    reads_own: bool = False
    #: A program on this host, or of METRICS_ALLOWED.
    is_operator: bool = False


VISITOR = Asker()


def decide(need: Need | None, asker: Asker, *, members_only: bool) -> Refusal | None:
    """Why *asker* may not have what needs *need*; None when it may.

    Args:
        need: the word; None for what says nothing, which nobody gets.
        members_only: READERS=members.
    """
    match need:
        case None:
            return Refusal.UNDECLARED
        case Need.OPEN:
            return None
        case Need.READ:
            return _known(asker) if members_only else None
        case Need.ACCOUNT:
            if asker.has_key:
                return Refusal.KEY_READS
            return Refusal.LOGIN if members_only and not asker.has_session else None
        case Need.OWN:
            return _known(asker) or (Refusal.KEY_SCOPE if asker.has_key and not asker.reads_own else None)
        case Need.METRICS:
            if asker.is_operator:
                return None
            return _known(asker) or (None if asker.is_admin else Refusal.METRICS)
    # In person.
    if asker.has_key:
        return Refusal.KEY_READS
    return _known(asker) or (Refusal.ADMIN if need is Need.ADMIN and not asker.is_admin else None)


def _known(asker: Asker) -> Refusal | None:
    if not (asker.has_session or asker.has_key):
        return Refusal.LOGIN
    return None if asker.is_member else Refusal.LEFT
