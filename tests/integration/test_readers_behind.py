"""Readers of the log who are far behind: what each holds is theirs alone, so it is little, and few hold it at a time."""

from __future__ import annotations

import asyncio
from contextvars import Context
from typing import Any

import pytest

from killsync.events import recent
from killsync.events.recent import MOST_BEHIND_OF_ONE, Recent
from killsync.feed import stream
from models import connection
from models.work import CALLER
from tests.support.web_server import fill, new_universe


async def test_of_one_caller_a_few_catch_up_at_a_time_and_nobody_else_waits_for_them() -> None:
    log, inside, leave = Recent(), list[str](), asyncio.Event()

    async def read(caller: str, after: int) -> None:
        CALLER.set(caller)
        async with log.place(after, 10_000):
            inside.append(caller)
            await leave.wait()

    async with asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(read("greedy", 0), context=Context())
        for _ in range(3):
            await asyncio.sleep(0)
        assert inside == ["greedy"] * MOST_BEHIND_OF_ONE
        group.create_task(read("another", 0), context=Context())
        group.create_task(read("greedy", 9_990), context=Context())
        for _ in range(3):
            await asyncio.sleep(0)
        assert inside[MOST_BEHIND_OF_ONE:] == ["another", "greedy"], "who is not far behind waits for nobody"
        leave.set()
    assert len(inside) == 22


def test_great_battles_are_read_a_few_at_a_time_without_a_gap(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(new_universe(kills=(30,)), named=False)
    with connection():
        whole = recent._read(0)
        assert len(whole) == 30
        for most in (1, 20):
            monkeypatch.setattr(recent, "BATCH_ATTACKERS", most)
            read: list[recent.Numbered] = []
            while found := recent._read(len(read)):
                assert len(found) == 1 or sum(len(killmail.attackers) for _, killmail in found) <= most
                read += found
            assert read == whole


async def test_a_stream_that_waits_for_its_client_holds_no_killmails() -> None:
    class Entries:
        async def get(self, sequence: int) -> Any:
            return sequence

    batch: Any = [(1, "unwanted"), (2, "wanted"), (3, "wanted")]
    entries: Any = stream._entries(batch, Entries(), lambda killmail: killmail == "wanted")  # type: ignore[arg-type]
    assert await anext(entries) == 2
    assert batch == []
    assert [each async for each in entries] == [3]
