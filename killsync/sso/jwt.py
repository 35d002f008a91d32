"""Verifying EVE SSO's access tokens: RS256 only, issuer in its spellings, audience holding us and EVE Online."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import jwt

from killsync.settings import Settings
from killsync.sso.errors import BadToken
from killsync.sso.metadata import directory

#: Seconds by which our clock and the SSO's may differ.
LEEWAY = 30
MOST_BYTES = 16_384


@dataclass(frozen=True)
class Claims:
    """Who an access token is for (https://developers.eveonline.com/docs/services/sso/#validating-jwt-tokens)."""

    character_id: int
    name: str
    owner: str
    scopes: tuple[str, ...]
    expires_at: datetime


async def verify(settings: Settings, token: str) -> Claims:
    """The claims of an access token.

    Raises:
        BadToken: it is forged, expired, of another application or malformed; the text says which, without the token.
        SsoAway: the SSO's keys cannot be had.
    """
    if len(token) > MOST_BYTES:
        raise BadToken("the access token is too large")
    try:
        header = jwt.get_unverified_header(token)
        if header.get("alg") != "RS256":
            raise BadToken("the access token is not signed with RS256")
        key = await directory(settings).key(header.get("kid"))
        payload: dict[str, Any] = jwt.decode(
            token, key, algorithms=["RS256"], audience=settings.sso_client_id, leeway=LEEWAY,
            # A clock of ours that is behind would take a new token for one of the future; `exp` is what guards it.
            options={"require": ["exp", "iss", "aud", "sub"], "verify_iat": False},
        )  # fmt: skip
    except KeyError:
        raise BadToken("the access token is signed with an unknown key") from None
    except jwt.PyJWTError as error:
        raise BadToken(f"the access token does not verify ({type(error).__name__})") from None
    endpoints = await directory(settings).endpoints()
    if not _is_issuer(str(payload["iss"]), {"https://login.eveonline.com", settings.sso_url, endpoints.issuer}):
        raise BadToken("the access token is from another issuer")
    audience = payload["aud"] if isinstance(payload["aud"], list) else [payload["aud"]]
    if "EVE Online" not in audience:
        raise BadToken("the access token is not for EVE Online")
    return _claims(payload)


def _is_issuer(issuer: str, known: set[str]) -> bool:
    """EVE SSO writes its issuer with or without scheme and trailing slash."""

    def bare(text: str) -> str:
        parts = urlsplit(text if "://" in text else f"//{text}")
        return (parts.netloc + parts.path).rstrip("/").lower()

    return bool(issuer) and bare(issuer) in {bare(each) for each in known if each}


def _claims(payload: dict[str, Any]) -> Claims:
    match = re.fullmatch(r"CHARACTER:EVE:(\d{1,18})", str(payload["sub"]))
    if not match:
        raise BadToken("the access token is not a character's")
    scopes = payload.get("scp", [])
    scopes = scopes.split() if isinstance(scopes, str) else scopes
    if not isinstance(scopes, list) or not all(isinstance(scope, str) for scope in scopes):
        raise BadToken("the access token's scopes are malformed")
    return Claims(
        character_id=int(match[1]),
        name=str(payload.get("name", "")) or match[1],
        owner=str(payload.get("owner", "")),
        scopes=tuple(scopes),
        expires_at=datetime.fromtimestamp(int(payload["exp"]), UTC),
    )
