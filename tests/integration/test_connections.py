"""Connections that say nothing, too little, too late, or take nothing: how long they stay, and what they leave to others."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from killsync.web import connections, protocol
from killsync.web.connections import CONNECTIONS, listen
from killsync.web.security import setup as protect
from tests.support.process import change_settings
from tests.support.web_server import served

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("HEAD_SECONDS", 0.6), ("BODY_SECONDS", 0.8), ("WRITE_SECONDS", 0.8)):
        monkeypatch.setattr(protocol, name, seconds)
    monkeypatch.setattr(connections, "WATCH_SECONDS", 0.1)


@pytest_asyncio.fixture
async def port(settings: Any) -> AsyncIterator[int]:
    async with served(settings):
        yield settings.web_port


async def ended_after(reader: asyncio.StreamReader, seconds: float = 5) -> tuple[float, bytes]:
    """When the server ended the connection, and all it said."""
    began, said = time.monotonic(), b""
    with contextlib.suppress(ConnectionError):
        async with asyncio.timeout(seconds):
            said = await reader.read()
    return time.monotonic() - began, said


@pytest.mark.parametrize(
    "drops",
    [[], [b"G"], [b"\r\n"] * 40, [b"GET / HTTP/1.1\r\n"] + [b"X-A: b\r\n"] * 40,
     [b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", b"GET /"]],
    ids=["nothing", "a byte", "empty lines", "a header now and then", "a second request"],
)  # fmt: skip
async def test_a_head_that_does_not_come_ends_the_connection(port: int, drops: list[bytes]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def drip() -> None:
        with contextlib.suppress(ConnectionError):
            for drop in drops:
                writer.write(drop)
                await writer.drain()
                await asyncio.sleep(0.05)

    dripping = asyncio.create_task(drip())
    taken, _ = await ended_after(reader)
    assert 0.5 < taken < 2
    await dripping
    writer.close()


async def test_a_body_that_does_not_come_ends_the_connection(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST /graphql HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n\r\n")
    for _ in range(10):
        writer.write(b" ")
        await asyncio.sleep(0.05)
    taken, _ = await ended_after(reader)
    assert taken < 2
    writer.close()


async def test_a_browsers_connection_lives_between_its_requests(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(3):
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(16)
        await asyncio.sleep(0.9)
    assert not reader.at_eof()
    writer.close()


async def test_one_address_has_so_many_connections_and_the_silent_ones_make_room(
    port: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 30)
    monkeypatch.setattr(connections, "MOST_OF_ONE", 20)
    silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(60)]
    await asyncio.sleep(0.3)
    async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{port}/healthz") as answer:
        assert answer.status == 200
    assert sum(reader.at_eof() or reader.exception() is not None for reader, _ in silent) >= 40
    assert not [record for record in caplog.records if "exception" in record.getMessage()]
    for _, writer in silent:
        writer.close()


async def test_connections_that_are_all_at_work_leave_no_room_and_the_next_is_told(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "MOST_OF_ONE", 5)
    async with _slow_site(settings) as (port, _):
        busy = [await asyncio.open_connection("127.0.0.1", port) for _ in range(5)]
        for _, writer in busy:
            writer.write(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        await asyncio.sleep(0.2)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        _, said = await ended_after(reader)
        assert said.startswith(b"HTTP/1.1 429 ") and b"Retry-After" in said
        for _, each in [*busy, (reader, writer)]:
            each.close()


async def test_all_addresses_together_leave_file_descriptors_for_the_rest(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 30)
    monkeypatch.setattr(connections, "_most_connections", lambda: 30)
    # A proxy's connections are not counted as one address's.
    monkeypatch.setattr(connections, "MOST_OF_ONE", 5)
    async with served(change_settings(TRUSTED_PROXIES="127.0.0.1")):
        silent = [await asyncio.open_connection("127.0.0.1", settings.web_port) for _ in range(100)]
        await asyncio.sleep(0.3)
        left = sum(not (reader.at_eof() or reader.exception()) for reader, _ in silent)
        assert left == 30
        async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{settings.web_port}/readyz") as answer:
            assert answer.status in (200, 503)
        for _, writer in silent:
            writer.close()


@contextlib.asynccontextmanager
async def _slow_site(settings: Any, answer: bytes = b"") -> AsyncIterator[tuple[int, Any]]:
    """A small application behind the same connections."""

    async def slow(_request: Any) -> Any:
        await asyncio.sleep(0.5 if not answer else 0)
        return aiohttp.web.Response(body=answer)

    app = aiohttp.web.Application()
    protect(app, settings)
    connections.setup(app)
    app.router.add_get("/slow", slow)
    runner = await listen(app, "127.0.0.1", 0)
    try:
        yield runner.addresses[0][1], app[CONNECTIONS][0]
    finally:
        await runner.cleanup()


async def test_answers_that_nobody_takes_are_bounded_and_given_up(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "MOST_UNREAD_OF_ONE", 12_000_000)
    async with _slow_site(settings, b"x" * 4_000_000) as (port, held):
        readers = []
        for _ in range(30):
            # A connection that takes next to nothing by itself.
            reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1_024)
            writer.write(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
            readers.append((reader, writer))
        most = 0
        for _ in range(20):
            await asyncio.sleep(0.02)
            most = max(most, held.unread())
        assert 0 < most <= 13_000_000
        await asyncio.sleep(1.5)
        assert held.unread() < 1_000_000, "who takes nothing was cut off"
        for _, writer in readers:
            writer.close()


async def test_of_all_who_do_not_read_the_slowest_go_first(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "WRITE_SECONDS", 30)
    monkeypatch.setattr(connections, "MOST_UNREAD_IN_ALL", 5_000_000)
    async with _slow_site(settings, b"x" * 4_000_000) as (port, held):
        readers = []
        for _ in range(5):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1_024)
            writer.write(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
            readers.append((reader, writer))
            await asyncio.sleep(0.15)
        await asyncio.sleep(0.3)
        assert held.unread() <= 5_000_000
        for _, writer in readers:
            writer.close()


async def test_a_reader_that_is_only_slow_gets_everything(settings: Any) -> None:
    async with _slow_site(settings, b"x" * 6_000_000) as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=65_536)
        writer.write(b"GET /slow HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        taken = 0
        while data := await reader.read(200_000):
            taken += len(data)
            await asyncio.sleep(0.03)
        assert taken > 6_000_000
        writer.close()
