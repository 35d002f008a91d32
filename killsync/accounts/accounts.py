"""Accounts and their characters: login, tokens as ciphertext, disconnecting, deleting, web sessions, login attempts.

Nothing here can read a token, and nothing is asked of EVE SSO.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from killsync.webhooks.queries import delete_all as delete_webhooks
from killsync.webhooks.queries import rotate_secrets
from models.access import AccessKey
from models.db import in_transaction
from models.exactly_once import in_transaction_once
from models.expressions import locked, now
from models.fields import utcnow
from models.killmails import UserKillmail
from models.sync import CHARACTER_LIST, NOBODY, CorporationFeed, ListPage, MailList, Membership, SyncRun
from models.users import ACTIVE, DISABLED, NEEDS_LOGIN, Account, LoginAttempt, User, WebSession
from models.webhooks import Webhook

SESSION_LIFE = timedelta(days=30)
ATTEMPT_LIFE = timedelta(minutes=10)
#: The columns of a user whose refresh token the SSO did not refuse.
_NO_DOUBT: dict[str, Any] = {"refusals": 0, "doubted_until": None}
#: The columns of a user without tokens, who is not polled.
_NO_TOKENS: dict[str, Any] = {
    **_NO_DOUBT, "access_token": None, "refresh_token": None, "expires_at": None, "next_sync_at": None,
}  # fmt: skip


@dataclass(frozen=True)
class NewLogin:
    """What a completed login brings. The tokens are ciphertext."""

    character_id: int
    character_name: str
    owner_hash: str
    scopes: str
    access_token: str
    refresh_token: str
    expires_at: datetime


def log_in(login: NewLogin, account_id: int | None) -> tuple[int, int]:
    """Enter a completed login; (user id, account id).

    With *account_id* the person asked for the character to join that account, and it does, from another one too; an account
    that it was the last of ends, and its webhooks come along. Else a known one keeps its account, and a new one gets a new
    account: nobody joins one by logging in. A character that was sold (another owner hash) leaves its account and its
    record of syncs: they are another person's. An account that was deleted meanwhile is replaced by a new one.
    """

    def work() -> tuple[int, int]:
        # The character before its account, as in `delete_account`: of the two, one waits for the other to end.
        found = User.select().where(User.character_id == login.character_id)
        user: User = locked(found).first()
        if user is None:
            # Of two first logins of one character at once the second waits here, and finds what the first entered.
            entered = User.insert(character_id=login.character_id, character_name=login.character_name)
            entered.on_conflict_ignore().execute()
            user = locked(found).get()
        target, left = account_id, user.account_id
        is_theirs = bool(user.account_id) and user.character_owner_hash in ("", login.owner_hash)
        if is_theirs and target is None:
            target = user.account_id
        if target is None or locked(Account.select().where(Account.id == target)).first() is None:
            target = Account.create().id
        # Who comes back after it was disconnected is the last to come: it may be somebody else's by now.
        comes_anew = not is_theirs or target != left or user.status == DISABLED
        values: dict[str, Any] = {
            "account_id": target,
            **({"joined_at": now()} if comes_anew else {}),
            "character_name": login.character_name,
            "character_owner_hash": login.owner_hash,
            "access_token": login.access_token,
            "refresh_token": login.refresh_token,
            "expires_at": login.expires_at,
            "scopes": login.scopes,
            "status": ACTIVE,
            "next_sync_at": now(300.0),
            "logged_in_at": now(),
            "updated_at": utcnow(),
            **_NO_DOUBT,
        }
        if comes_anew and user.account_id is not None and target != left:
            WebSession.delete().where(WebSession.user_id == user.id).execute()
        if not is_theirs:
            SyncRun.delete().where(SyncRun.user_id == user.id).execute()
        User.update(**values).where(User.id == user.id).execute()
        if is_theirs and left is not None and left != target:
            _end_if_empty(left, int(target))
        return int(user.id), int(target)

    return in_transaction(work)


def _end_if_empty(account_id: int, heir: int) -> None:
    """End an account whose last character joined *heir*."""
    if User.select().where(User.account_id == account_id).exists():
        return
    Webhook.update(account_id=heir).where(Webhook.account_id == account_id).execute()
    WebSession.delete().where(WebSession.account_id == account_id).execute()
    Account.delete().where(Account.id == account_id).execute()


def split(account_id: int, user_id: int) -> bool:
    """Give a character an account of its own again; False where it has that already, or is none of the account's.

    Who is logged in by it goes along, everybody else stays with the rest; webhooks stay too.
    """

    def work() -> bool:
        users = list(locked(User.select(User.id).where(User.account_id == account_id).order_by(User.id)))
        if len(users) < 2 or user_id not in [user.id for user in users]:
            return False
        alone = Account.create().id
        User.update(account_id=alone, joined_at=now()).where(User.id == user_id).execute()
        WebSession.update(account_id=alone).where(WebSession.user_id == user_id).execute()
        return True

    return in_transaction_once(work)


def keep_refresh_token(user_id: int, used: str, refresh_token: str) -> bool:
    """Store the refresh token (ciphertext) that took the place of *used*; committed when this returns.

    Here and in the next two, *used* is the ciphertext as it was read before the SSO was asked. Where another stands in its
    place by now, somebody logged in meanwhile: nothing is changed, and False says so.
    """
    # The new one counts as well: it is found when this runs again after a connection that broke at the commit.
    return _update(user_id, User.refresh_token.in_((used, refresh_token)), refresh_token=refresh_token)


def keep_access_token(user_id: int, used: str, access_token: str, expires_at: datetime, scopes: str) -> bool:
    """Store a fresh access token (ciphertext), got by the refresh token *used*."""
    values = {"access_token": access_token, "expires_at": expires_at, "scopes": scopes, **_NO_DOUBT}
    return _update(user_id, User.refresh_token == used, **values)


def doubt(user_id: int, used: str, refusals: int, seconds: float) -> bool:
    """The SSO refused the refresh token *used* for the *refusals*-th time in a row: ask it again in *seconds* at the earliest."""
    return _update(user_id, User.refresh_token == used, refusals=refusals, doubted_until=now(seconds))


def end_doubts(user_ids: Sequence[int]) -> None:
    """The SSO refused these users while it refused everybody: ask it for them at once. What was refused stays counted."""
    doubted = User.id.in_(list(user_ids)) & (User.status == ACTIVE) & User.doubted_until.is_null(False)

    def work() -> None:
        found = [user.id for user in locked(User.select(User.id).where(doubted).order_by(User.id))]
        User.update(doubted_until=now(), next_sync_at=now(), claimed_until=None).where(User.id.in_(found)).execute()

    in_transaction(work)


def need_login(user_id: int, used: str) -> bool:
    """The refresh token *used* is of no more use: drop the user's tokens and ask nothing more for this user."""
    return _update(user_id, User.refresh_token == used, **_NO_TOKENS, status=NEEDS_LOGIN)


def _update(user_id: int, expected: Any, **values: Any) -> bool:
    query = User.update(updated_at=utcnow(), **values).where((User.id == user_id) & (User.status == ACTIVE) & expected)
    return bool(in_transaction_once(query.execute))


def disconnect(user_id: int) -> None:
    """The user wants no more syncs: tokens go, public killmails stay."""
    values = {**_NO_TOKENS, "status": DISABLED, "updated_at": utcnow()}
    in_transaction(User.update(**values).where(User.id == user_id).execute)


def delete_account(account_id: int) -> None:
    """Delete everything that belongs to a person. Stored killmails stay: they belong to everybody who is on them."""

    def work() -> None:
        users = [
            user.id for user in locked(User.select(User.id).where(User.account_id == account_id).order_by(User.id))
        ]
        theirs = MailList.user_id.in_(users)
        lists = MailList.select(MailList.id).where(theirs & (MailList.kind == CHARACTER_LIST))
        for model in (UserKillmail, SyncRun, Membership):
            model.delete().where(model.user_id.in_(users)).execute()
        ListPage.delete().where(ListPage.list_id.in_(lists)).execute()
        MailList.delete().where(theirs & (MailList.kind == CHARACTER_LIST)).execute()
        # A corporation's list belongs to no Director: the next one goes on where this one stopped.
        MailList.update(user_id=NOBODY, leased_by=None, leased_until=None).where(theirs).execute()
        delete_webhooks(account_id)
        CorporationFeed.update(user_id=None).where(CorporationFeed.user_id.in_(users)).execute()
        WebSession.delete().where(WebSession.account_id == account_id).execute()
        AccessKey.delete().where(AccessKey.account_id == account_id).execute()
        User.delete().where(User.id.in_(users)).execute()
        Account.delete().where(Account.id == account_id).execute()

    in_transaction(work)


def rotate_keys(rotate: Callable[[str], str]) -> int:
    """Put every stored secret through *rotate*, all or none; how many there were."""

    def work() -> int:
        columns = User.id, User.access_token, User.refresh_token
        users = list(locked(User.select(*columns).where(User.refresh_token.is_null(False)).order_by(User.id)))
        for user in users:
            access_token = rotate(user.access_token) if user.access_token else None
            values = {"access_token": access_token, "refresh_token": rotate(str(user.refresh_token))}
            User.update(**values).where(User.id == user.id).execute()
        return len(users) + rotate_secrets(rotate)

    return in_transaction(work)


def open_session(id_hash: str, account_id: int, user_id: int | None) -> None:
    """Remember a browser that logged in, by the character *user_id*."""
    in_transaction(
        lambda: WebSession.create(
            id_hash=id_hash, account_id=account_id, user_id=user_id, expires_at=utcnow() + SESSION_LIFE
        )
    )


def live_session(id_hash: str) -> WebSession | None:
    """A session that has not ended."""
    is_live = (WebSession.id_hash == id_hash) & (WebSession.expires_at > now())
    found: WebSession | None = WebSession.select().where(is_live).first()
    return found


def account_of(user_id: int) -> int | None:
    """The account that a character belongs to."""
    found: int | None = User.select(User.account_id).where(User.id == user_id).scalar()
    return found


def join(user_id: int, account_id: int) -> None:
    """Have a character join an account, as its person asked; an account that it was the last of ends."""

    def work() -> None:
        user: User | None = locked(User.select().where(User.id == user_id)).first()
        account = locked(Account.select().where(Account.id == account_id)).first()
        if user is None or account is None or user.account_id == account_id:
            return
        left = user.account_id
        User.update(account_id=account_id, joined_at=now()).where(User.id == user_id).execute()
        WebSession.delete().where(WebSession.user_id == user_id).execute()
        if left is not None:
            _end_if_empty(left, account_id)

    in_transaction(work)


def close_session(id_hash: str) -> None:
    """End a session."""
    in_transaction(WebSession.delete().where(WebSession.id_hash == id_hash).execute)


def begin_attempt(state_hash: str, browser_hash: str, verifier: str, account_id: int | None, return_to: str,
                  scopes: str) -> None:  # fmt: skip
    """Remember a login under way; *verifier* is ciphertext. Old attempts are cleared away on the occasion."""

    def work() -> None:
        for model in (LoginAttempt, WebSession):
            model.delete().where(model.expires_at <= now()).execute()
        LoginAttempt.create(
            state_hash=state_hash, browser_hash=browser_hash, verifier=verifier, account_id=account_id,
            return_to=return_to, scopes=scopes, expires_at=utcnow() + ATTEMPT_LIFE,
        )  # fmt: skip

    in_transaction(work)


def end_attempt(state_hash: str, browser_hash: str) -> LoginAttempt | None:
    """Use up a login attempt; None when there is none for this state and browser, or it is too old."""

    def work() -> LoginAttempt | None:
        mine = (LoginAttempt.state_hash == state_hash) & (LoginAttempt.browser_hash == browser_hash)
        used: list[LoginAttempt] = list(LoginAttempt.delete().where(mine).returning(LoginAttempt).execute())
        return used[0] if used and used[0].expires_at > utcnow() else None

    return in_transaction_once(work)


def users_of(account_id: int) -> list[User]:
    """The characters of an account, the one logged in last first."""
    return list(User.select().where(User.account_id == account_id).order_by(User.logged_in_at.desc(), User.id))
