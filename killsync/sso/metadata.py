"""Where the SSO's endpoints are and which keys it signs with: read from its metadata document, kept for a while."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

import aiohttp
import jwt
import msgspec

from killsync import http_session
from killsync.answers import answered, said, shown
from killsync.causes import cause
from killsync.process import OnePerSettings
from killsync.settings import Settings
from killsync.sso import schemas
from killsync.sso.errors import SsoAway

T = TypeVar("T")

#: Seconds the documents are kept. A token signed with an unknown key makes us look again, at most once a second.
KEEP_SECONDS = 3600.0
LOOK_AGAIN_SECONDS = 1.0
MOST_BYTES = 200_000
#: Fields of a form whose values are never shown, even where the SSO repeats them.
SECRET_FIELDS = frozenset({"refresh_token", "token", "code", "code_verifier", "client_secret"})
_TIMEOUT = aiohttp.ClientTimeout(total=15, connect=5)


@dataclass(frozen=True)
class Endpoints:
    """The SSO's endpoints (RFC 8414)."""

    issuer: str
    authorize: str
    token: str
    jwks: str
    revoke: str | None


class Directory:
    """The SSO of the settings, as its own documents describe it. One per process; safe between threads' loops."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._endpoints: Endpoints | None = None
        self._endpoints_at = 0.0
        self._keys: dict[str, Any] = {}
        self._keys_at = 0.0

    async def endpoints(self) -> Endpoints:
        """The endpoints.

        Raises:
            SsoAway: the metadata document cannot be had, and none is known.
        """
        if self._endpoints is not None and time.monotonic() - self._endpoints_at < KEEP_SECONDS:
            return self._endpoints
        try:
            address = f"{self._settings.sso_url}/.well-known/oauth-authorization-server"
            data = await fetch(self._settings, address, schemas.Metadata)
            self._endpoints = Endpoints(
                issuer=data.issuer,
                authorize=self._address(data.authorization_endpoint, "authorization_endpoint"),
                token=self._address(data.token_endpoint, "token_endpoint"),
                jwks=self._address(data.jwks_uri, "jwks_uri"),
                revoke=self._address(data.revocation_endpoint, "revocation_endpoint")
                if data.revocation_endpoint
                else None,
            )
            self._endpoints_at = time.monotonic()
        except SsoAway:
            if self._endpoints is None:
                raise
        return self._endpoints

    def _address(self, value: str, name: str) -> str:
        """An endpoint of the document. Plain http only where the SSO itself is reached by it, as in a simulation."""
        parts = urlsplit(value)
        allowed = {"https", urlsplit(self._settings.sso_url).scheme}
        if parts.scheme not in allowed or not parts.hostname:
            raise SsoAway(f"its metadata names no usable {name}")
        return value

    async def key(self, kid: str | None) -> Any:
        """The public key named *kid*; looks again when it is new.

        Raises:
            KeyError: the SSO has no such key.
            SsoAway: its keys cannot be had.
        """
        now = time.monotonic()
        if (
            now - self._keys_at > KEEP_SECONDS
            or (kid not in self._keys and now - self._keys_at > LOOK_AGAIN_SECONDS)
            or (kid not in self._keys and not self._keys)
        ):
            await self._load_keys()
        if kid is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys[str(kid)]

    async def _load_keys(self) -> None:
        document = await fetch(self._settings, (await self.endpoints()).jwks, schemas.KeySet)
        keys: dict[str, Any] = {}
        for raw in document.keys:
            key = schemas.decode(schemas.RsaKey, raw)
            # Only RSA signature keys: a symmetric key here would let anyone who reads this document sign.
            if key is not None and key.kty == "RSA" and key.use == "sig":
                try:
                    public = {"kty": key.kty, "n": key.n, "e": key.e}
                    keys[str(key.kid)] = jwt.algorithms.RSAAlgorithm.from_jwk(public)
                except (jwt.PyJWTError, ValueError, TypeError):
                    continue
        if not keys:
            raise SsoAway("its key document holds no RSA key")
        self._keys, self._keys_at = keys, time.monotonic()


async def fetch(
    settings: Settings, url: str, kind: type[T], *, form: dict[str, str] | None = None,
    auth: aiohttp.BasicAuth | None = None,
) -> T:  # fmt: skip
    """A JSON object from the SSO, by GET, or by POST of *form*, as the schema *kind*.

    Raises:
        SsoAway: no answer, a 5xx, or not an object of that kind.
        SsoAnswer: a 4xx; carries the OAuth error code.
    """
    secrets = [value for name, value in (form or {}).items() if name in SECRET_FIELDS]
    secrets += [auth.password] if auth is not None else []
    headers = {"User-Agent": settings.user_agent, "Accept": "application/json"}
    try:
        async with http_session.session().request(
            "GET" if form is None else "POST", url, data=form, auth=auth, headers=headers, allow_redirects=False,
            timeout=_TIMEOUT,
        ) as response:  # fmt: skip
            body = await response.content.read(MOST_BYTES + 1)
            while not response.content.at_eof() and len(body) <= MOST_BYTES:
                body += await response.content.read(MOST_BYTES)
            status = response.status
    except (aiohttp.ClientError, OSError, TimeoutError, asyncio.IncompleteReadError) as error:
        raise SsoAway(f"no answer ({cause(error)})") from None
    if status >= 500 or status == 429:
        raise SsoAway(answered("it", status, said(body, *secrets)).removeprefix("it "))
    if status >= 300:
        refusal = schemas.decode(schemas.Refusal, body)
        raise SsoAnswer(status, shown(refusal.error, *secrets)[:60] if refusal else "", said(body, *secrets))
    if len(body) > MOST_BYTES:
        raise SsoAway("answered too much")
    try:
        return msgspec.json.decode(body or b"{}", type=kind)
    except msgspec.ValidationError:
        raise SsoAway("answered something else than its documentation says") from None
    except ValueError:
        raise SsoAway("answered something that is no JSON object") from None


class SsoAnswer(Exception):
    """The SSO refused with a 4xx; `code` is its OAuth error code, and the text says what else it said. No secret."""

    def __init__(self, status: int, code: str, words: str = "") -> None:
        super().__init__(answered("EVE SSO", status, words or code))
        self.status, self.code = status, code


#: This process's directory for the SSO of its settings.
directory = OnePerSettings(Directory)
