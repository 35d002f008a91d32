"""A valid access token for a user, from a worker thread: the stored one, or a fresh one when a call needs it.

One refresh at a time per user over all workers, a handful at once over all users, the new refresh token stored before the
access token is used. A refused refresh token is doubted before it is given up: EVE SSO has refused good ones.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from killsync import http_session, leases
from killsync import settings as settings_module
from killsync.accounts import accounts
from killsync.logging import get_logger
from killsync.settings import KILLMAIL_SCOPE, Settings
from killsync.sso import health, login
from killsync.sso.errors import BadToken, Disabled, NeedsLogin, SsoAway, SsoDoubt, SsoError, VaultError
from killsync.sso.jwt import Claims
from killsync.sso.metadata import SsoAnswer
from killsync.sso.vault import Vault
from models.db import connection
from models.fields import utcnow
from models.users import ACTIVE, DISABLED, User

log = get_logger("sso")

#: A token is renewed when it has less than this left: it shall outlive the few pages that are read with it. One that does
#: not is refused by ESI, and renewed once.
MARGIN = timedelta(minutes=2)
#: How a doubted token is spoken of.
REFUSED = "EVE's login refused this character's access, which may be trouble of its own"
#: More refreshes than this at a time were seen to fail with 500s.
MOST_AT_ONCE = 4
#: A refresh that takes longer than this has died with its worker, seconds.
REFRESH_SECONDS = 40.0
#: After each refusal in a row the token is asked for again so much later, seconds; one more means that it is of no more use.
DOUBT_SECONDS = (900.0, 3_600.0, 21_600.0, 86_400.0)


def access_token(user_id: int, *, rejected: str | None = None) -> str:
    """A valid access token. Blocking; call it from a worker thread.

    Args:
        user_id: whose.
        rejected: a token that ESI just refused, which is renewed whatever its expiry says.

    Raises:
        NeedsLogin: only a new login helps; the user's status says so from now on.
        Disabled: the user disconnected.
        SsoAway: the SSO cannot be asked now, or another worker is refreshing.
        SsoDoubt: the SSO refused the token, now or lately; it is not asked again before `retry_after`.
        VaultError: SECRET_KEYS does not fit what is stored; nothing is lost.
    """
    settings = settings_module.current()
    vault = Vault(settings.secret_keys)
    with connection():
        known = _stored(user_id, vault, rejected)
        if known is not None:
            return known
        with _right_to_refresh(user_id):
            known = _stored(user_id, vault, rejected)
            return known if known is not None else _refresh(settings, user_id, vault, rejected)


def usable_until(user_id: int) -> datetime | None:
    """Until when the stored access token needs no refresh; None when there is none."""
    found: User | None = User.get_or_none(User.id == user_id)
    return found.expires_at - MARGIN if found is not None and found.access_token and found.expires_at else None


def _stored(user_id: int, vault: Vault, rejected: str | None) -> str | None:
    user = _active(user_id)
    if not user.access_token or user.expires_at is None or user.expires_at - utcnow() < MARGIN:
        return None
    token = vault.decrypt(user.access_token)
    return token if token != rejected else None


def _active(user_id: int) -> User:
    user: User | None = User.get_or_none(User.id == user_id)
    if user is not None and user.status == DISABLED:
        raise Disabled(user_id)
    if user is None or user.status != ACTIVE or not user.refresh_token:
        raise NeedsLogin(user_id, "there is no token")
    return user


@contextmanager
def _right_to_refresh(user_id: int) -> Iterator[None]:
    holder = uuid.uuid4().hex
    mine = f"refresh:{user_id}"
    if not leases.acquire(mine, holder, REFRESH_SECONDS):
        raise SsoAway("another worker is refreshing this token", retry_after=1.0)
    try:
        slots = (f"refresh-slot:{number}" for number in range(MOST_AT_ONCE))
        slot = next((name for name in slots if leases.acquire(name, holder, REFRESH_SECONDS)), None)
        if slot is None:
            raise SsoAway("enough refreshes are under way", retry_after=1.0)
        try:
            yield
        finally:
            leases.release(slot, holder)
    finally:
        leases.release(mine, holder)


class _Held:
    """The refresh token that a refresh is made with, as long as it is the user's; also under another key of SECRET_KEYS."""

    def __init__(self, user: User, vault: Vault) -> None:
        self._user_id, self._vault = user.id, vault
        self._ciphertext = str(user.refresh_token)
        self.token = vault.decrypt(self._ciphertext)

    def change(self, write: Callable[[str], bool]) -> bool:
        """Have *write* change the user's row, which has to hold the ciphertext that it is given; False: it holds another
        token by now, since somebody logged in, disconnected or deleted the account meanwhile."""
        while not write(self._ciphertext):
            user: User | None = User.get_or_none(User.id == self._user_id)
            if user is None or user.status != ACTIVE or not user.refresh_token or not self._is_same(user.refresh_token):
                return False
            self._ciphertext = user.refresh_token
        return True

    def replace(self, refresh_token: str) -> None:
        """The SSO gave another; committed when this returns, unless the user's is another already."""
        ciphertext = self._vault.encrypt(refresh_token)
        if self.change(lambda used: accounts.keep_refresh_token(self._user_id, used, ciphertext)):
            self.token, self._ciphertext = refresh_token, ciphertext

    def _is_same(self, ciphertext: str) -> bool:
        try:
            return self._vault.decrypt(ciphertext) == self.token
        except VaultError:
            return False


def _refresh(settings: Settings, user_id: int, vault: Vault, rejected: str | None) -> str:
    user = _active(user_id)
    if user.doubted_until is not None and user.doubted_until > utcnow():
        raise SsoDoubt(user_id, REFUSED, (user.doubted_until - utcnow()).total_seconds())
    health.ask()
    held = _Held(user, vault)

    def keep(refresh_token: str) -> None:
        with connection():
            held.replace(refresh_token)

    try:
        tokens = http_session.run(login.refresh(settings, held.token, keep))
        reason = _objection(user, tokens.claims)
    except SsoAnswer as error:
        if error.code not in ("invalid_grant", "invalid_token"):
            # Anything else is about our application, not about this user: keep the token.
            what = f"refused a refresh ({error}): check SSO_CLIENT_ID, SSO_CLIENT_SECRET and the application's scopes"
            raise SsoAway(what, 300.0) from None
        reason = str(error)
        health.record_refusal(user_id)
        if user.refusals < len(DOUBT_SECONDS):
            seconds = DOUBT_SECONDS[user.refusals]
            if not held.change(lambda used: accounts.doubt(user_id, used, user.refusals + 1, seconds)):
                return _of_another_login(user_id, vault, rejected)
            log.warning("token doubted", user_id=user_id, reason=reason, refusals=user.refusals + 1, retry_in=seconds)
            raise SsoDoubt(user_id, f"{REFUSED} ({reason})", seconds) from None
    except BadToken as error:
        raise SsoAway(f"gave a token that is not usable: {error}", 60.0) from None
    if reason is not None:
        if not held.change(lambda used: accounts.need_login(user_id, used)):
            return _of_another_login(user_id, vault, rejected)
        log.warning("login needed", user_id=user_id, reason=reason)
        raise NeedsLogin(user_id, reason)
    claims, access_token = tokens.claims, vault.encrypt(tokens.access_token)
    scopes = " ".join(claims.scopes)
    if not held.change(lambda used: accounts.keep_access_token(user_id, used, access_token, claims.expires_at, scopes)):
        return _of_another_login(user_id, vault, rejected)
    if freed := health.record_success():
        accounts.end_doubts(freed)
    log.debug("token refreshed", user_id=user_id)
    return tokens.access_token


def _objection(user: User, claims: Claims) -> str | None:
    """Why the user needs to log in again although the SSO gave a token; None for no reason."""
    if claims.character_id != user.character_id:
        return "the token is of another character"
    if user.character_owner_hash and claims.owner and claims.owner != user.character_owner_hash:
        return "the character has another owner now"
    if KILLMAIL_SCOPE not in claims.scopes:
        return f"the token is without the scope {KILLMAIL_SCOPE}"
    return None


def _of_another_login(user_id: int, vault: Vault, rejected: str | None) -> str:
    """The access token of the login that was completed while this refresh was under way; what the refresh gave is void."""
    log.info("refresh overtaken by a login", user_id=user_id)
    known = _stored(user_id, vault, rejected)
    if known is None:
        raise SsoAway("the user logged in again during the refresh", retry_after=1.0)
    return known


def revoke(user_id: int) -> None:
    """End a user's refresh token at the SSO, as well as that can be done; the caller drops it here. Blocking."""
    settings = settings_module.current()
    with connection():
        user = User.get_or_none(User.id == user_id)
    if user is None or not user.refresh_token:
        return
    # The SSO may take its time, and no connection waits for it.
    try:
        http_session.run(login.revoke(settings, Vault(settings.secret_keys).decrypt(user.refresh_token)))
    except (SsoError, SsoAnswer) as error:
        log.warning("token not revoked at the SSO", user_id=user_id, reason=str(error))
