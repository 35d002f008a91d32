"""Access keys of programs: made, shown once, listed, checked, revoked. Stored is the SHA-256 of a key, which has 256 random bits.

A key is `killsync_<12 hex digits>_<secret>`: the middle part names it, so that it can be looked up, and the whole is compared in
constant time. Nobody can be made to write it down here: a log, a list or an error shows the name.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import msgspec
from peewee import Node

from killsync.access import audit
from killsync.sso.login import digest
from models.access import KILLMAILS, RUNS, AccessKey
from models.db import in_transaction
from models.expressions import locked, now
from models.users import Account, User

PREFIX = "killsync_"
#: Keys of one account, and of the operator.
MOST = 20
MOST_NAME = 60
#: Text that may be a key at all; more is not looked at.
MOST_TEXT = 200
#: The last use of a key is written down at most this often, seconds.
USED_SECONDS = 60.0
#: Revoked keys are listed for this long, seconds.
KEEP_REVOKED_SECONDS = 90 * 86_400.0
#: What is compared with where there is no such key: that takes as long.
_NOBODYS = digest("no key has this")
_SHAPE = re.compile(rf"{PREFIX}([0-9a-f]{{12}})_[A-Za-z0-9_-]{{43}}", re.ASCII)


class BadKey(ValueError):
    """A key cannot be made as wanted; the text says why."""


@dataclass(frozen=True)
class KnownKey:
    """A key that is valid now. Without an account it is the operator's own."""

    id: int
    account_id: int | None
    name: str
    reads_own: bool


class ListedKey(msgspec.Struct, kw_only=True):
    """A key as its owner and admins see it."""

    id: int
    name: str
    scope: str
    account_id: int | None
    created_at: datetime
    last_used_at: datetime | None
    #: The owner's character, or that the operator made it.
    owner: str = "the operator"


def create(account_id: int | None, name: str, scope: str, *, owner: str = "the operator",
           character_id: int | None = None) -> str:  # fmt: skip
    """Make a key; the whole of it, which is shown once and never again.

    Raises:
        BadKey: the name is none, or there are MOST already.
    """
    name = " ".join(name.split())
    if not name or len(name) > MOST_NAME or not name.isprintable():
        raise BadKey(f"A key needs a name of 1 to {MOST_NAME} characters, so that you know it again.")
    if account_id is None and scope != KILLMAILS:
        raise BadKey("A key that reads its owner's syncs needs an owner.")
    public_id = secrets.token_hex(6)
    text = f"{PREFIX}{public_id}_{secrets.token_urlsafe(32)}"

    def work() -> int | None:
        if account_id is not None and locked(Account.select().where(Account.id == account_id)).first() is None:
            return None
        if AccessKey.select().where(_theirs(account_id) & AccessKey.revoked_at.is_null()).count() >= MOST:
            return None
        made = AccessKey.create(
            account_id=account_id, name=name, scope=scope, public_id=public_id, secret_hash=digest(text)
        )
        return int(made.id)

    key_id = in_transaction(work)
    if key_id is None:
        raise BadKey(f"There are {MOST} keys already: revoke one first.")
    audit.record(
        audit.KEY_CREATED, subject=owner, detail=f"{name} ({scope})", account_id=account_id, key_id=key_id,
        character_id=character_id,
    )  # fmt: skip
    return text


def _theirs(account_id: int | None) -> Node:
    condition: Node = AccessKey.account_id.is_null() if account_id is None else AccessKey.account_id == account_id
    return condition


def looks_like_one(text: str) -> bool:
    """Whether there is a key of ours in *text*, valid or not."""
    return _SHAPE.search(text) is not None


def check(text: str) -> KnownKey | None:
    """The key that *text* is; None when it is none, or revoked. Takes the same work for each."""
    text = text[:MOST_TEXT]
    shaped = _SHAPE.fullmatch(text)
    public_id = shaped[1] if shaped else ""
    found = AccessKey.select().where((AccessKey.public_id == public_id) & AccessKey.revoked_at.is_null()).first()
    is_same = hmac.compare_digest(digest(text), found.secret_hash if found is not None else _NOBODYS)
    if found is None or not is_same:
        return None
    is_old = AccessKey.last_used_at.is_null() | (AccessKey.last_used_at <= now(-USED_SECONDS))
    if AccessKey.select().where((AccessKey.id == found.id) & is_old).exists():
        in_transaction(AccessKey.update(last_used_at=now()).where((AccessKey.id == found.id) & is_old).execute)
    return KnownKey(found.id, found.account_id, found.name, found.scope == RUNS)


def listed(account_id: int) -> list[ListedKey]:
    """The keys of an account, oldest first."""
    return _listed(AccessKey.account_id == account_id)


def all_listed() -> list[ListedKey]:
    """Everybody's keys, oldest first."""
    return _listed(AccessKey.id > 0)


def _listed(condition: Node) -> list[ListedKey]:
    fields = (
        AccessKey.id, AccessKey.name, AccessKey.scope, AccessKey.account_id, AccessKey.created_at,
        AccessKey.last_used_at,
    )  # fmt: skip
    query = AccessKey.select(*fields).where(condition & AccessKey.revoked_at.is_null()).order_by(AccessKey.id)
    found: list[ListedKey] = list(query.objects(ListedKey))  # type: ignore[arg-type]
    accounts = {key.account_id for key in found if key.account_id is not None}
    owners = _owners(accounts)
    for key in found:
        if key.account_id is not None:
            key.owner = owners.get(key.account_id, "nobody")
    return found


def _owners(account_ids: Iterable[int]) -> dict[int, str]:
    """The name of each account: of its character that logged in last."""
    users = User.select(User.account_id, User.character_name).where(User.account_id.in_(list(account_ids)))
    return {
        int(user.account_id or 0): user.character_name for user in users.order_by(User.logged_in_at, User.id.desc())
    }


def revoke(key_id: int, *, account_id: int | None = None, by: str = "the operator") -> bool:
    """End a key at once. With *account_id* only one of that account; False where there is none."""
    theirs = (AccessKey.id == key_id) & AccessKey.revoked_at.is_null()
    if account_id is not None:
        theirs &= AccessKey.account_id == account_id
    ending = AccessKey.update(revoked_at=now()).where(theirs).returning(AccessKey.name, AccessKey.account_id)
    ended = in_transaction(lambda: list(ending.execute()))
    for key in ended:
        audit.record(audit.KEY_REVOKED, subject=by, detail=key.name, account_id=key.account_id, key_id=key_id)
    return bool(ended)


def find(text: str) -> list[ListedKey]:
    """The keys that an operator means by *text*: by number, by name, or by the key itself."""
    shaped = _SHAPE.fullmatch(text)
    if shaped:
        return _listed(AccessKey.public_id == shaped[1])
    if text.isascii() and text.isdigit() and len(text) < 19 and (found := _listed(AccessKey.id == int(text))):
        return found
    return _listed(AccessKey.name == " ".join(text.split()))


def prune() -> None:
    """Forget keys that were revoked long ago. Inside the caller's transaction."""
    AccessKey.delete().where(AccessKey.revoked_at <= now(-KEEP_REVOKED_SECONDS)).execute()
