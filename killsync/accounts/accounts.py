"""Accounts and their characters: login, tokens as ciphertext, disconnecting, deleting, web sessions, login attempts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from killsync.webhooks.queries import rotate_secrets
from models.db import in_transaction, is_postgres
from models.fields import utcnow
from models.sql import rows, run, sql_now
from models.users import ACTIVE, DISABLED, NEEDS_LOGIN, Account, LoginAttempt, User, WebSession

SESSION_LIFE = timedelta(days=30)
ATTEMPT_LIFE = timedelta(minutes=10)


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

    A character that is new joins *account_id*, or a new account. A known one keeps its account, and the browser becomes
    that account; but a character that was sold (another owner hash) leaves it and its record of syncs: they are another
    person's.
    """

    def work() -> tuple[int, int]:
        user = User.get_or_none(User.character_id == login.character_id)
        target = account_id
        if user is not None and user.account_id and user.character_owner_hash in ("", login.owner_hash):
            target = user.account_id
        if target is None:
            target = Account.create().id
        values: dict[str, Any] = {
            "account_id": target,
            "character_name": login.character_name,
            "character_owner_hash": login.owner_hash,
            "access_token": login.access_token,
            "refresh_token": login.refresh_token,
            "expires_at": login.expires_at,
            "scopes": login.scopes,
            "status": ACTIVE,
            "next_sync_at": utcnow() + timedelta(minutes=5),
            "logged_in_at": utcnow(),
            "updated_at": utcnow(),
        }
        if user is None:
            user_id = User.insert(character_id=login.character_id, **values).execute()
        else:
            user_id = user.id
            if target != user.account_id:
                run("DELETE FROM sync_run WHERE user_id = %s", (user_id,))
            User.update(**values).where(User.id == user_id).execute()
        return int(user_id), int(target)

    return in_transaction(work)


def keep_refresh_token(user_id: int, refresh_token: str) -> None:
    """Store the refresh token (ciphertext) that took the old one's place; committed when this returns."""
    _keep(user_id, refresh_token=refresh_token)


def keep_access_token(user_id: int, access_token: str, expires_at: datetime, scopes: str) -> None:
    """Store a fresh access token (ciphertext)."""
    _keep(user_id, access_token=access_token, expires_at=expires_at, scopes=scopes)


def _keep(user_id: int, **values: Any) -> None:
    is_live = (User.id == user_id) & (User.status == ACTIVE)
    in_transaction(lambda: User.update(updated_at=utcnow(), **values).where(is_live).execute())


def need_login(user_id: int) -> None:
    """The user's tokens are of no more use: drop them and ask nothing more for this user."""
    _drop_tokens(user_id, NEEDS_LOGIN)


def disconnect(user_id: int) -> None:
    """The user wants no more syncs: tokens go, public killmails stay."""
    _drop_tokens(user_id, DISABLED)


def _drop_tokens(user_id: int, status: str) -> None:
    in_transaction(
        lambda: (
            User.update(
                access_token=None,
                refresh_token=None,
                expires_at=None,
                status=status,
                next_sync_at=None,
                updated_at=utcnow(),
            )
            .where(User.id == user_id)
            .execute()
        )
    )


def delete_account(account_id: int) -> None:
    """Delete everything that belongs to a person. Killmails are public records of the game and stay."""

    def work() -> None:
        mine = 'SELECT id FROM "user" WHERE account_id = %s'
        for table in ("user_killmail", "sync_run", "event", "membership"):
            run(f"DELETE FROM {table} WHERE user_id IN ({mine})", (account_id,))
        run(
            f"DELETE FROM list_page WHERE list_id IN (SELECT id FROM mail_list WHERE user_id IN ({mine}))",
            (account_id,),
        )
        run(f"DELETE FROM mail_list WHERE user_id IN ({mine})", (account_id,))
        run(
            "DELETE FROM webhook_delivery WHERE webhook_id IN (SELECT id FROM webhook WHERE account_id = %s)",
            (account_id,),
        )
        run("DELETE FROM webhook WHERE account_id = %s", (account_id,))
        run(f"UPDATE corporation_feed SET user_id = NULL WHERE user_id IN ({mine})", (account_id,))
        run("DELETE FROM web_session WHERE account_id = %s", (account_id,))
        run('DELETE FROM "user" WHERE account_id = %s', (account_id,))
        run("DELETE FROM account WHERE id = %s", (account_id,))

    in_transaction(work)


def rotate_keys(rotate: Callable[[str], str]) -> int:
    """Put every stored secret through *rotate*, all or none; how many there were."""

    def work() -> int:
        lock = " FOR UPDATE" if is_postgres() else ""
        stored = rows(
            f'SELECT id, access_token, refresh_token FROM "user" WHERE refresh_token IS NOT NULL ORDER BY id{lock}'
        )
        for user_id, access_token, refresh_token in stored:
            run(
                'UPDATE "user" SET access_token = %s, refresh_token = %s WHERE id = %s',
                (rotate(access_token) if access_token else None, rotate(refresh_token), user_id),
            )
        return len(stored) + rotate_secrets(rotate)

    return in_transaction(work)


def open_session(id_hash: str, account_id: int) -> None:
    """Remember a browser that logged in."""
    in_transaction(
        lambda: WebSession.create(id_hash=id_hash, account_id=account_id, expires_at=utcnow() + SESSION_LIFE)
    )


def session_account(id_hash: str) -> int | None:
    """The account of a live session."""
    found = rows(f"SELECT account_id FROM web_session WHERE id_hash = %s AND expires_at > {sql_now()}", (id_hash,))
    return int(found[0][0]) if found else None


def close_session(id_hash: str) -> None:
    """End a session."""
    in_transaction(lambda: run("DELETE FROM web_session WHERE id_hash = %s", (id_hash,)))


def begin_attempt(state_hash: str, browser_hash: str, verifier: str, account_id: int | None, return_to: str,
                  scopes: str) -> None:  # fmt: skip
    """Remember a login under way; *verifier* is ciphertext. Old attempts are cleared away on the occasion."""

    def work() -> None:
        run(f"DELETE FROM login_attempt WHERE expires_at <= {sql_now()}")
        run(f"DELETE FROM web_session WHERE expires_at <= {sql_now()}")
        LoginAttempt.create(
            state_hash=state_hash, browser_hash=browser_hash, verifier=verifier, account_id=account_id,
            return_to=return_to, scopes=scopes, expires_at=utcnow() + ATTEMPT_LIFE,
        )  # fmt: skip

    in_transaction(work)


def end_attempt(state_hash: str, browser_hash: str) -> LoginAttempt | None:
    """Use up a login attempt; None when there is none for this state and browser, or it is too old."""

    def work() -> LoginAttempt | None:
        attempt: LoginAttempt | None = LoginAttempt.get_or_none(
            (LoginAttempt.state_hash == state_hash) & (LoginAttempt.browser_hash == browser_hash)
        )
        if attempt is None or not run("DELETE FROM login_attempt WHERE state_hash = %s", (state_hash,)):
            return None
        return attempt if attempt.expires_at > utcnow() else None

    return in_transaction(work)


def users_of(account_id: int) -> list[User]:
    """The characters of an account, the one logged in last first."""
    return list(User.select().where(User.account_id == account_id).order_by(User.logged_in_at.desc(), User.id))
