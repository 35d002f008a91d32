"""Speaking to the simulator as any ESI application does, with none of Killsync's code."""

from __future__ import annotations

import base64
import hashlib
import secrets
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp

from simulator import Handle
from tests.support.deployment import CLIENT

SCOPE = "esi-killmails.read_killmails.v1"
CORPORATION_SCOPE = "esi-killmails.read_corporation_killmails.v1"
HEADERS = {
    "User-Agent": "Simulator-Tests/1.0 (tests@localhost)",
    "X-Compatibility-Date": "2026-08-18",
    "Accept": "application/json",
}
CALLBACK = "http://127.0.0.1:1/auth/callback"


async def code_of(handle: Handle, character_id: int, *scopes: str, challenge: str = "") -> str:
    """An authorization code."""
    query = {
        "response_type": "code", "client_id": CLIENT[0], "redirect_uri": CALLBACK, "state": "s",
        "scope": " ".join(scopes or (SCOPE,)), "auto_character": str(character_id),
    }  # fmt: skip
    if challenge:
        query.update(code_challenge=challenge, code_challenge_method="S256")
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"{handle.url}/v2/oauth/authorize", params=query, allow_redirects=False) as answer,
    ):
        assert answer.status == 302, await answer.text()
        return parse_qs(urlsplit(answer.headers["Location"]).query)["code"][0]


def pkce() -> tuple[str, str]:
    """(verifier, challenge)."""
    verifier = secrets.token_urlsafe(40)
    digest = hashlib.sha256(verifier.encode()).digest()
    return verifier, base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


async def token_call(handle: Handle, client: tuple[str, str] = CLIENT, **form: str) -> tuple[int, dict[str, Any]]:
    """POST to the token endpoint."""
    auth = aiohttp.BasicAuth(*client)
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{handle.url}/v2/oauth/token", data=form, auth=auth) as answer,
    ):
        return answer.status, await answer.json()


async def tokens_of(handle: Handle, character_id: int, *scopes: str) -> dict[str, Any]:
    """Access and refresh token of a character."""
    verifier, challenge = pkce()
    code = await code_of(handle, character_id, *scopes, challenge=challenge)
    status, answer = await token_call(handle, grant_type="authorization_code", code=code, code_verifier=verifier)
    assert status == 200, answer
    return answer


async def token_of(handle: Handle, character_id: int, *, corporation: bool = False) -> str:
    """An access token."""
    scopes = (SCOPE, CORPORATION_SCOPE) if corporation else (SCOPE,)
    token: str = (await tokens_of(handle, character_id, *scopes))["access_token"]
    return token
