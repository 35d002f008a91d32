"""Clients and audits that are not this project's: npm's graphql-http audits and graphql-ws client."""

from __future__ import annotations

import asyncio
import json
import subprocess
from typing import Any

import pytest

from tests.support.npm import JS, npm_packages
from tests.support.web_server import new_universe, save_one, served

ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

#: Audits that may fail, each with the reason that docs/graphql.md gives.
ALLOWED: set[str] = set()


@pytest.fixture(scope="module")
def node() -> str:
    """Node with the packages of package-lock.json installed."""
    return npm_packages()


@ON_SQLITE
async def test_every_audit_of_graphql_over_http_passes(settings: Any, node: str) -> None:
    async with served(settings) as url:
        process = await asyncio.create_subprocess_exec(
            node, "audit.mjs", f"{url}/graphql", cwd=JS, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        out, err = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode == 0, err.decode()
    results = json.loads(out)
    failed = {
        each["id"]: f"{each['status']}: {each['name']}: {each['reason']}" for each in results if each["status"] != "ok"
    }
    assert len(results) > 50
    assert set(failed) == ALLOWED, failed


@ON_SQLITE
async def test_the_graphql_ws_client_hears_of_new_killmails(settings: Any, node: str) -> None:
    universe = new_universe(kills=(5,))
    async with served(settings) as url:
        query = "subscription { newKillmail { id solarSystem { id } } }"
        process = await asyncio.create_subprocess_exec(
            node, "subscribe.mjs", url.replace("http", "ws") + "/graphql", query, "3",
            cwd=JS, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout is not None
        assert (await asyncio.wait_for(process.stdout.readline(), 20)).strip() == b"ready"
        ids = sorted(universe.kills)[:3]
        for number in ids:
            await asyncio.get_running_loop().run_in_executor(None, save_one, universe, number)
        out, err = await asyncio.wait_for(process.communicate(), 20)
    heard = [int(json.loads(line)["data"]["newKillmail"]["id"]) for line in out.splitlines()]
    assert heard == ids, err.decode()


@ON_SQLITE
async def test_the_gql_client_reads_pages_over_http_and_checks_the_schema(settings: Any) -> None:
    from gql import Client, gql
    from gql.transport.aiohttp import AIOHTTPTransport

    universe = new_universe(kills=(5,))
    for number in universe.kills:
        save_one(universe, number)
    async with served(settings) as url:
        transport = AIOHTTPTransport(url=f"{url}/graphql")
        # The introspection of June 2018 knows no deprecated arguments.
        june_2018 = {"descriptions": True, "input_value_deprecation": False}
        async with Client(
            transport=transport, fetch_schema_from_transport=True, introspection_args=june_2018
        ) as client:
            answer = await client.execute(
                gql("{ killmails(first: 3) { edges { node { id killmailTime } } pageInfo { hasNextPage } } }")
            )
    assert len(answer["killmails"]["edges"]) == 3 and answer["killmails"]["pageInfo"]["hasNextPage"]


@ON_SQLITE
async def test_the_eventsource_client_reads_on_after_a_restart(settings: Any, node: str) -> None:
    universe = new_universe(kills=(9,))
    ids = sorted(universe.kills)[:6]
    save = asyncio.get_running_loop().run_in_executor
    async with served(settings) as url:
        process = await asyncio.create_subprocess_exec(
            node, "events.mjs", f"{url}/events", str(len(ids)), cwd=JS, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert process.stdout is not None
        lines = [await asyncio.wait_for(process.stdout.readline(), 20)]
        for number in ids[:3]:
            await save(None, save_one, universe, number)
        lines += [await asyncio.wait_for(process.stdout.readline(), 20) for _ in range(3)]
    await save(None, save_one, universe, ids[3])
    async with served(settings):
        for number in ids[4:]:
            await save(None, save_one, universe, number)
        out, err = await asyncio.wait_for(process.communicate(), 60)
    heard = b"".join(lines).split() + out.split()
    assert [line for line in heard if line != b"open"] == [b"1", b"2", b"3", b"4", b"5", b"6"], (heard, err.decode())
    assert heard.count(b"open") == 2
