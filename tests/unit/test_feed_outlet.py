"""What is on its way to readers of event streams: whole for who reads, and bounded for who does not."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any
from unittest.mock import Mock

import aiohttp
import pytest
from aiohttp import test_utils, web

from killsync.feed import outlet as outlets
from killsync.feed.entries import Packed
from killsync.feed.outlet import MOST_HELD, PIECE, Held, Outlet


def an_entry(sequence: int, size: int) -> Packed:
    return Packed(sequence, os.urandom(size // 2).hex().encode(), b"", "tag")


def test_one_entry_for_many_counts_once_and_different_ones_have_a_bound() -> None:
    held, size = Held(), MOST_HELD // 4
    same, readers = an_entry(1, size), [Mock() for _ in range(40)]
    for reader in readers:
        held.add(reader, same)
    assert not any(reader.abort.called for reader in readers)
    others = [Mock() for _ in range(4)]
    for place, other in enumerate(others):
        held.add(other, an_entry(2 + place, size))
    # The forty that keep the first entry have taken longest, and only without all of them it is gone.
    assert all(reader.abort.called for reader in readers)
    assert not any(other.abort.called for other in others)
    for reader in (*readers, *others):
        held.drop(reader)
        held.drop(reader)
    assert held.in_all == 0


async def served(entry: Packed, held: Held, then: Callable[[Outlet], Awaitable[None]]) -> test_utils.TestServer:
    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        writer = await response.prepare(request)
        assert writer is not None and request.transport is not None
        outlet = Outlet(response, writer, request.transport, held)
        await outlet.say(b":\n")
        await then(outlet)
        return response

    app = web.Application()
    app.router.add_get("/", handle)
    server = test_utils.TestServer(app)
    await server.start_server()
    return server


@pytest.mark.parametrize("size", [10, PIECE - 1, PIECE, PIECE + 1, 40 * PIECE + 7])
async def test_an_entry_of_any_size_arrives_as_it_is(size: int) -> None:
    held, entry = Held(), an_entry(7, size)

    async def tell(outlet: Outlet) -> None:
        await outlet.tell(entry, b"retry: 5\n")

    server = await served(entry, held, tell)
    async with aiohttp.ClientSession() as http, http.get(server.make_url("/")) as answer:
        assert await answer.read() == b":\nretry: 5\nid: 7\ndata: " + entry.body + b"\n\n"
    await server.close()
    assert held.in_all == 0


async def test_who_reads_nothing_keeps_two_pieces_and_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlets, "SEND_SECONDS", 0.5)
    held, entry = Held(), an_entry(1, 16 * 2**20)
    kept: list[int] = []
    ended: list[Any] = []

    async def tell(outlet: Outlet) -> None:
        telling = asyncio.ensure_future(outlet.tell(entry))
        telling.add_done_callback(lambda told: ended.append(told.exception()))
        await asyncio.sleep(0.3)
        kept.append(outlet.waiting)
        await asyncio.wait([telling])

    server = await served(entry, held, tell)
    _, writer = await asyncio.open_connection(server.host, server.port, limit=1)
    writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    async with asyncio.timeout(10):
        while not ended:
            await asyncio.sleep(0.02)
    assert isinstance(ended[0], ConnectionResetError)
    assert 0 < kept[0] <= 3 * PIECE
    assert held.in_all == 0
    writer.close()
    await server.close()
