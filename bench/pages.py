"""GraphQL pages: beside graphql-core on the same data in the same process, and how they grow with what is stored."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

from graphql import build_schema
from graphql import execute as core_execute
from graphql import parse as core_parse
from graphql import validate as core_validate

from bench import clients
from bench.core_server import resolve
from graphql_api.tartiflette.engine import Api
from killsync.killmails import ledger, queries
from killsync.killmails.cursors import cursor_of
from killsync.killmails.filter import KillmailFilter
from killsync.killmails.store import save_killmail
from killsync.names.wanted import store_names
from killsync.settings import Settings, project_root
from killsync.sso.vault import generate_key
from models import connect, connection, schema
from models.names import NAME_KEYS
from models.sql import rows
from tests.support.deployment import environment, wait_until
from tests.support.resources import PROJECT, free_port, postgres_database, rabbitmq_vhost

QUERY = """query Page($filter: KillmailFilter) { killmails(first: 50, filter: $filter) { edges { cursor node {
  id killmailHash killmailTime attackerCount solo npc solarSystem { id name }
  victim { character { id name } corporation { id name } alliance { id name } shipType { id name } damageTaken }
  attackers { character { id name } corporation { id name } alliance { id name } shipType { id name } weaponType { id name }
    damageDone finalBlow securityStatus } } } pageInfo { hasNextPage endCursor } } }"""

#: Filters whose pages are timed: the busiest pilot of the generated ones and so on.
FILTERS: dict[str, dict[str, str]] = {
    "newest": {},
    "by character": {"characterId": "2100000003"},
    "by corporation": {"corporationId": "98000002"},
    "by ship type": {"shipTypeId": "501"},
    "by system": {"systemId": "30000001"},
    "by region": {"regionId": "10000003"},
    "by system and date": {"systemId": "30000001", "startDate": "2026-06-01", "endDate": "2026-08-02"},
}

#: Attackers of a great fight's killmail, as ESI serves some.
FIGHT = 982


class Nobody:
    """A visitor, who may read."""

    async def viewer(self) -> None:
        return None

    async def allow(self, _need: Any) -> None:
        return None


def run(options: Any) -> dict[str, Any]:
    """Requests a second and p95 of many clients at a time, and one page from memory, beside graphql-core."""
    with postgres_database() as database_url, rabbitmq_vhost() as broker_url:
        connect(Settings(database_url=database_url))  # type: ignore[call-arg]
        schema.migrate()
        one = _beside_graphql_core()
        ours, theirs = [], []
        for _ in range(options.runs):
            with _serving(database_url, broker_url, "-m", "graphql_api") as url:
                ours.append(clients.ask(url, QUERY, options.clients, options.seconds))
            with _serving(database_url, broker_url, "-m", "bench.core_server") as url:
                theirs.append(clients.ask(url, QUERY, options.clients, options.seconds))
        # Last, since from now on it is on the page.
        one[f"page of 50 with a fight of {FIGHT} attackers, p95 ms"] = round(_time_fight() * 1000, 1)
    ours_rate, ours_p95 = (statistics.median(column) for column in zip(*ours, strict=True))
    rate, p95 = (statistics.median(column) for column in zip(*theirs, strict=True))
    return {
        f"time of a request in graphql-core's, {options.clients} clients": round(rate / ours_rate, 2),
        **one,
        "requests/s": round(ours_rate, 1),
        "p95 s": round(ours_p95, 3),
        "graphql-core, requests/s": round(rate, 1),
        "graphql-core, p95 s": round(p95, 3),
    }


@contextlib.contextmanager
def _serving(database_url: str, broker_url: str, *arguments: str) -> Iterator[str]:
    port = free_port()
    values = {
        "DATABASE_URL": database_url, "BROKER_URL": broker_url, "WEB_PORT": str(port), "SSO_CLIENT_ID": "bench",
        "SSO_CLIENT_SECRET": "bench", "SECRET_KEYS": generate_key(), "TRUSTED_PROXIES": "127.0.0.1/32",
        "LOG_LEVEL": "WARNING",
    }  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, *arguments, str(port)], cwd=PROJECT, env=environment(**values), stdout=subprocess.DEVNULL
    )
    try:
        wait_until(lambda: _is_open(port), "the server listens", 30)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=20)


def _is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _beside_graphql_core(attackers: int = 10, rounds: int = 40) -> dict[str, Any]:
    """A page of 50 killmails with ten attackers each from memory: our engine's time in graphql-core's."""
    page = _page(attackers)
    real, queries.page = queries.page, lambda *_args, **_more: page  # type: ignore[assignment]
    try:
        ours = asyncio.run(_time_ours(rounds))
    finally:
        queries.page = real
    edges = [{"cursor": cursor_of(each), "node": each} for each in page.killmails]
    root = {"killmails": {"edges": edges, "pageInfo": {"hasNextPage": True, "endCursor": edges[-1]["cursor"]}}}
    theirs = _time_core(root, rounds)
    return {
        "time of a page from memory in graphql-core's, 50 x 10": round(ours / theirs, 2),
        "goal for both": 0.2,
        "Killsync, ms": round(ours * 1000, 1),
        "graphql-core, ms": round(theirs * 1000, 1),
    }


def _page(attackers: int) -> queries.Page:
    from tests.support.web_server import new_universe

    universe = new_universe(kills=(200,), many_items=True)
    for kill in universe.kills.values():  # graphql-core refuses more than 32 bits
        if kill.kind == "structure":
            universe.kills[kill.killmail_id] = dataclasses.replace(kill, kind="kill")
    with connection():
        from tests.support.web_server import fill

        fill(universe)
        found = queries.page(KillmailFilter(), 50, None)
    for killmail in found.killmails:
        killmail.attackers = (killmail.attackers * attackers)[:attackers]
        # graphql-core refuses more than 32 bits.
        killmail.victim.damage_taken = min(killmail.victim.damage_taken, 2**31 - 1)
        for attacker in killmail.attackers:
            attacker.damage_done = min(attacker.damage_done, 2**31 - 1)
    return found


def _time_fight() -> float:
    """p95 of the newest page of the running database when a great fight is on it: all its attackers, with names, seconds."""
    number, moment = 2_000_000_000, "2100-01-01T00:00:00Z"
    attackers = [
        {"character_id": 2_110_000_000 + n, "corporation_id": 98_500_000 + n % 90, "alliance_id": 99_500_000 + n % 12,
         "ship_type_id": 20_000 + n % 40, "weapon_type_id": 30_000 + n % 60, "damage_done": n, "final_blow": n == 0,
         "security_status": -1.5}
        for n in range(FIGHT)
    ]  # fmt: skip
    victim = {**attackers[-1], "character_id": 2_120_000_000, "damage_taken": 500_000}
    body = {
        "killmail_id": number,
        "killmail_time": moment,
        "solar_system_id": 30_000_142,
        "victim": victim,
        "attackers": attackers,
    }
    with connection():
        ledger.add_submitted(number, f"{number:040x}", proven=True)
        save_killmail(body, f"{number:040x}")
        unnamed = {
            n for table, key in NAME_KEYS.items() for (n,) in rows(f"SELECT {key} FROM {table} WHERE name IS NULL")
        }
        store_names({n: f"One of {n}" for n in unnamed})
    return asyncio.run(time_page({}))


async def _time_ours(rounds: int) -> float:
    api = await Api.make()
    times = []
    for _ in range(rounds + 5):
        began = time.perf_counter()
        answer = await _answer(api, {})
        times.append(time.perf_counter() - began)
    assert len(answer["data"]["killmails"]["edges"]) == 50
    return statistics.median(times[5:])


async def _answer(api: Api, variables: dict[str, Any]) -> dict[str, Any]:
    return await api.execute(await api.operation(QUERY, None, variables), variables, Nobody())


def _time_core(root: dict[str, Any], rounds: int) -> float:
    from graphql_api.tartiflette.scalars import moment_text

    core = build_schema((project_root() / "graphql_api" / "schema.graphql").read_text())
    core.type_map["DateTime"].serialize = moment_text  # type: ignore[attr-defined]
    document = core_parse(QUERY)
    assert not core_validate(core, document)
    times = []
    for _ in range(rounds + 5):
        began = time.perf_counter()
        answer = core_execute(core, document, root, field_resolver=resolve)
        times.append(time.perf_counter() - began)
    assert not answer.errors, answer.errors  # type: ignore[union-attr]
    return statistics.median(times[5:])


async def time_page(chosen: dict[str, str], rounds: int = 60) -> float:
    """p95 of a page of the running database, seconds."""
    api = await Api.make()
    variables = {"filter": chosen}
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        answer = await _answer(api, variables)
        times.append(time.perf_counter() - began)
        assert "errors" not in answer, answer["errors"]
        assert len(answer["data"]["killmails"]["edges"]) > 5, chosen
    return statistics.quantiles(times, n=20)[-1]
