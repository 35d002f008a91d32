"""Attacks on the rooms that came later: filter forms, previews, long pages, files, event streams; and on the log."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

from killsync.webhooks.fields import FIELDS
from tests.attack.target import Attack, Outcome, Target, judged

NAMES = [word for word, of in FIELDS.items() if of.kind == "names"]
#: A file that is larger than what the kernel takes of it by itself.
FILE = "/lib/graphiql/graphiql.min.js"


@contextlib.contextmanager
def _deaf(target: Target, addresses: int, each: int, request: str) -> Iterator[None]:
    """Connections from so many addresses that send *request* four times and take next to nothing of what they are told."""
    held = []
    for turn in range(addresses * each):
        made = socket.socket()
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        made.settimeout(10)
        made.bind((_address(target, turn % addresses), 0))
        with contextlib.suppress(OSError):
            made.connect(("127.0.0.1", target.place.port))
            made.sendall(f"GET {request} HTTP/1.1\r\nHost: a\r\n\r\n".encode() * 4)
        held.append(made)
    try:
        yield
    finally:
        for made in held:
            made.close()


def _address(target: Target, number: int) -> str:
    """One of the attacker's many addresses."""
    return target.address.replace("127.2.", f"127.{100 + number}.")


async def _pages(target: Target, path: Callable[[int], str], number: int, addresses: int) -> Counter[int]:
    """The statuses of so many pages that are asked for at once."""
    async with contextlib.AsyncExitStack() as stack:
        browsers = [await stack.enter_async_context(target.client(_address(target, each))) for each in range(addresses)]

        async def ask(turn: int) -> int:
            async with browsers[turn % addresses].get(
                target.url + path(turn), headers={"Accept": "text/html"}
            ) as answer:
                await answer.read()
                return answer.status

        return Counter(await asyncio.gather(*map(ask, range(number))))


async def forms(target: Target) -> Outcome:
    """A thousand names that are none in each."""

    def path(turn: int) -> str:
        fields = {word: ",".join(f"{turn}{at}x{each:02}" for each in range(100)) for at, word in enumerate(NAMES[:10])}
        return "/filter?" + urlencode({"do": "show", **fields}, safe=",")

    number = 20 if target.short else 60
    with target.watched() as cost:
        statuses = await _pages(target, path, number, 10)
    return judged(cost, f"{number} forms from 10 addresses, {statuses[400]} told what is wrong")


async def previews(target: Target) -> Outcome:
    """One account, from many addresses at once: each preview looks at all killmails of a week."""
    player = await target.player(1)
    cookies = "; ".join(f"{each.key}={each.value}" for each in player.browser.cookie_jar)
    number, statuses = 20 if target.short else 50, Counter[int]()
    with target.watched() as cost:

        async def ask(turn: int) -> None:
            async with target.client(_address(target, turn % 10)) as http:
                form = {"name": "x", "attackers-from": "1", "not-attacker-corporation": str(98_000_000 + turn)}
                headers = {"Cookie": cookies}
                async with http.post(f"{target.url}/trackers/preview", data=form, headers=headers) as answer:
                    await answer.read()
                    statuses[answer.status] += 1

        await asyncio.gather(*map(ask, range(number)))
    await player.browser.close()
    outcome = judged(cost, f"{number} from 10 addresses, {statuses[200]} answered")
    outcome.expect(statuses[200] >= number // 2 and not statuses[500], f"answers {dict(statuses)}")
    return outcome


async def pings(target: Target) -> Outcome:
    """Twenty sockets that send pings and read nothing."""
    number = 20
    ping = b"\x89\xfd\0\0\0\0" + b"x" * 125
    head = (
        b"GET /graphql HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n"
    )
    sent = 0
    seconds = 3 if target.short else 15
    with target.watched() as cost:

        async def flood() -> None:
            nonlocal sent
            _, writer = await asyncio.open_connection("127.0.0.1", target.place.port, local_addr=(target.address, 0))
            writer.write(head)
            with contextlib.suppress(TimeoutError, OSError):
                async with asyncio.timeout(seconds):
                    while True:
                        writer.write(ping * 100)
                        await writer.drain()
                        sent += 100
            writer.transport.abort()

        await asyncio.gather(*(flood() for _ in range(number)))
    return judged(cost, f"{sent:,} pings were taken from 20 sockets")


async def many_files(target: Target) -> Outcome:
    """Forms of a thousand files each, by somebody who is logged in."""
    player = await target.player(1)
    part = b'--x\r\nContent-Disposition: form-data; name="a%d"; filename="f"\r\n\r\nz\r\n'
    body = b"".join(part % number for number in range(1_000)) + b"--x--\r\n"
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    number = 8 if target.short else 25
    with target.watched() as cost:

        async def send() -> int:
            async with player.browser.post(f"{target.url}/trackers/preview", data=body, headers=kind) as answer:
                return answer.status

        statuses = await asyncio.gather(*(send() for _ in range(number)))
    await player.browser.close()
    return judged(cost, f"{statuses.count(400)} of {number} refused")


async def long_pages(target: Target) -> Outcome:
    """Pages of killmails with a thousand attackers."""
    number = 20 if target.short else 120
    with target.watched() as cost:
        statuses = await _pages(target, lambda turn: f"/killmails/{900_000_000 + turn % 8}", number, 3)
    outcome = judged(
        cost, f"{number} pages at once from 3 addresses, {number - statuses[200]} told to slow down or to come back"
    )
    outcome.expect(not statuses[500], f"answers {dict(statuses)}")
    return outcome


async def deaf_files(target: Target) -> Outcome:
    """Files that nobody takes: each once held a file open beside its connection, for good."""
    each = 10 if target.short else 60
    before = target.process.num_fds()
    with target.watched() as cost, _deaf(target, 4, each, FILE):
        await asyncio.sleep(1)
        held = target.process.num_fds() - before
        await asyncio.sleep(0 if target.short else 25)
        left = target.process.num_fds() - before
    # A connection that was told to slow down took that, and is kept for the next request.
    outcome = judged(cost, f"{4 * each} connections, {max(held, left)} file descriptors", megabytes=100.0)
    outcome.expect(max(held, left) <= 4 * each + 20, f"{max(held, left)} file descriptors for {4 * each} connections")
    return outcome


async def deaf_streams(target: Target) -> Outcome:
    """Event streams that begin long ago and that nobody reads: each holds what it is about to send."""
    addresses, each = (1, 40) if target.short else (4, 140)
    for _ in range(0 if target.short else 110):
        await asyncio.get_running_loop().run_in_executor(None, target.store_one, 3)
    with target.watched() as cost, _deaf(target, addresses, each, "/events?lastEventId=30"):
        await asyncio.sleep(2 if target.short else 25)
    return judged(cost, f"{addresses * each} streams")


async def no_requests(target: Target) -> Outcome:
    """What is no request, from a connection of its own each: the library logged all of it, with a traceback."""
    number = 60 if target.short else 500
    kinds: list[bytes] = [
        b"GET /" + b"a" * 30_000 + b" HTTP/1.1\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n" + b"a" * 200_000,
        b"POST /graphql HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{",
        b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 5_000 + b"\r\n",
    ]
    with target.watched() as cost:

        async def send(turn: int) -> None:
            with contextlib.suppress(OSError, TimeoutError):
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1", target.place.port, local_addr=(target.address, 0)
                )
                writer.write(kinds[turn % len(kinds)])
                writer.write_eof()
                async with asyncio.timeout(10):
                    await reader.read()
                writer.close()

        for start in range(0, number, 20):
            await asyncio.gather(*map(send, range(start, start + 20)))
    outcome = judged(cost, f"{number} sent, {cost.log_bytes:,} bytes of log")
    outcome.expect(cost.log_bytes < 20_000, f"{cost.log_bytes} bytes were logged")
    return outcome


ATTACKS: tuple[Any, ...] = (
    Attack("Filter forms with a thousand names that are none", "`/` took 10 s or was refused", forms),
    Attack("Previews of one account, many at once", "each had a thread of the database", previews),
    Attack("Pings from 20 WebSockets that read nothing", "frozen for 17 s and again", pings),
    Attack("Forms of 1,000 files", "16 of them: `/` took 24 s", many_files),
    Attack("Pages of battles of 1,000 attackers", "`/` took 5.5 s, health 3.2 s", long_pages),
    Attack("Files that nobody takes", "two file descriptors each, for good", deaf_files),
    Attack("Event streams that nobody reads", "each held up to 50 battles of 1,000 attackers", deaf_streams),
    Attack("What is no request of HTTP", "up to 374 KB of log each, without limit", no_requests),
)
