"""Attacks of one visitor on all others: documents, sockets, connections."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import time
from typing import Any

import aiohttp

from tests.attack.target import Attack, Outcome, Target, judged

VARIABLES = "".join(f"$v{number}: ID " for number in range(60))
USES = "".join(f"killmail(id: $v{number}) {{ id }} " for number in range(60))
#: 9 KB that once made 196,000 errors.
MANY_ERRORS = f"query ({VARIABLES}) {{ {'...F ' * 1_200} }} fragment F on Query {{ {USES} }}"
#: The longest that is executed: all of it is parsed and validated.
LONG = "{ me { " + "id " * 1_480 + "} }"
NEVER = "{" + " ".join(
    f'a{number}: killmails(first: 1, filter: {{characterId: "{2_100_000_000 + number}", shipTypeId: "671", allianceId: "9", side: ATTACKER}}) '
    "{ edges { cursor } }" for number in range(60)
) + "}"  # fmt: skip
NAMED = "{ id name }"
ATTACKERS = f"attackers {{ character {NAMED} corporation {NAMED} alliance {NAMED} shipType {NAMED} weaponType {NAMED} damageDone finalBlow }}"
BATTLES = (
    "{"
    + " ".join(f"a{number}: killmails(first: 20) {{ edges {{ node {{ id {ATTACKERS} }} }} }}" for number in range(20))
    + "}"
)


async def post(http: aiohttp.ClientSession, target: Target, query: str) -> int:
    """The status of a document's answer, with GraphQL's own refusals as 200 or 400."""
    async with http.post(f"{target.url}/graphql", json={"query": query}) as answer:
        await answer.read()
        return answer.status


async def _documents(target: Target, query: str, number: int, at_once: int = 4, **bounds: Any) -> Outcome:
    with target.watched() as cost:
        async with target.client() as http:
            limit = asyncio.Semaphore(at_once)

            async def one(turn: int) -> int:
                async with limit:
                    return await post(http, target, query + " " * turn)

            statuses = await asyncio.gather(*(one(turn) for turn in range(number)))
        await asyncio.sleep(0.5)
    refused = sum(status == 429 for status in statuses)
    outcome = judged(cost, f"{number} sent, {refused} told to slow down", **bounds)
    outcome.expect(500 not in statuses, "an internal error")
    return outcome


async def many_errors(target: Target) -> Outcome:
    return await _documents(target, MANY_ERRORS, 10 if target.short else 60)


async def costly(target: Target) -> Outcome:
    number, began = 24 if target.short else 200, time.monotonic()
    outcome = await _documents(target, LONG, number)
    outcome.text = f"{outcome.text}; {number} took {time.monotonic() - began:.0f} s"
    return outcome


async def aliases(target: Target) -> Outcome:
    return await _documents(target, NEVER, 8 if target.short else 40)


async def battles(target: Target) -> Outcome:
    return await _documents(target, BATTLES, 2 if target.short else 10, at_once=2)


async def distinct(target: Target) -> Outcome:
    """Each is another one; the attacker has as many addresses as the rates want."""
    number = 300 if target.short else 5_000
    template = "{{ killmail(id: {0}) {{ id victim {{ character {{ id name }} shipType {{ id name }} }} a{0}: npc b{0}: solo c{0}: killmailTime }} }}"

    async def some(address: str, turns: range) -> None:
        async with target.client(address) as http:
            for turn in turns:
                assert await post(http, target, template.format(turn)) == 200

    warm = min(200, number // 2)
    await some("127.1.0.250", range(10**6, 10**6 + warm))
    with target.watched() as cost:
        groups = [range(start, min(start + 50, number)) for start in range(0, number, 50)]
        for at in range(0, len(groups), 3):
            await asyncio.gather(
                *(some(f"127.1.1.{at + each + 1}", turns) for each, turns in enumerate(groups[at : at + 3]))
            )
    return judged(cost, f"{number:,} queries", megabytes=30.0)


async def _open(target: Target, http: aiohttp.ClientSession) -> Any:
    opened = await http.ws_connect(f"{target.url}/graphql", protocols=("graphql-transport-ws",), max_msg_size=0)
    await opened.send_json({"type": "connection_init"})
    await opened.receive_json(timeout=20)
    return opened


async def deaf_socket(target: Target) -> Outcome:
    """Sends as much as is taken and never reads: operations that are refused late, those with the largest answers, nonsense."""
    queries = [f"{{ killmails(first: {size}) {{ edges {{ node {{ id {ATTACKERS} }} }} }} }}" for size in (50, 20)]
    sent = 0
    with target.watched() as cost:
        async with target.client() as http:
            opened = await _open(target, http)
            transport = opened._response.connection.transport
            transport.pause_reading()
            with contextlib.suppress(TimeoutError, ConnectionError, aiohttp.ClientError):
                async with asyncio.timeout(3 if target.short else 25):
                    while True:
                        payload = {"query": queries[sent // 50 % 2] if sent % 50 == 0 else "{" + "x" * 500}
                        await opened.send_str(json.dumps({"id": str(sent), "type": "subscribe", "payload": payload}))
                        sent += 1
            transport.abort()
    return judged(cost, f"{sent:,} messages were taken from it", megabytes=80.0)


async def subscriptions(target: Target) -> Outcome:
    """Heavy ones, as many as one address may have; and killmails come."""
    number = 110 if target.short else 1_100
    heard = 0
    async with target.client() as http:
        sockets = [await _open(target, http) for _ in range(number // 50)]
        for at, opened in enumerate(sockets):
            for turn in range(50):
                query = f"subscription {{ newKillmail {{ id {ATTACKERS} }} }}"
                if turn == 49:
                    query = query.replace("id attackers", f"x{at}: id attackers")
                await opened.send_json({"id": str(turn), "type": "subscribe", "payload": {"query": query}})
        await asyncio.sleep(1 if target.short else 2)
        with target.watched() as cost:
            await asyncio.sleep(0.3)
            for _ in range(3):
                await asyncio.get_running_loop().run_in_executor(None, target.store_one, 300)

            async def listen(opened: Any) -> None:
                nonlocal heard
                with contextlib.suppress(TimeoutError):
                    # Each of its fifty hears of three killmails, as far as the rates let them begin.
                    for _ in range(150):
                        message = await opened.receive(timeout=4)
                        if message.type is not aiohttp.WSMsgType.TEXT:
                            return
                        heard += '"next"' in message.data[:60]

            await asyncio.gather(*map(listen, sockets))
        for opened in sockets:
            await opened.close()
    outcome = judged(cost, f"{number:,} subscriptions heard {heard:,} events", megabytes=120.0)
    outcome.expect(heard >= min(number, 300), "the subscriptions heard nothing")
    return outcome


async def silent(target: Target) -> Outcome:
    """Connections that say nothing."""
    number, held = 300 if target.short else 1_050, []
    with target.watched() as cost:
        for turn in range(number):
            each = socket.socket()
            each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            each.settimeout(5)
            each.bind((target.address, 0))
            with contextlib.suppress(OSError):
                each.connect(("127.0.0.1", target.place.port))
            held.append(each)
            if turn % 50 == 0:
                await asyncio.sleep(0)
        ready = target.place.get("/readyz")[0]
        await asyncio.sleep(2 if target.short else 15)
        left = sum(each.status == "ESTABLISHED" and each.raddr and each.raddr.ip == target.address
                   for each in target.process.net_connections("tcp"))  # fmt: skip
    for each in held:
        each.close()
    outcome = judged(cost, f"{left} left after {2 if target.short else 15} s, {cost.log_bytes:,} bytes of log")
    outcome.expect(ready == 200, f"readiness said {ready}")
    outcome.expect(left <= 200, f"{left} connections of one address")
    return outcome


async def unread(target: Target) -> Outcome:
    """Large answers that nobody takes."""
    number, held = 40 if target.short else 220, []
    body = json.dumps({"query": f"{{ killmails(first: 20) {{ edges {{ node {{ id {ATTACKERS} }} }} }} }}"}).encode()
    head = f"POST /graphql HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    with target.watched() as cost:
        for _ in range(number):
            each = socket.socket()
            each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            each.bind((target.address, 0))
            with contextlib.suppress(OSError):
                each.connect(("127.0.0.1", target.place.port))
                each.sendall(head.encode() + body)
            held.append(each)
        await asyncio.sleep(2 if target.short else 30)
    for each in held:
        each.close()
    return judged(cost, f"{number} asked for", megabytes=100.0)


async def scrapers(target: Target) -> Outcome:
    """Everybody's figures, over and over, from many connections; and is the process still called ready?"""
    with target.watched() as cost:
        async with target.client() as http:

            async def ask(path: str) -> int:
                async with http.get(target.url + path) as answer:
                    await answer.read()
                    return answer.status

            asked = [ask("/metrics") for _ in range(100)] + [ask("/readyz") for _ in range(100)]
            statuses = await asyncio.gather(*asked)
    outcome = judged(
        cost, f"{statuses[:100].count(429)} of 100 told to slow down, ready {statuses[100:].count(200)} of 100 times"
    )
    outcome.expect(statuses[100:].count(200) == 100, "readiness failed")
    return outcome


ATTACKS = (
    Attack("A document that makes 196,000 errors (9 KB)", "5 to 9 s frozen and 131 MB kept, each time", many_errors),
    Attack("The costliest documents, 4 at a time", "20 a second, 79 to 123 ms of computing each", costly),
    Attack("60 aliases of filters that never meet", "`/` took 6.8 s", aliases),
    Attack("3.6 KB over killmails of 1,000 attackers", "70 s, the process frozen for 57", battles),
    Attack("A WebSocket that sends and never reads", "2.6 GB in 17 s", deaf_socket),
    Attack("1,100 heavy subscriptions, 3 killmails come", "frozen for 7.9 s", subscriptions),
    Attack("1,050 connections that say nothing", "blocked for 102 s, 171 MB of log", silent),
    Attack("220 answers that nobody reads", "400 MB held", unread),
    Attack("100 connections to `/metrics`", "readiness 503", scrapers),
    Attack("5,000 distinct queries", "915 of them: from 147 to 827 MB", distinct),
)
