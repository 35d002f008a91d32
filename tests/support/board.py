"""Two boards with the same data, one open and one for members, and everybody who may ask them for something."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import aiohttp
from aiohttp import web

from killsync.access import keys, store
from killsync.accounts import accounts
from killsync.accounts.accounts import NewLogin
from killsync.esi.schemas import Affiliation
from killsync.settings import KILLMAIL_SCOPE, Settings
from killsync.sso.login import digest, new_secret
from killsync.sso.vault import Vault
from killsync.web.sessions import COOKIE
from models import connection, utcnow
from models.access import KILLMAILS, RUNS
from tests.support.process import change_settings
from tests.support.resources import free_port
from tests.support.web_server import served

#: The corporation whose board it is, and another one.
OURS, OTHERS = 98_000_001, 98_000_002
MEMBER, FORMER, ADMIN = 2_112_000_101, 2_112_000_102, 2_112_000_103
NOBODY, STRANGER, FORMER_MEMBER, MEMBERS, KEY, OWN_KEY, FORMERS_KEY, ADMINS = (
    "nobody", "stranger", "former member", "member", "key", "key that reads runs", "former member's key", "admin",
)  # fmt: skip
EVERYBODY = (NOBODY, STRANGER, FORMER_MEMBER, MEMBERS, KEY, OWN_KEY, FORMERS_KEY, ADMINS)


@dataclass(frozen=True)
class Boards:
    """Where the boards are, their applications, and the headers by which each asker is known."""

    urls: dict[str, str]
    apps: dict[str, web.Application]
    headers: dict[str, dict[str, str]]
    settings: Settings

    def http(self, who: str) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(headers=self.headers[who], cookie_jar=aiohttp.DummyCookieJar())


def log_in(settings: Settings, character_id: int, corporation_id: int | None, name: str = "") -> tuple[int, str]:
    """A character with a session, as a login leaves it; (account, the header `Cookie`). Call it with a connection."""
    vault = Vault(settings.secret_keys)
    login = NewLogin(
        character_id, name or f"Pilot {character_id}", "owner", KILLMAIL_SCOPE, vault.encrypt("access"),
        vault.encrypt("refresh"), utcnow() + timedelta(hours=1),
    )  # fmt: skip
    _, account_id = accounts.log_in(login, None)
    if corporation_id is not None:
        store.note({character_id: Affiliation(character_id, corporation_id)})
    secret = new_secret()
    accounts.open_session(digest(secret), account_id, None)
    return account_id, f"{COOKIE}={vault.encrypt(secret)}"


@contextlib.asynccontextmanager
async def boards(**more: Any) -> AsyncIterator[Boards]:
    """Both boards on the database of the models, with a session or key for everybody."""
    settings = change_settings(
        LOGIN_ALLOWED=f"corporation:{OURS}", ADMIN_CHARACTER_IDS=str(ADMIN), TRUSTED_PROXIES="127.0.0.1", **more
    )
    with connection():
        member, member_cookie = log_in(settings, MEMBER, OURS)
        former, former_cookie = log_in(settings, FORMER, OTHERS)
        _, admin_cookie = log_in(settings, ADMIN, OTHERS)
        made = {
            KEY: keys.create(member, "reader", KILLMAILS),
            OWN_KEY: keys.create(member, "own", RUNS),
            FORMERS_KEY: keys.create(former, "old", RUNS),
        }
    cookies = {FORMER_MEMBER: former_cookie, MEMBERS: member_cookie, ADMINS: admin_cookie}
    # Through the proxy, so that nobody is a program of this host.
    headers: dict[str, dict[str, str]] = {who: {"X-Forwarded-For": "203.0.113.7"} for who in EVERYBODY}
    # Who was refused at the callback has what the login gave the browser before, and a session of nobody.
    headers[STRANGER]["Cookie"] = f"{COOKIE}={Vault(settings.secret_keys).encrypt(new_secret())}"
    for who, cookie in cookies.items():
        headers[who]["Cookie"] = cookie
    for who, key in made.items():
        headers[who]["Authorization"] = f"Bearer {key}"
    async with contextlib.AsyncExitStack() as stack:
        urls, apps = {}, {}
        for readers in ("everyone", "members"):
            made_apps: list[Any] = []
            board = settings.model_copy(update={"readers": readers, "web_port": free_port()})
            urls[readers] = await stack.enter_async_context(served(board, made_apps))
            apps[readers] = made_apps[0]
        yield Boards(urls, apps, headers, settings)
