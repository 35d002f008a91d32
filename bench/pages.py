"""GraphQL pages: beside graphql-core on the same data in the same process, and how they grow with what is stored."""

from __future__ import annotations

import asyncio
import statistics
import time
from typing import Any

import psycopg2
from graphql import build_schema
from graphql import execute as core_execute
from graphql import parse as core_parse
from graphql import validate as core_validate

from bench import generate
from graphql_api.engine import Api
from models import connection, feed
from settings import project_root

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
    "by system and date": {"systemId": "30000001", "startDate": "2026-06-01", "endDate": "2026-07-20"},
}


class Nobody:
    """A visitor."""

    async def viewer(self) -> None:
        return None


def beside_graphql_core(attackers: int = 10, rounds: int = 40) -> dict[str, Any]:
    """A page of 50 killmails with ten attackers each from memory: our engine's time in graphql-core's."""
    page = _page(attackers)
    real, feed.page = feed.page, lambda *_args, **_more: page  # type: ignore[assignment]
    try:
        ours = asyncio.run(_time_ours(rounds))
    finally:
        feed.page = real
    edges = [{"cursor": feed.cursor_of(tree), "node": tree} for tree in page.killmails]
    root = {"killmails": {"edges": edges, "pageInfo": {"hasNextPage": True, "endCursor": edges[-1]["cursor"]}}}
    theirs = _time_core(root, rounds)
    return {
        "Killsync, ms a page of 50 x 10": round(ours * 1000, 1),
        "graphql-core, ms": round(theirs * 1000, 1),
        "ratio": round(ours / theirs, 2),
        "goal": 2.5,
    }


def _page(attackers: int) -> feed.Page:
    from tests.serving import new_universe

    universe = new_universe(kills=(60,))
    with connection():
        from tests.serving import fill

        fill(universe)
        found = feed.page(feed.Filter(), 50, None)
    for tree in found.killmails:
        tree["attackers"] = (tree["attackers"] * attackers)[:attackers]
        for party in (tree["victim"], *tree["attackers"]):  # graphql-core refuses more than 32 bits
            for field in {"damageTaken", "damageDone"} & set(party):
                party[field] = min(party[field], 2**31 - 1)
    return found


async def _time_ours(rounds: int) -> float:
    api = await Api.make()
    times = []
    for _ in range(rounds + 5):
        began = time.perf_counter()
        api.operation(QUERY, None, {})
        answer = await api.execute(QUERY, None, {}, Nobody())
        times.append(time.perf_counter() - began)
    assert len(answer["data"]["killmails"]["edges"]) == 50
    return statistics.median(times[5:])


def _time_core(root: dict[str, Any], rounds: int) -> float:
    from graphql_api.scalars import moment_text

    schema = build_schema((project_root() / "graphql_api" / "schema.graphql").read_text())
    schema.type_map["DateTime"].serialize = moment_text  # type: ignore[attr-defined]
    document = core_parse(QUERY)
    assert not core_validate(schema, document)
    times = []
    for _ in range(rounds + 5):
        began = time.perf_counter()
        answer = core_execute(schema, document, root)
        times.append(time.perf_counter() - began)
    assert not answer.errors, answer.errors  # type: ignore[union-attr]
    return statistics.median(times[5:])


def growth(database_url: str, sizes: tuple[int, ...], rounds: int = 60) -> dict[str, Any]:
    """p95 of each page at each number of stored killmails, and the last in the first's."""
    database = psycopg2.connect(database_url)
    database.autocommit = True
    figures: dict[str, dict[int, float]] = {name: {} for name in FILTERS}
    stored = 0
    for size in sizes:
        for start in range(stored + 1, size + 1, 100_000):
            generate.killmails(database, start, min(size, start + 99_999))
        stored = size
        generate.settle(database)
        for name, chosen in FILTERS.items():
            figures[name][size] = asyncio.run(_time_page(chosen, rounds))
    database.close()
    result: dict[str, Any] = {"goal": 3.0}
    for name, times in figures.items():
        result[name] = {
            **{f"p95 ms at {size:,}": round(times[size] * 1000, 1) for size in sizes},
            "ratio": round(times[sizes[-1]] / times[sizes[0]], 2),
        }
    return result


async def _time_page(chosen: dict[str, str], rounds: int) -> float:
    api = await Api.make()
    variables = {"filter": chosen}
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        answer = await api.execute(QUERY, None, variables, Nobody())
        times.append(time.perf_counter() - began)
        assert "errors" not in answer, answer["errors"]
        assert len(answer["data"]["killmails"]["edges"]) > 5, chosen
    return statistics.quantiles(times, n=20)[-1]
