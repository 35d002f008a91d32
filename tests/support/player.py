"""A player with a browser: logs in through the simulator's SSO as the page has it, and keeps the cookies."""

from __future__ import annotations

import re
from collections.abc import Callable
from types import TracebackType
from typing import Any
from urllib.parse import unquote

import aiohttp


class Player:
    """One browser."""

    def __init__(self, url: str, address: str = "127.0.0.1") -> None:
        """*address* of this machine is where the browser's requests come from."""
        self.url = url
        #: How this browser reaches an address that it is sent to.
        self.through: Callable[[str], str] = str
        way = aiohttp.TCPConnector(local_addr=(address, 0)) if address != "127.0.0.1" else None
        self.browser = aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True), connector=way)

    async def __aenter__(self) -> Player:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        trace: TracebackType | None) -> None:  # fmt: skip
        await self.browser.close()

    async def log_in(self, character_id: int, **query: str) -> aiohttp.ClientResponse:
        """Log in as the character; the callback's answer, not followed."""
        begun = await self.browser.get(f"{self.url}/auth/login", params=query, allow_redirects=False)
        assert begun.status == 302, await begun.text()
        chosen = f"{self.through(begun.headers['Location'])}&auto_character={character_id}"
        approved = await self.browser.get(chosen, allow_redirects=False)
        assert approved.status == 302, await approved.text()
        return await self.browser.get(approved.headers["Location"], allow_redirects=False)

    async def add(self, character_id: int) -> aiohttp.ClientResponse:
        """Add a character to the account, as the page has it; the callback's answer, not followed."""
        page = await (await self.browser.get(f"{self.url}/auth/add")).text()
        found = re.search(r'href="/auth/login\?join=([^"&]+)&amp;next=%2Fme"', page)
        assert found is not None, page
        return await self.log_in(character_id, join=unquote(found[1]), next="/me")

    async def choose(self, asked: aiohttp.ClientResponse, choice: str) -> aiohttp.ClientResponse:
        """Answer the page *asked* that a login of another character gives: `switch` or `add`."""
        found = re.search(r'name="proof" value="([^"]+)"', await asked.text())
        assert found is not None, await asked.text()
        data = {"proof": found[1], "choice": choice}
        return await self.browser.post(f"{self.url}/auth/choose", data=data, allow_redirects=False)

    async def graphql(self, query: str, **variables: Any) -> dict[str, Any]:
        """POST an operation; the whole response body."""
        body = {"query": query, "variables": variables}
        async with self.browser.post(f"{self.url}/graphql", json=body) as answer:
            found: dict[str, Any] = await answer.json(content_type=None)
            return found

    async def data(self, query: str, **variables: Any) -> dict[str, Any]:
        """The data of an operation that succeeds."""
        answer = await self.graphql(query, **variables)
        assert "errors" not in answer, answer["errors"]
        data: dict[str, Any] = answer["data"]
        return data

    def cookies(self) -> dict[str, str]:
        """The headers that carry this browser's cookies, for a client that is not this browser."""
        held = "; ".join(f"{cookie.key}={cookie.value}" for cookie in self.browser.cookie_jar)
        return {"Cookie": held}
