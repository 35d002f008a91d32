"""EVE's SSO: metadata, keys, authorization code with PKCE, refresh with rotation, revocation."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import html
import secrets
import time
import uuid
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa

if TYPE_CHECKING:
    from simulator.app import Simulator

KILLMAIL_SCOPES = ("esi-killmails.read_killmails.v1", "esi-killmails.read_corporation_killmails.v1")
CODE_SECONDS = 300.0


@dataclass
class Grant:
    """A login: what a code or refresh token stands for."""

    client_id: str
    character_id: int
    scopes: tuple[str, ...]
    redirect_uri: str = ""
    challenge: str = ""
    made_at: float = field(default_factory=time.time)
    refresh_tokens: set[str] = field(default_factory=set)


@dataclass
class Key:
    """A signing key."""

    kid: str
    private: rsa.RSAPrivateKey


def _new_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@cache
def _first_key() -> rsa.RSAPrivateKey:
    """One for all simulators of a process, each under a name of its own: finding it takes most of a simulator's start."""
    return _new_key()


class Sso:
    """The SSO's state and routes."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self.keys: list[Key] = []
        self.codes: dict[str, Grant] = {}
        self.used_codes: dict[str, Grant] = {}
        self.refresh_tokens: dict[str, Grant] = {}
        self.revoked_jti: set[str] = set()
        self.jti_of: dict[int, set[str]] = {}
        #: Every token ever issued, so that a test can look for them where they must not be.
        self.issued: list[str] = []
        self.refreshes = 0
        #: So many refreshes are refused next, whatever their token; below 0 for all.
        self.refuses = 0
        self._refreshing = 0
        self.auto_approve: int | None = None
        self._sign_with(_first_key())

    def rotate_keys(self) -> None:
        """Sign with a new key from now on; the old one stays known."""
        self._sign_with(_new_key())

    def _sign_with(self, private: rsa.RSAPrivateKey) -> None:
        self.keys.insert(0, Key(f"JWT-Signature-Key-{uuid.uuid4().hex[:8]}", private))

    def forget_old_keys(self) -> None:
        """Publish only the newest key."""
        del self.keys[1:]

    def revoke_character(self, character_id: int) -> None:
        """What a player does on the third-party page: every token of the character dies."""
        self.refresh_tokens = {
            token: grant for token, grant in self.refresh_tokens.items() if grant.character_id != character_id
        }
        self.revoked_jti |= self.jti_of.get(character_id, set())

    def add_routes(self, app: web.Application) -> None:
        app.router.add_get("/.well-known/oauth-authorization-server", self.metadata)
        app.router.add_get("/oauth/jwks", self.jwks)
        app.router.add_get("/v2/oauth/authorize", self.authorize)
        app.router.add_post("/v2/oauth/token", self.token)
        app.router.add_post("/v2/oauth/revoke", self.revoke)

    async def metadata(self, _request: web.Request) -> web.Response:
        origin = self._simulator.url
        return web.json_response(
            {
                "issuer": self._simulator.config.issuer,
                "authorization_endpoint": f"{origin}/v2/oauth/authorize",
                "token_endpoint": f"{origin}/v2/oauth/token",
                "response_types_supported": ["code", "token"],
                "jwks_uri": f"{origin}/oauth/jwks",
                "revocation_endpoint": f"{origin}/v2/oauth/revoke",
                "revocation_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
                "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
                "token_endpoint_auth_signing_alg_values_supported": ["HS256"],
                "code_challenge_methods_supported": ["S256"],
            }
        )

    async def jwks(self, _request: web.Request) -> web.Response:
        keys = []
        for key in self.keys:
            published = jwt.algorithms.RSAAlgorithm.to_jwk(key.private.public_key(), as_dict=True)
            keys.append({**published, "alg": "RS256", "kid": key.kid, "use": "sig"})
        return web.json_response({"keys": keys, "SkipUnresolvedJsonWebKeys": True})

    async def authorize(self, request: web.Request) -> web.Response:
        query = request.query
        client_id, redirect_uri = query.get("client_id", ""), query.get("redirect_uri", "")
        if client_id not in self._simulator.config.clients:
            return web.Response(status=400, text="unknown client_id")
        if urlsplit(redirect_uri).hostname not in ("127.0.0.1", "localhost", "::1"):
            return web.Response(status=400, text="redirect_uri is not registered")
        if query.get("response_type") != "code" or query.get("code_challenge_method") != "S256":
            return web.Response(status=400, text="response_type=code and code_challenge_method=S256 are needed")
        if not query.get("code_challenge") or not query.get("state"):
            return web.Response(status=400, text="code_challenge and state are needed")
        scopes = tuple(query.get("scope", "").split())
        if unknown := set(scopes) - set(KILLMAIL_SCOPES) - {"esi-characters.read_corporation_roles.v1", "publicData"}:
            return web.Response(status=400, text=f"unknown scope {sorted(unknown)[0][:60]}")
        if query.get("deny"):
            answer = urlencode({"error": "access_denied", "state": query["state"]})
            raise web.HTTPFound(f"{redirect_uri}?{answer}")
        chosen = query.get("auto_character") or query.get("character") or self.auto_approve
        if chosen is None:
            return web.Response(text=self._page(request, scopes), content_type="text/html")
        character_id = int(chosen)
        if character_id not in self._simulator.universe.characters:
            return web.Response(status=400, text="unknown character")
        code = secrets.token_urlsafe(24)
        self.codes[code] = Grant(client_id, character_id, scopes, redirect_uri, query["code_challenge"])
        raise web.HTTPFound(f"{redirect_uri}?{urlencode({'code': code, 'state': query['state']})}")

    def _page(self, request: web.Request, scopes: tuple[str, ...]) -> str:
        here = html.escape(str(request.rel_url))
        rows = "".join(
            f'<li><a href="{here}&amp;character={character.character_id}">{html.escape(character.name)}</a></li>'
            for character in list(self._simulator.universe.characters.values())[:20]
        )
        asked = "".join(f"<li>{html.escape(scope)}</li>" for scope in scopes)
        return (
            "<!doctype html><html lang='en'><meta charset='utf-8'><title>Log in (simulator)</title>"
            "<meta name='viewport' content='width=device-width'><style>body{font:1rem system-ui;margin:2rem auto;"
            "max-width:40rem;padding:0 1rem}</style><h1>Choose a character</h1>"
            f"<p>The application asks for:</p><ul>{asked}</ul><ul>{rows}</ul></html>"
        )

    def _client(self, request: web.Request) -> str | None:
        scheme, _, encoded = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "basic":
            return None
        try:
            client_id, _, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (ValueError, UnicodeDecodeError):
            return None
        known = self._simulator.config.clients.get(client_id)
        return client_id if known is not None and secrets.compare_digest(known, secret) else None

    async def token(self, request: web.Request) -> web.Response:
        if request.content_type != "application/x-www-form-urlencoded":
            return _error("invalid_request", "form-encoded bodies only")
        client_id = self._client(request)
        if client_id is None:
            return _error("invalid_client", "client authentication failed", 401)
        form = await request.post()
        kind = form.get("grant_type")
        if kind == "authorization_code":
            return self._exchange(client_id, form)
        if kind == "refresh_token":
            return await self._refresh(client_id, str(form.get("refresh_token", "")))
        return _error("unsupported_grant_type", "unknown grant_type")

    def _exchange(self, client_id: str, form: Any) -> web.Response:
        code = str(form.get("code", ""))
        if code in self.used_codes:
            # A code used twice was stolen: what it gave dies (RFC 6749, 4.1.2).
            for token in self.used_codes[code].refresh_tokens:
                self.refresh_tokens.pop(token, None)
            return _error("invalid_grant", "the code was used before")
        grant = self.codes.pop(code, None)
        if grant is None or grant.client_id != client_id or time.time() - grant.made_at > CODE_SECONDS:
            return _error("invalid_grant", "authorization code not found")
        verifier = str(form.get("code_verifier", ""))
        digest = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
        if not 43 <= len(verifier) <= 128 or not secrets.compare_digest(digest, grant.challenge):
            return _error("invalid_grant", "code_verifier does not match")
        if form.get("redirect_uri") not in (None, grant.redirect_uri):
            return _error("invalid_grant", "redirect_uri does not match")
        self.used_codes[code] = grant
        return self._issue(grant)

    async def _refresh(self, client_id: str, refresh_token: str) -> web.Response:
        self._refreshing += 1
        self.refreshes += 1
        try:
            if self._refreshing > self._simulator.config.most_refreshes:
                return web.Response(status=500, text="internal server error")
            await asyncio.sleep(0.02)
            if self.refuses:
                self.refuses -= 1
                return _error("invalid_grant", "Invalid refresh token. Unable to migrate grant.")
            grant = self.refresh_tokens.get(refresh_token)
            if grant is None or grant.client_id != client_id:
                return _error("invalid_grant", "Invalid refresh token. Token missing/expired.")
            if self._simulator.config.rotate_refresh_tokens:
                del self.refresh_tokens[refresh_token]
                return self._issue(grant)
            return self._issue(grant, refresh_token)
        finally:
            self._refreshing -= 1

    def _issue(self, grant: Grant, refresh_token: str | None = None) -> web.Response:
        refresh_token = refresh_token or secrets.token_urlsafe(32)
        self.refresh_tokens[refresh_token] = grant
        grant.refresh_tokens.add(refresh_token)
        access = self.access_token(grant.character_id, grant.client_id, grant.scopes)
        self.issued.extend((refresh_token, access))
        return web.json_response(
            {
                "access_token": access,
                "expires_in": int(self._simulator.config.access_token_seconds),
                "token_type": "Bearer",
                "refresh_token": refresh_token,
            },
            headers={"Cache-Control": "no-store"},
        )

    def access_token(self, character_id: int, client_id: str, scopes: tuple[str, ...], **claims: Any) -> str:
        """A signed access token; *claims* override, for tests of bad ones."""
        character = self._simulator.universe.characters[character_id]
        now, jti = int(time.time()), str(uuid.uuid4())
        self.jti_of.setdefault(character_id, set()).add(jti)
        payload = {
            "scp": scopes[0] if len(scopes) == 1 else list(scopes),
            "jti": jti,
            "kid": self.keys[0].kid,
            "sub": f"CHARACTER:EVE:{character_id}",
            "azp": client_id,
            "tenant": "tranquility",
            "tier": "live",
            "region": "world",
            "aud": [client_id, "EVE Online"],
            "name": character.name,
            "owner": character.owner,
            "exp": now + int(self._simulator.config.access_token_seconds),
            "iat": now,
            "iss": self._simulator.config.issuer,
            **claims,
        }
        return jwt.encode(payload, self.keys[0].private, algorithm="RS256", headers={"kid": self.keys[0].kid})

    def verify(self, token: str) -> dict[str, Any] | None:
        """The claims of a live access token; None for any other."""
        try:
            kid = jwt.get_unverified_header(token).get("kid")
            key = next(key for key in self.keys if key.kid == kid)
            claims: dict[str, Any] = jwt.decode(
                token, key.private.public_key(), algorithms=["RS256"], audience="EVE Online",
                issuer=self._simulator.config.issuer,
            )  # fmt: skip
        except (jwt.PyJWTError, StopIteration):
            return None
        return None if claims["jti"] in self.revoked_jti else claims

    async def revoke(self, request: web.Request) -> web.Response:
        if self._client(request) is None:
            return _error("invalid_client", "client authentication failed", 401)
        form = await request.post()
        grant = self.refresh_tokens.pop(str(form.get("token", "")), None)
        if grant is not None:
            for token in grant.refresh_tokens:
                self.refresh_tokens.pop(token, None)
        return web.Response(status=200)


def _error(code: str, description: str, status: int = 400) -> web.Response:
    return web.json_response({"error": code, "error_description": description}, status=status)
