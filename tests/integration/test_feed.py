"""What tools of other killboards read: R2Z2, server-sent events and zKillboard's API, over a filled database."""

from __future__ import annotations

import asyncio
import gzip
import json
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import msgspec
import pytest
import pytest_asyncio

from killsync.esi import schemas
from killsync.events.hub import HUB
from killsync.feed import stream as streams
from killsync.killmails import ledger
from killsync.killmails.store import save_killmails
from killsync.web import connections, rates
from killsync.web.pages import messages
from killsync.web.quick import QUICK
from models import connection
from models.sql import rows, run
from simulator.universe import Universe
from tests.support.process import change_settings
from tests.support.r2z2 import R2Z2
from tests.support.web_server import new_universe, save_one, served

ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def save_served(universe: Universe, ids: list[int], change: Any = lambda body: body) -> dict[int, dict[str, Any]]:
    """Store killmails from ESI's bytes, as a worker does; the bodies by id."""
    bodies = {each: change(universe.body(each)) for each in ids}
    with connection():
        for each in ids:
            ledger.add_submitted(each, universe.kills[each].killmail_hash, proven=True)
        for start in range(0, len(ids), 40):
            save_killmails([
                (schemas.killmail(msgspec.json.encode(bodies[each]), each), universe.kills[each].killmail_hash)
                for each in ids[start : start + 40]
            ])  # fmt: skip
    return bodies


class Place:
    """A served universe."""

    def __init__(self, url: str, http: aiohttp.ClientSession) -> None:
        self.url, self.http = url, http
        self.universe = new_universe(kills=(60, 20), characters=40)
        self.ids = sorted(self.universe.kills)
        self.bodies: dict[int, dict[str, Any]] = {}

    async def save(self, *ids: int) -> None:
        self.bodies |= await asyncio.to_thread(save_served, self.universe, list(ids))
        await self.reach(max(number for (number,) in self.sql("SELECT max(sequence) FROM killmail_log")))

    async def reach(self, number: int) -> None:
        """Wait until the server knows of a number."""
        deadline = time.monotonic() + 10
        while (await self.json("/ephemeral/sequence.json"))["sequence"] < number:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)

    def sql(self, statement: str, *values: Any) -> list[Any]:
        with connection():
            return rows(statement, values)

    async def json(self, path: str) -> Any:
        async with self.http.get(self.url + path) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()

    async def status(self, path: str, method: str = "GET", **headers: str) -> tuple[int, Any, bytes]:
        async with self.http.request(method, self.url + path, headers=headers, allow_redirects=False) as answer:
            return answer.status, answer.headers, await answer.read()


@pytest_asyncio.fixture
async def place(settings: Any) -> AsyncIterator[Place]:
    async with served(settings) as url, aiohttp.ClientSession() as http:
        yield Place(url, http)


# R2Z2.


async def test_every_killmail_is_an_entry_with_the_body_that_esi_gave(place: Place) -> None:
    assert await place.json("/ephemeral/sequence.json") == {"sequence": 1}, "so that a client begins with the first"
    assert (await place.status("/ephemeral/1.json"))[0] == 404
    await place.save(*place.ids)
    client = R2Z2(place.url, begin=1)
    await asyncio.wait_for(client.run(len(place.ids)), 60)
    client.check()
    for entry in client.entries:
        killmail_id = entry["killmail_id"]
        killmail_hash = place.universe.kills[killmail_id].killmail_hash
        assert set(entry) == {"killmail_id", "hash", "esi", "zkb", "uploaded_at", "sequence_id"}
        assert entry["esi"] == place.bodies[killmail_id], "field for field"
        assert entry["hash"] == killmail_hash == entry["zkb"]["hash"]
        assert abs(entry["uploaded_at"] - time.time()) < 120
        assert list(entry["zkb"]) == [
            "locationID", "hash", "fittedValue", "droppedValue", "destroyedValue", "totalValue", "points", "npc", "solo",
            "awox", "labels", "attackerCount", "href",
        ]  # fmt: skip
        assert entry["zkb"]["attackerCount"] == len(entry["esi"]["attackers"])
        assert entry["zkb"]["href"].endswith(f"/killmails/{killmail_id}/{killmail_hash}/")
        assert ("npc" in entry["zkb"]["labels"]) == entry["zkb"]["npc"]
    assert await place.json("/ephemeral/sequence.json") == {"sequence": len(place.ids)}


async def test_what_esi_adds_one_day_is_in_the_body(place: Place) -> None:
    def newer(body: dict[str, Any]) -> dict[str, Any]:
        body["victim"]["new_field"] = {"deep": [1, None, "x\ny"]}
        return body

    number = place.ids[0]
    bodies = await asyncio.to_thread(save_served, place.universe, [number], newer)
    await place.reach(1)
    while (answer := await place.status("/ephemeral/1.json"))[0] == 404:
        await asyncio.sleep(0.05)
    assert json.loads(answer[2])["esi"] == bodies[number]


async def test_entries_may_be_kept_and_what_is_not_there_may_not(place: Place) -> None:
    await place.save(*place.ids[:5])
    status, headers, body = await place.status("/ephemeral/3.json", **{"Accept-Encoding": "identity"})
    assert status == 200 and "immutable" in headers["Cache-Control"] and headers["Access-Control-Allow-Origin"] == "*"
    for etag in (headers["ETag"], f"W/{headers['ETag']}", f'"x", {headers["ETag"]}', "*"):
        again, kept, nothing = await place.status("/ephemeral/3.json", **{"If-None-Match": etag})
        assert (again, nothing) == (304, b"") and "ETag" in kept
    async with (
        aiohttp.ClientSession(auto_decompress=False) as http,
        http.get(f"{place.url}/ephemeral/3.json", headers={"Accept-Encoding": "gzip"}) as answer,
    ):
        packed = await answer.read()
        assert answer.headers["Content-Encoding"] == "gzip" and gzip.decompress(packed) == body
        assert answer.headers["ETag"] != headers["ETag"] and "Accept-Encoding" in answer.headers["Vary"]
    status, head, nothing = await place.status("/ephemeral/3.json", "HEAD", **{"Accept-Encoding": "identity"})
    assert (status, nothing, head["Content-Length"]) == (200, b"", str(len(body)))
    for path in ("6.json", "0.json", "-1.json", "007.json", "9" * 400 + ".json", "x.json", "3", "3.json/", "sequence"):
        status, headers, body = await place.status(f"/ephemeral/{path}")
        assert status == 404 and headers["Cache-Control"] == "no-store", path
        assert "error" in json.loads(body) and headers["Access-Control-Allow-Origin"] == "*"
    status, headers, _ = await place.status("/ephemeral/3.json", "OPTIONS", Origin="https://tool.example")
    assert status == 204 and "GET" in headers["Access-Control-Allow-Methods"]
    for path in (
        "/ephemeral/3.json",
        "/ephemeral/sequence.json",
        "/events",
        "/api/killID/5/",
        "/api/history/20260818.json",
    ):
        status, headers, body = await place.status(path, "POST")
        assert status == 405 and headers["Access-Control-Allow-Origin"] == "*" and "error" in json.loads(body), path
        assert headers["Allow"] == "GET, HEAD, OPTIONS"


async def test_what_the_log_no_longer_holds_is_gone(place: Place) -> None:
    await place.save(*place.ids[:4])
    with connection():
        run("DELETE FROM killmail_log WHERE sequence <= 2")
    deadline = time.monotonic() + 15
    while (await place.status("/ephemeral/2.json"))[0] != 410:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.2)
    assert [(await place.status(f"/ephemeral/{number}.json"))[0] for number in (1, 2, 3, 4, 5)] == [
        410,
        410,
        200,
        200,
        404,
    ]


async def test_polling_costs_no_statement(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    from killsync.feed import entries

    made: list[int] = []
    make = entries._make
    monkeypatch.setattr(entries, "_make", lambda sequence, url: made.append(sequence) or make(sequence, url))
    await place.save(*place.ids[:20])
    answers = await asyncio.gather(*(place.status(f"/ephemeral/{1 + each % 20}.json") for each in range(200)))
    assert {status for status, _, _ in answers} == {200}
    assert made == [1], "twenty numbers are read by one page of statements, whoever asks"
    for _ in range(50):
        assert (await place.status("/ephemeral/21.json"))[0] == 404
        await place.json("/ephemeral/sequence.json")
    assert made == [1]


async def test_what_is_at_hand_is_answered_as_what_is_not(settings: Any) -> None:
    """The short way and the way through the application say the same, header for header."""
    made: list[Any] = []
    async with served(settings, made) as url, aiohttp.ClientSession(auto_decompress=False) as http:
        place = Place(url, http)
        await place.save(*place.ids[:4])
        with connection():
            run("DELETE FROM killmail_log WHERE sequence = 1")
        while made[0][HUB].span.oldest != 2:
            await asyncio.sleep(0.1)
        assert (await place.status("/ephemeral/2.json"))[0] == 200, "it is in memory from here on"
        (quick,) = made[0][QUICK]
        given: list[Any] = []

        def noted(request: Any) -> Any:
            given.append(quick(request))
            return given[-1]

        for path in ("1.json", "2.json", "4.json", "5.json", "0.json", "007.json", "9" * 40 + ".json", "sequence.json"):
            for packing in ("gzip, deflate", "identity"):
                asked = {"Accept-Encoding": packing}
                answers = []
                for way in ([noted], []):
                    # `quickly` keeps this very list.
                    made[0][QUICK][:] = way
                    status, headers, body = await place.status(f"/ephemeral/{path}", **asked)
                    answers.append((status, {name: headers.getall(name) for name in headers if name != "Date"}, body))
                    assert "Date" in headers
                assert answers[0] == answers[1], path
        assert len(given) == 16 and all(each is not None for each in given)
        made[0][QUICK][:] = [noted]
        for method, headers in (
            ("HEAD", {}), ("GET", {"If-None-Match": '"x"'}), ("GET", {"Authorization": "Bearer ks_no"}),
            ("GET", {"X-Forwarded-Proto": "https"}), ("POST", {}),
        ):  # fmt: skip
            given.clear()
            await place.status("/ephemeral/2.json", method, **headers)
            assert given == [None], (method, headers)
        given.clear()
        assert (await place.status("/ephemeral/2.json?access_key=x"))[0] == 401 and given == [None]


@ON_SQLITE
async def test_the_short_way_is_not_there_for_members_alone(settings: Any) -> None:
    async with served(change_settings(READERS="members")) as url, aiohttp.ClientSession() as http:
        for path in ("sequence.json", "1.json", "5000.json"):
            async with http.get(f"{url}/ephemeral/{path}") as answer:
                assert answer.status == 401


@ON_SQLITE
async def test_who_asks_without_end_has_to_wait(place: Place) -> None:
    answers = [await place.status("/ephemeral/1.json") for _ in range(700)]
    refused = [headers for status, headers, _ in answers if status == 429]
    assert refused and all(int(headers["Retry-After"]) >= 1 for headers in refused)
    assert {status for status, _, _ in answers} == {404, 429}


@ON_SQLITE
async def test_the_memory_for_entries_is_bounded(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    from killsync.feed import entries
    from killsync.feed.stream import ENTRIES

    monkeypatch.setattr(entries, "MOST_BYTES", 20_000)
    await place.save(*place.ids[:40])
    hub = type("", (), {"span": entries.store.Span(1, 40)})
    kept = entries.Entries(hub, "https://esi.example")  # type: ignore[arg-type]
    for number in (*range(1, 41), *range(1, 41)):
        assert json.loads((await kept.get(number)).body)["sequence_id"] == number
    assert sum(len(each.body) + len(each.gzipped) for each in kept._kept.values()) == kept._bytes <= 20_000
    assert ENTRIES is not None


@ON_SQLITE
async def test_feeds_can_be_turned_off(settings: Any) -> None:
    off = change_settings(FEED="0")
    async with served(off) as url, aiohttp.ClientSession() as http:
        for path in (
            "/ephemeral/sequence.json",
            "/ephemeral/1.json",
            "/events",
            "/api/kills/",
            "/api/history/20260818.json",
        ):
            async with http.get(url + path) as answer:
                assert answer.status == 404, path


# Server-sent events.


class Stream:
    """What `curl -N` would show."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer

    async def next(self, seconds: float = 10.0) -> tuple[int, dict[str, Any]]:
        """The next killmail: its number and entry."""
        number = 0
        while True:
            line = (await asyncio.wait_for(self._answer.content.readline(), seconds)).decode().rstrip("\n")
            if line.startswith("id: "):
                number = int(line[4:])
            elif line.startswith("data: "):
                return number, json.loads(line[6:])


async def test_a_stream_shows_killmails_and_resumes_after_its_last_number(place: Place) -> None:
    await place.save(*place.ids[:5])
    async with place.http.get(f"{place.url}/events") as answer:
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        await asyncio.sleep(0.3)
        await place.save(*place.ids[5:8])
        stream = Stream(answer)
        got = [await stream.next() for _ in range(3)]
    assert [number for number, _ in got] == [6, 7, 8]
    assert all(
        entry["sequence_id"] == number and entry["esi"] == place.bodies[entry["killmail_id"]] for number, entry in got
    )
    await place.save(*place.ids[8:12])
    for how in ({"headers": {"Last-Event-ID": "6"}}, {"params": {"lastEventId": "6"}}):
        async with place.http.get(f"{place.url}/events", **how) as answer:  # type: ignore[arg-type]
            stream = Stream(answer)
            assert [(await stream.next())[0] for _ in range(6)] == [7, 8, 9, 10, 11, 12]


async def test_a_stream_that_begins_now_misses_nothing_of_what_is_stored_meanwhile(place: Place) -> None:
    """Streams that are opened between commits: each tells all that is stored after it was answered, in a row."""
    last = 30

    async def follow(number: int) -> tuple[int, list[int]]:
        while not (known := place.sql("SELECT last FROM killmail_counter")[0][0]) >= number:
            await asyncio.sleep(0.005)
        async with place.http.get(f"{place.url}/events") as answer:
            stored = place.sql("SELECT last FROM killmail_counter")[0][0]
            stream, got = Stream(answer), [0]
            while got[-1] < last:
                got.append((await stream.next())[0])
        assert known <= stored
        return stored, got[1:]

    await place.save(place.ids[0])
    following = [asyncio.create_task(follow(number)) for number in range(1, 25, 2)]
    for each in place.ids[1:last]:
        await asyncio.to_thread(save_served, place.universe, [each])
    for stored, got in await asyncio.gather(*following):
        assert got == list(range(got[0], last + 1)) and got[0] <= stored + 1


async def test_a_stream_lives_longer_than_a_page_may_take(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "PAGE_SECONDS", 0.2)
    monkeypatch.setattr(streams, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(streams, "BEAT_SECONDS", 0.6)
    await place.save(place.ids[0])
    async with place.http.get(f"{place.url}/events") as answer:
        comments = 0
        while comments < 2:  # one at the beginning, one after a while
            line = await asyncio.wait_for(answer.content.readline(), 10)
            comments += line == b":\n"
        await place.save(place.ids[1])
        assert (await Stream(answer).next())[0] == 2


async def test_a_stream_that_fails_is_cut_off_and_no_error_is_written_into_it(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    from killsync.feed import entries

    async def fail(*_given: Any) -> Any:
        raise RuntimeError("a fault of our own")

    await place.save(*place.ids[:3])
    async with place.http.get(f"{place.url}/events", headers={"Last-Event-ID": "1"}) as answer:
        stream = Stream(answer)
        assert [(await stream.next())[0] for _ in range(2)] == [2, 3]
        monkeypatch.setattr(entries.Entries, "get", fail)
        await place.save(place.ids[3])
        with pytest.raises(aiohttp.ClientPayloadError):
            await asyncio.wait_for(answer.content.read(), 10)
    monkeypatch.undo()
    async with place.http.get(f"{place.url}/events", headers={"Last-Event-ID": "3"}) as answer:
        assert (await Stream(answer).next())[0] == 4


async def test_a_stream_is_filtered_as_a_page_is(place: Place) -> None:
    await place.save(*place.ids[:40])
    ship = place.sql("SELECT ship_type_id FROM victim ORDER BY killmail_id LIMIT 1")[0][0]
    wanted = [number for (number,) in place.sql(
        "SELECT k.sequence FROM killmail k JOIN involved i ON i.killmail_id = k.killmail_id "
        "WHERE i.ship_type_id = %s AND k.sequence > 3 ORDER BY 1", ship)]  # fmt: skip
    async with place.http.get(f"{place.url}/events?ship={ship}", headers={"Last-Event-ID": "3"}) as answer:
        stream = Stream(answer)
        assert [(await stream.next())[0] for _ in wanted] == wanted
        with pytest.raises(TimeoutError):
            await stream.next(0.5)


async def test_a_stream_that_cannot_begin_says_why(place: Place) -> None:
    await place.save(*place.ids[:5])
    with connection():
        run("DELETE FROM killmail_log WHERE sequence <= 3")
    await place.save(place.ids[5])
    await asyncio.sleep(0.5)
    deadline = time.monotonic() + 15
    while (await place.status("/ephemeral/3.json"))[0] != 410:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.2)
    for last, code in (("1", 410), ("77", 410), ("x", 400), ("9" * 30, 400), ("-1", 400)):
        status, _, body = await place.status("/events", **{"Last-Event-ID": last})
        assert status == code and "error" in json.loads(body), last
    assert (await place.status("/events?mine=1"))[0] == 401
    assert (await place.status("/events?character=x"))[0] == 400


async def test_a_stream_that_ends_frees_everything_and_a_stop_ends_streams(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "LOOK_SECONDS", 0.5)
    began = time.monotonic()
    async with served(settings) as url, aiohttp.ClientSession() as http:
        first = await http.get(f"{url}/events")
        second = await http.get(f"{url}/events")
        await asyncio.sleep(0.3)
        first.close()
        await asyncio.sleep(1.5)
        tasks = [task for task in asyncio.all_tasks() if "_follow" in repr(task.get_coro())]
        assert len(tasks) == 1
        del second
    assert time.monotonic() - began < 15, "a stop does not wait for streams"
    assert streams.MOST_OF_ONE < streams.MOST_STREAMS


@pytest.mark.slow
@ON_SQLITE
async def test_a_thousand_streams_are_told_within_a_second(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(rates.RATES, "stream", rates.Rate(5000, 5000))
    monkeypatch.setitem(rates.RATES, "request", rates.Rate(5000, 5000))
    monkeypatch.setattr(connections, "MOST_OF_ONE", 1_100)
    monkeypatch.setattr(streams, "MOST_OF_ONE", 1_100)
    await place.save(place.ids[0])
    # An empty log is called 1 as well: that the server knows of the first killmail is seen by its entry.
    while (await place.status("/ephemeral/1.json"))[0] != 200:
        await asyncio.sleep(0.05)
    clients = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        CLIENTS,
        f"{place.url}/events",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert clients.stdin is not None and clients.stdout is not None
    assert await clients.stdout.readline() == b"1000 streams\n"
    began = time.time()
    await asyncio.to_thread(save_one, place.universe, place.ids[1])
    numbers, last = (await clients.stdout.readline()).decode().split()
    await clients.wait()
    seconds = float(last) - began
    print(f"1,000 streams after {seconds:.2f} s")
    assert numbers == "2"
    assert seconds < 1.0


#: A program that opens a thousand streams, says so, and then what number came on all of them and when the last one came.
CLIENTS = """
import asyncio, sys, time
import aiohttp

async def told(answer):
    async for line in answer.content:
        if line.startswith(b"id: "):
            return int(line[4:])

async def main():
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        answers = []
        for _ in range(20):
            answers += await asyncio.gather(*(http.get(sys.argv[1]) for _ in range(50)))
        assert {answer.status for answer in answers} == {200}
        await asyncio.sleep(1)
        print(len(answers), "streams", flush=True)
        numbers = set(await asyncio.wait_for(asyncio.gather(*map(told, answers)), 40))
        print(*numbers, time.time(), flush=True)
        for answer in answers:
            answer.close()

asyncio.run(main())
"""


# zKillboard's API.


async def test_a_killmail_a_list_and_a_day_have_their_shapes(place: Place) -> None:
    await place.save(*place.ids)
    number = place.ids[0]
    (one,) = await place.json(f"/api/killID/{number}/")
    assert set(one) == {"killmail_id", "zkb"} and one["killmail_id"] == number
    sequence = place.sql("SELECT sequence FROM killmail WHERE killmail_id = %s", number)[0][0]
    assert one["zkb"] == (await place.json(f"/ephemeral/{sequence}.json"))["zkb"]
    assert await place.json("/api/killID/5/") == []
    times = {each: body["killmail_time"] for each, body in place.bodies.items()}
    day = max(times.values())[:10]
    expected = {
        str(each): place.universe.kills[each].killmail_hash for each, time in times.items() if time.startswith(day)
    }
    assert await place.json(f"/api/history/{day.replace('-', '')}.json") == expected
    assert await place.json("/api/history/20100101.json") == {}


def stands(body: dict[str, Any], side: str, field: str, ids: set[int]) -> bool:
    parties = body["attackers"] if side == "kills" else [body["victim"]]
    return any(party.get(field) in ids for party in parties)


async def test_lists_hold_what_their_address_says_newest_first(place: Place) -> None:
    await place.save(*place.ids)
    order = sorted(place.ids, key=lambda each: (place.bodies[each]["killmail_time"], each), reverse=True)
    pilots = [character.character_id for character in place.universe.demo_characters[:2]]
    corporations = [place.universe.characters[pilot].corporation_id for pilot in pilots]
    hull = place.bodies[order[3]]["victim"]["ship_type_id"]
    for side in ("kills", "losses"):
        for kind, field, ids in (
            ("characterID", "character_id", pilots[:1]), ("characterID", "character_id", pilots),
            ("corporationID", "corporation_id", corporations), ("shipTypeID", "ship_type_id", [hull]),
        ):  # fmt: skip
            path = f"/api/{side}/{kind}/{','.join(map(str, ids))}/"
            wanted = [each for each in order if stands(place.bodies[each], side, field, set(ids))]
            assert [one["killmail_id"] for one in await place.json(path)] == wanted, path
            assert [one["killmail_id"] for one in await place.json(path + "page/1/")] == wanted
            assert await place.json(path + "page/2/") == []
    both = await place.json(f"/api/kills/characterID/{pilots[0]}/shipTypeID/{hull}/")
    assert all(stands(place.bodies[one["killmail_id"]], "kills", "ship_type_id", {hull}) for one in both)
    system = place.bodies[order[0]]["solar_system_id"]
    for path in (
        f"/api/kills/solarSystemID/{system}/",
        f"/api/losses/solarSystemID/{system}/page/1",
        f"/api/systemID/{system}/",
    ):
        found = [one["killmail_id"] for one in await place.json(path)]
        assert found == [each for each in order if place.bodies[each]["solar_system_id"] == system], path
    assert [one["killmail_id"] for one in await place.json("/api/kills/limit/7/page/2/")] == order[7:14]
    ascending = await place.json(f"/api/kills/afterKillID/{place.ids[9]}/orderDirection/asc/")
    assert [one["killmail_id"] for one in ascending] == [each for each in order[::-1] if each > place.ids[9]]


async def test_flags_places_and_times_narrow_a_list(place: Place) -> None:
    await place.save(*place.ids)
    with connection():
        rest = "(killmail_id - killmail_id / {0} * {0})".format
        run(
            f"UPDATE killmail SET solo = ({rest(2)} = 0), region_id = 10000001 + {rest(3)}, "
            f"security = CASE WHEN {rest(5)} = 0 THEN 'wormhole' ELSE 'high' END"
        )
    for path, condition in (
        ("solo/", "solo"), ("solo/1/", None), ("w-space/", "security = 'wormhole'"),
        ("solo/w-space/regionID/10000001,10000002/", "solo AND security = 'wormhole' AND region_id IN (10000001, 10000002)"),
        ("regionID/10000003/", "region_id = 10000003"), ("npc/0/", "NOT npc"), ("npc/1/", "npc"), ("awox/1/", "awox"),
        ("pastSeconds/1/", "1 = 0"), ("year/2003/month/12/", "1 = 0"),
    ):  # fmt: skip
        status, _, body = await place.status(f"/api/kills/{path}")
        if condition is None:
            assert status == 400
            continue
        wanted = {number for (number,) in place.sql(f"SELECT killmail_id FROM killmail WHERE {condition}")}
        assert {one["killmail_id"] for one in json.loads(body)} == wanted, path
    newest = max(body["killmail_time"] for body in place.bodies.values())
    year, month = newest[:4], newest[5:7]
    wanted = {each for each, body in place.bodies.items() if body["killmail_time"].startswith(f"{year}-{month}")}
    found = await place.json(f"/api/losses/year/{year}/month/{month}/")
    assert {one["killmail_id"] for one in found} == wanted
    assert {one["killmail_id"] for one in await place.json(f"/api/kills/startTime/{year}{month}010000/")} >= wanted


@ON_SQLITE
@pytest.mark.parametrize(
    "path",
    [
        "", "nothing/", "kills/characterID/", "kills/characterID/x/", "kills/characterID/0/", "kills/page/0/", "kills/page/101/",
        "kills/month/5/", "kills/pastSeconds/604801/", "kills/characterID/1,2,x/", "kills/orderDirection/up/", "a/" * 60,
        "kills/characterID/" + ",".join(map(str, range(1, 40))) + "/", "kills/year/99999/", "kills/startTime/20261341/",
        "history/2026.json", "history/20261341.json", "history/20260818", "history/99991231.json", "history/00010101.json", "stats/nothingID/5/", "stats/characterID/x/",
        "kills/characterID/" + "9" * 30 + "/", "kills/characterID/%00/", "kills/characterID/²/",
    ],
)  # fmt: skip
async def test_what_an_address_cannot_mean_is_a_clear_error(place: Place, path: str) -> None:
    status, headers, body = await place.status(f"/api/{path}")
    assert status == 400 and json.loads(body)["error"] and headers["Access-Control-Allow-Origin"] == "*", body


async def test_statistics_count_what_lists_hold(place: Place) -> None:
    await place.save(*place.ids)
    pilot = place.universe.demo_characters[0].character_id
    stats = await place.json(f"/api/stats/characterID/{pilot}/")
    kills = await place.json(f"/api/kills/characterID/{pilot}/")
    losses = await place.json(f"/api/losses/characterID/{pilot}/")
    assert (stats["shipsDestroyed"], stats["shipsLost"]) == (len(kills), len(losses))
    assert (stats["id"], stats["type"], stats["info"]["id"]) == (pilot, "characterID", pilot)
    assert stats["soloKills"] == sum(one["zkb"]["solo"] for one in kills)
    for parts in (stats["months"], stats["groups"]):
        assert sum(part["shipsDestroyed"] for part in parts.values()) == len(kills)
        assert sum(part["shipsLost"] for part in parts.values()) == len(losses)
    month = place.bodies[losses[0]["killmail_id"]]["killmail_time"][:7].replace("-", "")
    assert stats["months"][month]["shipsLost"] >= 1
    system = place.bodies[place.ids[0]]["solar_system_id"]
    there = await place.json(f"/api/kills/solarSystemID/{system}/")
    assert (await place.json(f"/api/stats/solarSystemID/{system}/"))["shipsDestroyed"] == len(there)
    assert (await place.json("/api/stats/allianceID/5/"))["shipsDestroyed"] == 0


async def test_statistics_sum_what_killmails_were_worth(place: Place) -> None:
    await place.save(*place.ids)
    with connection():
        # Each is worth its number in the log, ISK, and a half.
        run("UPDATE killmail SET total_value = sequence + 0.5")
    pilot = place.universe.demo_characters[0].character_id
    stats = await place.json(f"/api/stats/characterID/{pilot}/")
    for side, word in (("kills", "Destroyed"), ("losses", "Lost")):
        worth = sum(one["zkb"]["totalValue"] for one in await place.json(f"/api/{side}/characterID/{pilot}/"))
        assert worth > 0 and stats[f"isk{word}"] == pytest.approx(worth)
        for parts in (stats["months"], stats["groups"]):
            assert sum(part[f"isk{word}"] for part in parts.values()) == pytest.approx(worth)
