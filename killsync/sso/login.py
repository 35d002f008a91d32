"""A login at EVE SSO: authorization code with PKCE (S256), and a state that one browser can use once."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlencode

import aiohttp

from killsync.settings import Settings
from killsync.sso import schemas
from killsync.sso.errors import LoginRefused
from killsync.sso.jwt import Claims, verify
from killsync.sso.metadata import SsoAnswer, directory, fetch


@dataclass(frozen=True)
class Tokens:
    """What the SSO gave for a code or a refresh token, with the verified claims of the access token."""

    access_token: str
    refresh_token: str
    claims: Claims

    def __repr__(self) -> str:
        return f"Tokens(character {self.claims.character_id})"


def new_secret() -> str:
    """A random text for a state, a verifier or a session: 256 bits."""
    return secrets.token_urlsafe(32)


def digest(secret: str) -> str:
    """What is stored of a secret that only needs to be recognized."""
    return hashlib.sha256(secret.encode()).hexdigest()


def challenge(verifier: str) -> str:
    """The S256 code challenge of *verifier* (RFC 7636, 4.2)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")


async def authorize_url(settings: Settings, state: str, verifier: str, scopes: tuple[str, ...]) -> str:
    """Where to send the browser."""
    query = {
        "response_type": "code",
        "client_id": settings.sso_client_id,
        "redirect_uri": settings.sso_callback_url,
        "scope": " ".join(scopes),
        "state": state,
        "code_challenge": challenge(verifier),
        "code_challenge_method": "S256",
    }
    address = (await directory(settings).endpoints()).authorize
    return f"{address}{'&' if '?' in address else '?'}{urlencode(query)}"


async def exchange(settings: Settings, code: str, verifier: str) -> Tokens:
    """Tokens for a code.

    Raises:
        LoginRefused: the SSO does not take the code.
        SsoAway: the SSO cannot be asked.
        BadToken: what it gave does not verify.
    """
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "code_verifier": verifier,
        "redirect_uri": settings.sso_callback_url,
    }
    try:
        return await _tokens(settings, form, "")
    except SsoAnswer as error:
        raise LoginRefused(f"EVE's login did not accept it ({error}); please try again") from None


async def refresh(settings: Settings, refresh_token: str, keep: Callable[[str], None]) -> Tokens:
    """New tokens for a refresh token.

    Args:
        settings: whose SSO and client.
        refresh_token: the one that is stored.
        keep: stores the token that the SSO put in its place, if it did; called in a thread before anything else can go
            wrong, since the old one may be dead from this moment on.

    Raises:
        SsoAnswer: the SSO refuses; `code` says why.
        SsoAway: the SSO cannot be asked.
        BadToken: what it gave does not verify.
    """
    form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
    return await _tokens(settings, form, refresh_token, keep)


async def check_client(settings: Settings) -> str | None:
    """Why the SSO does not take the client id and secret of *settings*, in its words; None when it takes them.

    It is asked to refresh a token that never was. What it objects to first is the client (RFC 6749, 5.2).

    Raises:
        SsoAway: the SSO cannot be asked.
    """
    form = {"grant_type": "refresh_token", "refresh_token": "none"}
    try:
        address = (await directory(settings).endpoints()).token
        await fetch(settings, address, schemas.TokenAnswer, form=form, auth=_client(settings))
    except SsoAnswer as error:
        is_client = error.status == 401 or error.code in ("invalid_client", "unauthorized_client")
        return str(error) if is_client else None
    return None


async def revoke(settings: Settings, refresh_token: str) -> None:
    """End a refresh token (RFC 7009). Without a revocation endpoint this does nothing."""
    address = (await directory(settings).endpoints()).revoke
    if address is not None:
        form = {"token_type_hint": "refresh_token", "token": refresh_token}
        await fetch(settings, address, schemas.Done, form=form, auth=_client(settings))


async def _tokens(
    settings: Settings, form: dict[str, str], old_refresh_token: str, keep: Callable[[str], None] | None = None
) -> Tokens:
    address = (await directory(settings).endpoints()).token
    answer = await fetch(settings, address, schemas.TokenAnswer, form=form, auth=_client(settings))
    refresh_token = answer.refresh_token or old_refresh_token
    if not answer.access_token or not refresh_token:
        raise SsoAnswer(200, "no tokens in its answer")
    if keep is not None and refresh_token != old_refresh_token:
        await asyncio.get_running_loop().run_in_executor(None, keep, refresh_token)
    return Tokens(answer.access_token, refresh_token, await verify(settings, answer.access_token))


def _client(settings: Settings) -> aiohttp.BasicAuth:
    return aiohttp.BasicAuth(settings.sso_client_id, settings.sso_client_secret)
