"""What a page may cost: statements of a form, time of a read, computing of a template, files that nobody reads."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
import pytest_asyncio
from aiohttp import web

from killsync.web import connections, files, forms, protocol, rates, render, security
from killsync.web.connections import listen
from killsync.web.pages import killmail as killmail_page
from killsync.web.rates import Rate
from killsync.web.security import setup as protect
from killsync.webhooks.fields import FIELDS
from models import connection, database
from models.threads import read_db
from models.work import PATIENCE, OutOfTime
from tests.support.web_server import fill, new_universe, served

ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
NAMES = [word for word, of in FIELDS.items() if of.kind == "names"]


@pytest_asyncio.fixture
async def site(settings: Any) -> AsyncIterator[str]:
    async with served(settings) as url:
        yield url


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    real = database.obj.execute_sql

    def counted(statement: str, *arguments: Any, **options: Any) -> Any:
        found.append(statement)
        return real(statement, *arguments, **options)

    monkeypatch.setattr(database.obj, "execute_sql", counted)
    return found


async def test_a_form_full_of_names_costs_a_statement_for_each_field(site: str, statements: list[str]) -> None:
    """Looking each up by itself, in tables without an index for it, once held a thread of the database for nine seconds."""
    wrong = {word: ",".join(f"{at}x{number}" for number in range(100)) for at, word in enumerate(NAMES[:10])}
    async with aiohttp.ClientSession() as http, http.get(f"{site}/filter", params={"do": "show", **wrong}) as answer:
        text = await answer.text()
    assert answer.status == 400 and "nothing called “0x0” is known here" in text
    assert 10 <= len(statements) <= 40, len(statements)


async def test_names_are_found_as_they_are_written_whatever_stands_in_them(site: str) -> None:
    universe = new_universe(kills=(3,), hostile_names=False)
    fill(universe)
    with connection():
        from models.names import Corporation

        (first, second, *_) = Corporation.select().order_by(Corporation.corporation_id)
        Corporation.update(name="Foo, Bar & Söns").where(Corporation.corporation_id == first.corporation_id).execute()
        Corporation.update(name="Foo").where(Corporation.corporation_id == second.corporation_id).execute()
    typed = f"foo, BAR & Söns, foo, {second.corporation_id}"
    async with aiohttp.ClientSession() as http:
        asked = http.get(f"{site}/filter", params={"do": "show", "victim-corporation": typed}, allow_redirects=False)
        async with asked as answer:
            assert answer.status == 303, await answer.text()
            assert answer.headers["Location"].endswith(f"={first.corporation_id},{second.corporation_id}")
        async with http.get(site + answer.headers["Location"].replace("/?", "/filter?", 1)) as answer:
            assert "Foo, Bar &amp; Söns, Foo" in await answer.text()


async def test_a_read_for_a_page_ends_with_all_its_statements_when_its_time_is_up(settings: Any) -> None:
    """Also between two statements, where there is none to end."""
    ended = threading.Event()
    begun = 0

    def work() -> None:
        nonlocal begun
        try:
            for _ in range(100_000):
                begun += 1
                database.execute_sql("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) SELECT max(i) FROM n")  # fmt: skip
        finally:
            ended.set()

    PATIENCE.set(0.3)
    began = time.monotonic()
    with pytest.raises(OutOfTime):
        await read_db(work)
    assert time.monotonic() - began < 5
    assert await asyncio.get_running_loop().run_in_executor(None, ended.wait, 5), "it went on"
    assert 0 < begun < 100_000


@ON_SQLITE
async def test_a_page_that_takes_too_long_says_so(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(security, "PAGE_SECONDS", 0.2)
    app = web.Application()
    protect(app, settings)

    async def slow(_request: web.Request) -> web.Response:
        await read_db(time.sleep, 1)
        return web.Response()

    app.router.add_get("/slow", slow)
    connections.setup(app)
    runner = await listen(app, "127.0.0.1", 0)
    try:
        async with (
            aiohttp.ClientSession() as http,
            http.get(f"http://127.0.0.1:{runner.addresses[0][1]}/slow") as answer,
        ):
            assert (answer.status, await answer.text()) == (503, "This takes too long: ask for less.\n")
    finally:
        await runner.cleanup()


@ON_SQLITE
async def test_a_form_of_a_thousand_files_writes_none(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    monkeypatch.setattr("tempfile.TemporaryFile", lambda *given, **options: made.append(given))
    app = web.Application()
    protect(app, settings)

    async def read(request: web.Request) -> web.Response:
        return web.json_response(await forms.read(request))

    app.router.add_post("/form", read)
    connections.setup(app)
    runner = await listen(app, "127.0.0.1", 0)
    part = b'--x\r\nContent-Disposition: form-data; name="a"; filename="f"\r\n\r\nz\r\n'
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{runner.addresses[0][1]}") as http:
            async with http.post("/form", data=part * 1_000 + b"--x--\r\n", headers=kind) as answer:
                assert answer.status == 400 and "urlencoded" in await answer.text()
            async with http.post("/form", data={"a": "1"}) as answer:
                assert await answer.json() == {"a": "1"}
    finally:
        await runner.cleanup()
    assert made == []


@ON_SQLITE
async def test_long_pages_are_made_one_at_a_time_and_others_go_on_meanwhile(
    site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, most, between = 0, 0, 0

    class Long:
        def generate(self, _context: Any) -> Any:
            nonlocal running, most
            running += 1
            most = max(most, running)
            for _ in range(10):
                time.sleep(0.02)
                yield "x"
            running -= 1

    monkeypatch.setattr(render, "_template", lambda _request, _name: Long())

    async def count() -> None:
        nonlocal between
        while True:
            await asyncio.sleep(0)
            between += running

    counting = asyncio.create_task(count())
    async with aiohttp.ClientSession() as http:

        async def ask() -> int:
            async with http.get(f"{site}/filter") as answer:
                return answer.status

        assert await asyncio.gather(*(ask() for _ in range(4))) == [200] * 4
    counting.cancel()
    assert most == 1 and between >= 10, (most, between)


@ON_SQLITE
async def test_who_has_long_pages_made_waits_and_says_when_to_come_back(
    site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(rates.RATES, "rendering", Rate(0.001, 0.1))
    async with aiohttp.ClientSession() as http:
        for status in (200, 429):
            async with http.get(f"{site}/filter") as answer:
                assert answer.status == status
        assert int(answer.headers["Retry-After"]) >= 1
        async with http.post(f"{site}/graphql", json={"query": "{ __typename }"}) as answer:
            assert answer.status == 200, "GraphQL has a share of its own"


@ON_SQLITE
async def test_a_file_that_nobody_reads_holds_no_file_open_and_is_cut_off(
    settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(protocol, "WRITE_SECONDS", 0.5)
    monkeypatch.setattr(connections, "WATCH_SECONDS", 0.05)
    (tmp_path / "big.js").write_bytes(b"x" * 4_000_000)
    app = web.Application()
    protect(app, settings)
    connections.setup(app)
    app.router.add_get("/lib/{name:.+}", files.serve(tmp_path))
    runner = await listen(app, "127.0.0.1", 0)
    held = []
    try:
        for _ in range(2):
            each = socket.socket()
            each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            each.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                each.connect(("127.0.0.1", runner.addresses[0][1]))
            await asyncio.get_running_loop().sock_sendall(each, b"GET /lib/big.js HTTP/1.1\r\nHost: a\r\n\r\n")
            held.append(each)
        server = app[connections.CONNECTIONS][0]
        async with asyncio.timeout(5):
            while not server.unread():
                await asyncio.sleep(0.01)
            assert not [each for each in psutil.Process().open_files() if each.path.endswith("big.js")]
            while server.connections:
                await asyncio.sleep(0.01)
    finally:
        for each in held:
            each.close()
        await runner.cleanup()


@ON_SQLITE
async def test_files_are_served_as_they_are_now_and_none_from_elsewhere(site: str) -> None:
    async with aiohttp.ClientSession() as http:
        async with http.get(f"{site}/static/killsync.css") as answer:
            body, etag = await answer.read(), answer.headers["ETag"]
            assert answer.content_type == "text/css" and answer.headers["Cache-Control"] == "no-cache"
        assert body == (render.HERE / "static" / "killsync.css").read_bytes()
        for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
            async with http.get(f"{site}/static/killsync.css", headers={"If-None-Match": known}) as answer:
                assert (answer.status, await answer.read()) == (304, b"")
        async with http.get(f"{site}/static/killsync.css", headers={"If-None-Match": '"other"'}) as answer:
            assert answer.status == 200
        for path in (
            "..%2Frender.py",
            "%2e%2e/render.py",
            "..%5Crender.py",
            "%00",
            "x" * 3_000,
            "",
            ".",
            "%2Fetc%2Fpasswd",
        ):
            async with http.get(f"{site}/static/{path}") as answer:
                assert answer.status == 404, path


@ON_SQLITE
@pytest.mark.parametrize(
    "sent",
    [b"GET /" + b"a" * 30_000 + b" HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n" + b"".join(b"X%d: y\r\n" % at for at in range(500)) + b"\r\n",
     b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n" + b"a" * 200_000,
     b"POST /graphql HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"],
    ids=["a long line", "many headers", "what follows an upgrade", "a body that breaks off"],
)  # fmt: skip
async def test_what_is_no_request_leaves_a_line_now_and_then_in_the_log(
    site: str, caplog: pytest.LogCaptureFixture, sent: bytes
) -> None:
    caplog.set_level(logging.INFO)
    port = int(site.rpartition(":")[2])
    for _ in range(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        writer.write_eof()
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(5):
                await reader.read()
        writer.close()
    assert not [record for record in caplog.records if record.name == "aiohttp.server"]
    assert sum(len(record.getMessage()) for record in caplog.records) < 3_000


@ON_SQLITE
async def test_who_floods_a_socket_is_read_slowly_and_others_go_on(site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(rates.RATES, "message", Rate(50, 600))
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(f"{site}/graphql", protocols=("graphql-transport-ws",), autoping=False) as opened,
    ):
        for _ in range(200):
            await opened.ping(b"x")
        heard, began = 0, time.monotonic()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                while (await opened.receive()).type is aiohttp.WSMsgType.PONG:
                    heard += 1
        assert 50 <= heard <= 50 + 10 * (time.monotonic() - began) + 20, heard
        async with http.get(f"{site}/filter") as answer:
            assert answer.status == 200


@ON_SQLITE
async def test_who_has_files_sent_over_and_over_waits(site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    size = (render.HERE / "static" / "killsync.css").stat().st_size / 1e6
    monkeypatch.setitem(rates.RATES, "files", Rate(1.5 * size, 0.001))
    async with aiohttp.ClientSession() as http:
        async with http.get(f"{site}/static/killsync.css") as answer:
            assert answer.status == 200
        etag = answer.headers["ETag"]
        async with http.get(f"{site}/static/killsync.css") as answer:
            assert answer.status == 429
        async with http.get(f"{site}/static/killsync.css", headers={"If-None-Match": etag}) as answer:
            assert answer.status == 304, "who has it already asks as often as before"


@ON_SQLITE
async def test_of_one_address_two_pages_of_killmails_are_at_work(site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    running, most, all_came = 0, 0, asyncio.Event()

    async def slow(_request: web.Request, _number: int) -> web.Response:
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == 2:
            asyncio.get_running_loop().call_later(0.2, all_came.set)
        await all_came.wait()
        running -= 1
        return web.Response()

    monkeypatch.setattr(killmail_page, "_killmail", slow)
    async with aiohttp.ClientSession() as http:

        async def ask(number: int) -> int:
            async with http.get(f"{site}/killmails/{number}") as answer:
                return answer.status

        assert await asyncio.gather(*map(ask, range(1, 11))) == [200] * 10
    assert most == 2
