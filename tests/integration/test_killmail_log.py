"""The log of killmails: numbers without gaps in the order of commits, and subscriptions that read on from any of them."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from killsync.events import store
from killsync.events.hub import Hub, NotInLog
from killsync.killmails import ledger
from killsync.killmails.store import save_killmails
from models import connection
from models.sql import rows, run, sql_now
from simulator.universe import Universe
from tests.support.web_server import new_universe, save_one, served

QUERY = (
    "subscription ($after: ID, $filter: KillmailFilter) { newKillmail(after: $after, filter: $filter) { id sequence } }"
)


def numbered() -> list[tuple[int, int]]:
    with connection():
        return rows("SELECT sequence, killmail_id FROM killmail_log ORDER BY sequence")


def save_all(universe: Universe, ids: list[int]) -> None:
    """Store several in one transaction."""
    given = [(universe.body(each), universe.kills[each].killmail_hash) for each in ids]
    with connection():
        for each in ids:
            ledger.add_submitted(each, universe.kills[each].killmail_hash, proven=True)
        save_killmails(given)


def test_a_batch_takes_a_range_and_each_killmail_keeps_its_number(settings: Any) -> None:
    universe = new_universe(kills=(12,))
    ids = sorted(universe.kills)
    save_all(universe, ids[:5])
    save_all(universe, ids[3:9])
    assert [sequence for sequence, _ in numbered()] == list(range(1, 10))
    assert sorted(killmail_id for _, killmail_id in numbered()) == ids[:9]
    with connection():
        assert rows("SELECT sequence, killmail_id FROM killmail ORDER BY sequence") == numbered()
        assert rows("SELECT last FROM killmail_counter") == [(9,)]
        assert store.span() == (1, 9)


def test_what_fails_takes_no_number(settings: Any) -> None:
    universe = new_universe(kills=(6,))
    ids = sorted(universe.kills)
    good = [(universe.body(each), universe.kills[each].killmail_hash) for each in ids]
    good[2][0]["attackers"][0]["damage_done"] = 2**70
    with connection():
        for each in ids:
            ledger.add_submitted(each, universe.kills[each].killmail_hash, proven=True)
        save_killmails(good)
    assert [sequence for sequence, _ in numbered()] == [1, 2, 3, 4, 5]
    assert ids[2] not in {killmail_id for _, killmail_id in numbered()}


def test_a_reader_beside_many_writers_never_sees_a_gap(settings: Any) -> None:
    """Four threads store at once; whoever reads "greater than n" all the time has every number, in order."""
    universe = new_universe(kills=(80,))
    ids = sorted(universe.kills)
    writers = [
        threading.Thread(target=lambda part=ids[n::4]: [save_one(universe, each) for each in part]) for n in range(4)
    ]
    for writer in writers:
        writer.start()
    read: list[int] = []
    with connection():
        while any(writer.is_alive() for writer in writers) or len(read) < store.newest():
            for entry in store.after(read[-1] if read else 0, 3):
                assert entry.sequence == len(read) + 1, "a number that can be read has none before it still to come"
                read.append(entry.sequence)
    assert len(read) == len(ids) == store.newest()


def test_the_log_is_kept_for_its_time_and_its_newest_for_ever(settings: Any) -> None:
    universe = new_universe(kills=(5,))
    save_all(universe, sorted(universe.kills))
    with connection():
        run(f"UPDATE killmail_log SET created_at = {sql_now(-8 * 86_400)} WHERE sequence <= 2")
        assert store.prune(7 * 86_400.0) == 2
        assert store.span() == (3, 5)
        run(f"UPDATE killmail_log SET created_at = {sql_now(-8 * 86_400)}")
        assert store.prune(7 * 86_400.0) == 2
        assert store.span() == (5, 5)
    save_one(new_universe(kills=(3,), seed=5), next(iter(new_universe(kills=(3,), seed=5).kills)))
    assert [sequence for sequence, _ in numbered()] == [5, 6]


async def test_whom_another_process_told_more_is_not_called_ahead_of_the_log(settings: Any) -> None:
    """A process that looked at the log a moment ago looks again for who comes back with a number it has not heard of."""
    universe = new_universe(kills=(6,))
    ids = sorted(universe.kills)
    await asyncio.to_thread(save_all, universe, ids[:2])
    hub = Hub(settings)  # not started: it hears of nothing by itself
    hub._set(store.Span(1, 1))
    assert await hub.begin(2) == 2
    await asyncio.to_thread(save_all, universe, ids[2:3])
    assert await hub.begin(3) == 3
    assert hub.span == (1, 3)
    with pytest.raises(NotInLog):
        await hub.begin(4)


async def test_what_a_reader_is_given_is_known_to_be_in_the_log(settings: Any) -> None:
    """What is read may be more than the process had heard of; who is given a number can look it up."""
    universe = new_universe(kills=(6,))
    await asyncio.to_thread(save_all, universe, sorted(universe.kills)[:4])
    hub = Hub(settings)  # not started: it hears of nothing by itself
    hub._set(store.Span(1, 2))
    async with contextlib.aclosing(hub.batches(0)) as batches:
        given = [number for number, _ in await anext(batches)]
    assert given == [1, 2, 3, 4] and hub.span == (1, 4)


async def test_many_who_begin_at_once_share_a_look_at_the_log(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []
    real = store.span
    monkeypatch.setattr(store, "span", lambda: looks.append(1) or real())
    hub = Hub(settings)
    hub._set(store.Span(1, 5))
    await asyncio.gather(*(hub.begin(0) for _ in range(200)))
    assert 1 <= len(looks) <= 2


# Subscriptions.


class Place:
    """A universe, and a web server that can be stopped and started."""

    def __init__(self, settings: Any) -> None:
        self.settings = settings
        self.universe = new_universe(kills=(60,))
        self.ids = sorted(self.universe.kills)

    async def save(self, *ids: int) -> None:
        for each in ids:
            await asyncio.get_running_loop().run_in_executor(None, save_one, self.universe, each)


class Client:
    """A program that remembers the last number it was given, and no more."""

    def __init__(self) -> None:
        self.got: list[tuple[int, int]] = []

    async def listen(
        self, url: str, wanted: int, filter: dict[str, Any] | None = None, after: int | None = None
    ) -> None:
        """Listen until it has *wanted* killmails in all, or the server goes."""
        after = after if after is not None else self.got[-1][0] if self.got else None
        variables = {"after": None if after is None else str(after), "filter": filter}
        async with (
            aiohttp.ClientSession() as http,
            http.ws_connect(f"{url}/graphql", protocols=("graphql-transport-ws",)) as socket,
        ):
            await socket.send_json({"type": "connection_init"})
            await socket.send_json(
                {"id": "1", "type": "subscribe", "payload": {"query": QUERY, "variables": variables}}
            )
            while len(self.got) < wanted:
                message = await socket.receive(timeout=15)
                if message.type is not aiohttp.WSMsgType.TEXT:
                    return
                answer = message.json()
                if answer["type"] == "error":
                    raise LookupError(answer["payload"][0])
                if answer["type"] == "next":
                    told = answer["payload"]["data"]["newKillmail"]
                    self.got.append((int(told["sequence"]), int(told["id"])))


@pytest_asyncio.fixture
async def place(settings: Any) -> AsyncIterator[Place]:
    yield Place(settings)


async def test_a_subscriber_reads_on_across_a_restart_of_the_web_server(place: Place) -> None:
    client = Client()
    await place.save(*place.ids[:3])
    async with served(place.settings) as url:
        listening = asyncio.create_task(client.listen(url, 60, after=1))
        while len(client.got) < 2:
            await asyncio.sleep(0.05)
        await place.save(*place.ids[3:6])
        while len(client.got) < 5:
            await asyncio.sleep(0.05)
    await listening
    await place.save(*place.ids[6:9])
    async with served(place.settings) as url:
        listening = asyncio.create_task(client.listen(url, 10))
        await asyncio.sleep(0.3)
        await place.save(*place.ids[9:11])
        await asyncio.wait_for(listening, 15)
    assert client.got == numbered()[1:11]


async def test_what_is_stored_while_a_subscriber_begins_is_neither_missed_nor_doubled(place: Place) -> None:
    await place.save(*place.ids[:10])
    async with served(place.settings) as url:
        clients = [Client() for _ in range(12)]
        storing = asyncio.create_task(place.save(*place.ids[10:]))
        listening = []
        for client in clients:
            listening.append(asyncio.create_task(client.listen(url, 57, after=3)))
            await asyncio.sleep(0.05)
        await asyncio.wait_for(asyncio.gather(storing, *listening), 60)
    assert all(client.got == numbered()[3:] for client in clients)


async def test_a_filter_holds_for_what_was_missed_too(place: Place) -> None:
    await place.save(*place.ids[:40])
    character = place.universe.demo_characters[0].character_id
    with connection():
        theirs = [number for (number,) in rows(
            "SELECT l.sequence FROM killmail_log l JOIN involved i ON i.killmail_id = l.killmail_id "
            "WHERE i.character_id = %s AND l.sequence > 4 ORDER BY 1", (character,))]  # fmt: skip
    assert theirs
    client = Client()
    async with served(place.settings) as url:
        await asyncio.wait_for(client.listen(url, len(theirs), {"characterId": str(character)}, after=4), 20)
    assert [sequence for sequence, _ in client.got] == theirs


async def test_what_the_log_does_not_hold_is_a_clear_error(place: Place) -> None:
    await place.save(*place.ids[:6])
    with connection():
        run("DELETE FROM killmail_log WHERE sequence <= 3")
    async with served(place.settings) as url:
        for after in (2, 7, 2**62):
            with pytest.raises(LookupError) as refused:
                await Client().listen(url, 1, after=after)
            error: Any = refused.value.args[0]
            assert error["extensions"]["code"] == "NOT_IN_LOG" and "killmails" in error["message"], error
        client = Client()
        await client.listen(url, 3, after=3)
        assert client.got == numbered()
        for wrong in ("-1", "x", str(2**63)):
            with pytest.raises(LookupError) as refused:
                await Client().listen(url, 1, after=wrong)  # type: ignore[arg-type]
            assert refused.value.args[0]["extensions"]["code"] == "BAD_USER_INPUT"


async def test_a_thousand_who_come_back_at_once_cost_the_database_one_reading(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    from killsync.events import recent
    from killsync.events.hub import Hub

    await place.save(*place.ids[:30])
    loads = 0
    read = recent._read

    def counting(sequence: int) -> Any:
        nonlocal loads
        loads += 1
        return read(sequence)

    monkeypatch.setattr(recent, "_read", counting)
    hub = Hub(place.settings)
    await hub.start()

    async def catch_up() -> list[int]:
        got = []
        async for killmail in hub.killmails(lambda _: True, 5):
            got.append(killmail.sequence)
            if len(got) == 25:
                break
        return got

    everybody = await asyncio.gather(*(catch_up() for _ in range(1000)))
    await hub.stop()
    assert all(got == list(range(6, 31)) for got in everybody)
    assert loads == 1


async def test_a_condition_that_fails_ends_its_own_subscription_alone(place: Place) -> None:
    from killsync.events.hub import CannotEvaluate, Hub

    def failing(_killmail: Any) -> bool:
        raise OverflowError

    await place.save(*place.ids[:2])
    hub = Hub(place.settings)
    await hub.start()
    good = hub.killmails(lambda _: True, 0)
    assert (await anext(good)).sequence == 1
    with pytest.raises(CannotEvaluate):
        await anext(hub.killmails(failing, 0))
    assert (await anext(good)).sequence == 2
    await good.aclose()
    await hub.stop()
