"""Who sends a request: by a session, whose cookie carries an encrypted random id, or by a program's access key.

The database has the SHA-256 of either. What somebody may do is decided elsewhere (`killsync.access.decision`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from aiohttp import web

from killsync.access import audit, keys, members
from killsync.access.decision import Asker
from killsync.access.keys import KnownKey
from killsync.accounts import accounts, powers
from killsync.accounts.viewer import Viewer
from killsync.settings import Settings
from killsync.sso.errors import VaultError
from killsync.sso.login import digest, new_secret
from killsync.sso.vault import Vault
from killsync.web.security import LIMITER, SETTINGS, client_ip, is_https, network_of, too_often
from models.errors import is_away
from models.threads import Busy, in_db
from models.users import ACTIVE

COOKIE = "killsync_session"
MOST_BYTES = 1024
#: A thousand streams whose readers are looked up at once may have to wait, seconds.
PATIENCE_SECONDS = 60.0


@dataclass(frozen=True)
class Caller:
    """Who sends a request, by a session or a key; a visitor has neither.

    `account`: whose session or key it is; former members have one too, and the operator's own keys have none.
    """

    account: Viewer | None = None
    key: KnownKey | None = None
    is_member: bool = False
    #: A key was sent, and it is none of ours, or was revoked.
    is_wrong_key: bool = False

    @property
    def viewer(self) -> Viewer | None:
        """The member whose own things may be shown: by their session, or by a key that may read them."""
        if self.account is None or not self.is_member:
            return None
        if self.key is None:
            return self.account
        return replace(self.account, is_admin=False) if self.key.reads_own else None

    @property
    def asker(self) -> Asker:
        """The same as far as deciding needs it."""
        is_admin = self.account.is_admin if self.account else self.key is not None
        return Asker(
            has_session=self.account is not None and self.key is None,
            has_key=self.key is not None,
            is_member=self.is_member,
            is_admin=is_admin and self.is_member,
            reads_own=self.key is not None and self.key.reads_own,
        )


VISITOR = Caller()
#: Whoever keeps something open for a session is told here when one ends in this process; it gets the digest.
ENDED: web.AppKey[list[Callable[[str], None]]] = web.AppKey("ended_sessions")
#: Who sends a request, and when that was read.
_CALLER: web.RequestKey[Caller] = web.RequestKey("caller")
_READ_AT: web.RequestKey[float] = web.RequestKey("caller_read_at")
#: A key that came otherwise than in the header.
_KEY: web.RequestKey[str] = web.RequestKey("access_key")


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


def key_of(request: web.Request) -> str | None:
    """The access key that came with a request, valid or not. Other kinds of authorization are somebody else's business."""
    presented = request.get(_KEY)
    if presented is not None:
        return presented
    scheme, _, text = request.headers.get("Authorization", "").strip().partition(" ")
    return text.strip() if scheme.lower() == "bearer" else None


def present_key(request: web.Request, text: str) -> None:
    """From now on the request, which opened a WebSocket, is that of the key."""
    request[_KEY] = text
    request.pop(_CALLER, None)


async def caller_of(request: web.Request) -> Caller:
    """Who sends this request or opens this WebSocket. A key counts before a session.

    Raises:
        web.HTTPTooManyRequests: too many wrong keys came from this address.
    """
    if _CALLER not in request:
        key = key_of(request)
        request[_READ_AT] = time.monotonic()
        if key is not None:
            request[_CALLER] = await _by_key(request, key)
        else:
            session = session_of(request)
            found = await in_db(_by_session, request.app[SETTINGS], session) if session else VISITOR
            request[_CALLER] = found
    return request[_CALLER]


async def viewer_of(request: web.Request) -> Viewer | None:
    """The member who sends this request or opens this WebSocket; None for a visitor and for a former member."""
    return (await caller_of(request)).viewer


async def account_of(request: web.Request) -> Viewer | None:
    """Whose session this is, former members too; None for a visitor and a program."""
    caller = await caller_of(request)
    return caller.account if caller.key is None else None


def known_viewer(request: web.Request) -> Viewer | None:
    """Who sends this request, if that was read already: for pages that must not need the database."""
    return request[_CALLER].viewer if _CALLER in request else None


def is_known(request: web.Request) -> bool:
    """Whether it was found out who sends this request."""
    return _CALLER in request


async def caller_within(request: web.Request, seconds: float) -> Caller:
    """Who it was at most *seconds* ago: for a WebSocket that has been open for a while."""
    if time.monotonic() - request.get(_READ_AT, 0.0) > seconds:
        request.pop(_CALLER, None)
    return await caller_of(request)


async def caller_lately(request: web.Request, seconds: float) -> Caller:
    """The same for what goes on for long: while the database is busy or away, it is who it was, for PATIENCE_SECONDS."""
    held, read_at = request.get(_CALLER), request.get(_READ_AT, 0.0)
    try:
        return await caller_within(request, seconds)
    except Exception as error:
        is_passing = isinstance(error, Busy) or is_away(error)
        if held is None or not is_passing or time.monotonic() - read_at > PATIENCE_SECONDS:
            raise
        request[_CALLER], request[_READ_AT] = held, read_at
        return held


async def viewer_within(request: web.Request, seconds: float) -> Viewer | None:
    """The member it was at most *seconds* ago."""
    return (await caller_within(request, seconds)).viewer


def check_key_rate(request: web.Request, caller: Caller) -> None:
    """Count what a key is used for.

    Raises:
        web.HTTPTooManyRequests: too often; with Retry-After.
    """
    if caller.key is not None:
        wait = request.app[LIMITER].wait("key", f"key {caller.key.id}")
        if wait:
            raise too_often(wait)


async def _by_key(request: web.Request, text: str) -> Caller:
    """The caller of a key. Wrong ones are counted against the address; a right one from there goes on working."""
    found = await in_db(_load_key, request.app[SETTINGS], text)
    if found.is_wrong_key:
        wait = request.app[LIMITER].wait("wrong_key", network_of(client_ip(request)))
        if wait:
            raise too_often(wait)
        await in_db(_record_refusal, client_ip(request))
    return found


def _record_refusal(address: str) -> None:
    audit.record_once(audit.KEY_REFUSED, subject="a program", detail="a key that is not valid", address=address)


def _load_key(settings: Settings, text: str) -> Caller:
    key = keys.check(text)
    if key is None:
        return Caller(is_wrong_key=True)
    if key.account_id is None:
        return Caller(key=key, is_member=True)
    account = _account(settings, key.account_id)
    # The last character may be gone at the very moment.
    return replace(account, key=key) if account.account is not None else Caller(is_wrong_key=True)


def _by_session(settings: Settings, id_hash: str) -> Caller:
    session = accounts.live_session(id_hash)
    if session is None:
        return VISITOR
    found = _account(settings, session.account_id)
    if found.account is None:
        return found
    return replace(found, account=replace(found.account, acting=powers.acting(found.account.users, session.user_id)))


def _account(settings: Settings, account_id: int) -> Caller:
    users = tuple(accounts.users_of(account_id))
    if not users:
        return VISITOR
    is_admin = any(user.character_id in settings.admin_character_ids and user.status == ACTIVE for user in users)
    return Caller(Viewer(account_id, users, is_admin), is_member=members.lets_in(settings, users))


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
