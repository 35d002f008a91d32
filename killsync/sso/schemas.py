"""What EVE SSO answers, as msgspec schemas. Pure; no text here carries what an answer held.

Sources: RFC 8414 (metadata), RFC 6749 (tokens and errors), RFC 7517 (keys). Unknown fields are passed over.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

T = TypeVar("T")


class Metadata(msgspec.Struct, frozen=True):
    """The metadata document; an address that is missing is empty."""

    issuer: str = ""
    authorization_endpoint: str = ""
    token_endpoint: str = ""
    jwks_uri: str = ""
    revocation_endpoint: str | None = None


class TokenAnswer(msgspec.Struct, frozen=True):
    """What the token endpoint gives; `refresh_token` is absent when the old one stays."""

    access_token: str = ""
    refresh_token: str | None = None

    def __repr__(self) -> str:
        return "TokenAnswer()"


class Done(msgspec.Struct, frozen=True):
    """An answer of which nothing is read."""


class Refusal(msgspec.Struct, frozen=True):
    """An OAuth error; the words for people are read by `killsync.answers`."""

    error: str = ""


class KeySet(msgspec.Struct, frozen=True):
    """The key document. Each key is decoded by itself: RFC 7517 wants those that are not understood to be ignored."""

    keys: list[msgspec.Raw] = []


class RsaKey(msgspec.Struct, frozen=True):
    """An RSA public key: modulus and exponent in base64url."""

    kty: str
    n: str
    e: str
    kid: str | None = None
    use: str = "sig"


def decode(kind: type[T], body: bytes | msgspec.Raw) -> T | None:
    """*body* as *kind*; None when it is something else."""
    try:
        return msgspec.json.decode(body, type=kind)
    except ValueError:
        return None
