"""Sessions: the cookie carries an encrypted random id, the database its SHA-256 with account and expiry."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from killsync.accounts import accounts, powers
from killsync.settings import Settings
from killsync.sso.errors import VaultError
from killsync.sso.login import digest, new_secret
from killsync.sso.vault import Vault
from killsync.web.security import SETTINGS, is_https
from models.threads import in_db
from models.users import ACTIVE, User

COOKIE = "killsync_session"
MOST_BYTES = 1024


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


#: Whoever keeps something open for a session is told here when one ends in this process; it gets the digest.
ENDED: web.AppKey[list[Callable[[str], None]]] = web.AppKey("ended_sessions")
#: Who sends a request, and when that was read.
_VIEWER: web.RequestKey[Viewer | None] = web.RequestKey("viewer")
_READ_AT: web.RequestKey[float] = web.RequestKey("viewer_read_at")


def cookie_name(request: web.Request, name: str) -> str:
    """The name of one of our cookies as this request's browser has it.

    Over https it begins with `__Host-`: a browser takes such a cookie from this very host alone, over https alone, so that
    neither a neighbouring host nor somebody on the way can plant one.
    """
    return f"__Host-{name}" if is_https(request) else name


def has_cookie(request: web.Request, name: str) -> bool:
    """Whether the browser sent one of our cookies, whatever is in it."""
    return cookie_name(request, name) in request.cookies


def session_of(request: web.Request) -> str | None:
    """The digest of the session that a request names; it may have ended."""
    session = read_cookie(request, COOKIE)
    return digest(session) if session else None


def read_cookie(request: web.Request, name: str) -> str | None:
    """The secret in one of our cookies; None when it is absent, oversized or not ours."""
    value = request.cookies.get(cookie_name(request, name), "")
    if not value or len(value) > MOST_BYTES:
        return None
    try:
        return Vault(request.app[SETTINGS].secret_keys).decrypt(value)
    except (VaultError, ValueError):
        return None


def write_cookie(request: web.Request, response: web.StreamResponse, name: str, secret: str, seconds: int) -> None:
    """Set one of our cookies: encrypted and signed, out of reach of scripts and of other sites' requests."""
    response.set_cookie(
        cookie_name(request, name),
        Vault(request.app[SETTINGS].secret_keys).encrypt(secret),
        max_age=seconds,
        httponly=True,
        secure=is_https(request),
        samesite="Lax",
        path="/",
    )


def drop_cookie(request: web.Request, response: web.StreamResponse, name: str) -> None:
    """Have the browser forget one of our cookies."""
    response.del_cookie(cookie_name(request, name), path="/", secure=is_https(request), httponly=True, samesite="Lax")


async def viewer_of(request: web.Request) -> Viewer | None:
    """Who sends this request or opens this WebSocket; None for a visitor."""
    if _VIEWER not in request:
        session = session_of(request)
        request[_READ_AT] = time.monotonic()
        request[_VIEWER] = await in_db(_load, request.app[SETTINGS], session) if session else None
    viewer: Viewer | None = request[_VIEWER]
    return viewer


def known_viewer(request: web.Request) -> Viewer | None:
    """Who sends this request, if that was read already: for pages that must not need the database."""
    viewer: Viewer | None = request.get(_VIEWER)
    return viewer


def is_known(request: web.Request) -> bool:
    """Whether it was found out who sends this request."""
    return _VIEWER in request


async def viewer_within(request: web.Request, seconds: float) -> Viewer | None:
    """The same, as it was at most *seconds* ago: for a WebSocket that has been open for a while."""
    if time.monotonic() - request.get(_READ_AT, 0.0) > seconds:
        request.pop(_VIEWER, None)
    return await viewer_of(request)


def _load(settings: Settings, id_hash: str) -> Viewer | None:
    session = accounts.live_session(id_hash)
    if session is None:
        return None
    account_id = session.account_id
    users = tuple(accounts.users_of(account_id))
    if not users:
        return None
    if session.user_id is None:
        # Begun by the version before, which did not tell the characters of an account apart.
        acting: User | None = min(users, key=powers.since)
    else:
        acting = next((user for user in users if user.id == session.user_id), None)
    is_admin = any(user.character_id in settings.admin_character_ids and user.status == ACTIVE for user in users)
    return Viewer(account_id, users, is_admin, acting)


async def begin(request: web.Request, response: web.StreamResponse, account_id: int, user_id: int | None) -> None:
    """Start a session by the character *user_id*, under a new id; the browser's old one ends, so that nobody can plant one."""
    await _close(request)
    session = new_secret()
    await in_db(accounts.open_session, digest(session), account_id, user_id)
    write_cookie(request, response, COOKIE, session, int(accounts.SESSION_LIFE.total_seconds()))


async def end(request: web.Request, response: web.StreamResponse) -> None:
    """End the session, on the server too, and whatever is open under it."""
    await _close(request)
    drop_cookie(request, response, COOKIE)


async def _close(request: web.Request) -> None:
    id_hash = session_of(request)
    if id_hash is not None:
        await in_db(accounts.close_session, id_hash)
        for tell in request.app[ENDED]:
            tell(id_hash)


def setup(app: web.Application) -> None:
    """Let others be told of sessions that end."""
    app[ENDED] = []
