"""What a GraphQL client sees of values and fits: values, filters by value, the dearest first, sums, fits and their figures."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from killsync.killmails import queries as killmail_queries
from killsync.killmails.amounts import isk
from killsync.killmails.filter_forms import from_address, from_graphql, to_address
from killsync.prices import book, fetch, store
from killsync.prices.valuation import to_cents
from models import Killmail, connection
from simulator.prices import prices as simulated_prices
from tests.integration.test_graphql import Reader
from tests.integration.test_prices import as_answered, worth
from tests.support import static_data
from tests.support.web_server import fill, new_universe, served

TODAY = datetime.now(UTC).date()


@pytest_asyncio.fixture
async def reader(settings: Any) -> AsyncIterator[Reader]:
    universe = new_universe(kills=(60, 40, 20))
    static_data.load()
    with connection():
        store.enter(TODAY, fetch.pairs(as_answered(simulated_prices(0.0))))
        book.current().look()
    newest = fill(universe)
    async with served(settings) as url, aiohttp.ClientSession() as http:
        yield Reader(url, universe, newest, http)


def totals() -> dict[int, int]:
    """The total of each stored killmail, hundredths of an ISK."""
    with connection():
        return {row.killmail_id: to_cents(row.total_value) for row in Killmail.select()}


async def test_values_of_a_killmail_and_of_its_items(reader: Reader) -> None:
    prices = {
        each["type_id"]: Decimal(str(each.get("average_price") or each["adjusted_price"]))
        for each in simulated_prices(0.0)
    }
    with_items = [number for number in reader.newest if reader.universe.body(number)["victim"].get("items")]
    for number in with_items[:10]:
        body = reader.universe.body(number)
        destroyed, dropped, fitted = (float(amount) for amount in worth(body, prices))
        query = "query($id: ID!) { killmail(id: $id) { value { total destroyed dropped fitted pricedOn } items { value items { value } } } }"
        found = (await reader.data(query, id=str(number)))["killmail"]
        assert found["value"] == {
            "total": pytest.approx(destroyed + dropped), "destroyed": destroyed, "dropped": dropped, "fitted": fitted,
            "pricedOn": TODAY.isoformat(),
        }  # fmt: skip
        items = sum(each["value"] + sum(inner["value"] for inner in each["items"]) for each in found["items"])
        hull = 10_000 if body["victim"]["ship_type_id"] == 670 else float(prices[body["victim"]["ship_type_id"]])
        assert hull + items == pytest.approx(destroyed + dropped, abs=0.01 * (1 + len(found["items"])))


async def test_pages_by_value_hold_everything_once_the_dearest_first(reader: Reader) -> None:
    known = totals()
    expected = sorted(known, key=lambda number: (-known[number], -number))
    seen: list[int] = []
    after = None
    while True:
        page = (await reader.data(
            "query($after: String) { killmails(first: 23, orderBy: VALUE_DESC, after: $after) "
            "{ edges { node { id } } pageInfo { hasNextPage endCursor } } }", after=after,
        ))["killmails"]  # fmt: skip
        seen += [int(edge["node"]["id"]) for edge in page["edges"]]
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
    assert seen == expected
    # Of a party as well.
    pilot = next(iter(reader.universe.characters))
    of_pilot = await reader.ids(f'filter: {{characterId: "{pilot}"}}, first: 100')
    dearest = await reader.ids(f'filter: {{characterId: "{pilot}"}}, first: 100, orderBy: VALUE_DESC')
    assert dearest == sorted(of_pilot, key=lambda number: (-known[number], -number))


async def test_cursors_of_one_order_are_refused_in_the_other(reader: Reader) -> None:
    edge = "{ edges { cursor } }"
    by_value = (await reader.data(f"{{ killmails(first: 1, orderBy: VALUE_DESC) {edge} }}"))["killmails"]["edges"][0][
        "cursor"
    ]
    by_time = (await reader.data(f"{{ killmails(first: 1) {edge} }}"))["killmails"]["edges"][0]["cursor"]
    for arguments in (
        f'after: "{by_value}"',
        f'after: "{by_time}", orderBy: VALUE_DESC',
        'after: "x", orderBy: VALUE_DESC',
    ):
        answer = await reader.ask(f"{{ killmails({arguments}) {edge} }}")
        assert answer["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT", answer


async def test_filters_by_value_agree_with_what_is_stored(reader: Reader) -> None:
    known = totals()
    for cents in sorted(known.values())[:: len(known) // 5]:
        amount = cents / 100
        assert set(await reader.ids(f"filter: {{minValue: {amount}}}, first: 100")) <= {
            n for n in known if known[n] >= cents
        }
        for name, fits in (
            ("minValue", lambda of, cents=cents: of >= cents),
            ("maxValue", lambda of, cents=cents: of <= cents),
        ):
            stats = (await reader.data(f"{{ killmailStats(filter: {{{name}: {amount}}}) {{ kills iskDestroyed }} }}"))[
                "killmailStats"
            ]
            expected = [of for of in known.values() if fits(of)]
            assert (stats["kills"], stats["iskDestroyed"]) == (len(expected), pytest.approx(sum(expected) / 100))
            made = from_graphql({name: amount})
            with connection():
                whole = killmail_queries.killmails(list(known), items=False)
            assert sum(made.matches(each) for each in whole) == len(expected)
            assert from_address(dict(to_address(made))) == made
    for wrong in ("minValue: -1", "minValue: 1e30", "minValue: 5, maxValue: 4"):
        assert (await reader.ask(f"{{ killmails(filter: {{{wrong}}}) {{ edges {{ cursor }} }} }}"))["errors"]


async def test_sums_over_everything_and_over_a_party(reader: Reader) -> None:
    known = totals()
    found = await reader.data(
        "{ all: killmailStats { kills iskDestroyed } none: killmailStats(filter: {systemId: 5}) { kills iskDestroyed } }"
    )
    assert found["all"] == {"kills": len(known), "iskDestroyed": pytest.approx(sum(known.values()) / 100)}
    assert found["none"] == {"kills": 0, "iskDestroyed": 0.0}
    pilot = next(iter(reader.universe.characters))
    losses = [n for n in known if reader.universe.body(n)["victim"].get("character_id") == pilot]
    stats = await reader.data(
        f'{{ killmailStats(filter: {{characterId: "{pilot}", side: VICTIM}}) {{ kills iskDestroyed }} }}'
    )
    assert stats["killmailStats"] == {
        "kills": len(losses), "iskDestroyed": pytest.approx(sum(known[n] for n in losses) / 100),
    }  # fmt: skip


FIT = """fitting { eft dna esi link problem high { itemType { id name } charge { id } quantity } mid { itemType { id } } low { itemType { id } }
rigs { itemType { id } } subsystems { itemType { id } } services { itemType { id } }
stats { effectiveHitPoints damagePerSecond volley speed alignTime capacitorStable shield { effectiveHitPoints em } } }"""


async def test_fits_of_a_page_are_those_of_each_killmail(reader: Reader) -> None:
    page = (
        await reader.data(
            f"{{ killmails(first: 60) {{ edges {{ node {{ id victim {{ shipType {{ id }} }} {FIT} }} }} }} }}"
        )
    )["killmails"]
    fitted = [edge["node"] for edge in page["edges"] if edge["node"]["fitting"]["high"]]
    assert fitted
    for node in [edge["node"] for edge in page["edges"]]:
        body = reader.universe.body(int(node["id"]))
        flags = {item["flag"] for item in body["victim"].get("items", ()) if 27 <= item["flag"] < 35}
        assert len(node["fitting"]["high"]) == len(flags)
        assert node["fitting"]["eft"] or node["fitting"]["problem"]
        if node["fitting"]["problem"] is None:
            assert node["fitting"]["stats"]["effectiveHitPoints"] > 100
            assert json.loads(node["fitting"]["esi"])["ship_type_id"] == int(node["victim"]["shipType"]["id"])
    one = (await reader.data(f"query($id: ID!) {{ killmail(id: $id) {{ {FIT} }} }}", id=fitted[0]["id"]))["killmail"]
    assert one["fitting"] == fitted[0]["fitting"]


async def test_a_page_without_fits_calculates_none(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    from killsync.fitting import fits

    monkeypatch.setattr(fits, "fitting", lambda *_args, **_how: pytest.fail("a fit was made"))
    await reader.data("{ killmails(first: 20) { edges { node { id value { total } items { value } } } } }")


async def test_without_prices_there_is_no_value_and_no_error(settings: Any) -> None:
    universe = new_universe(kills=(3, 0))
    newest = fill(universe)
    async with served(settings) as url, aiohttp.ClientSession() as http:
        reader = Reader(url, universe, newest, http)
        query = "{ killmails(orderBy: VALUE_DESC) { edges { node { value { total } items { value } fitting { eft } } } } killmailStats { kills iskDestroyed } }"
        found = await reader.data(query)
    assert {edge["node"]["value"]["total"] for edge in found["killmails"]["edges"]} == {0.0}
    assert found["killmailStats"] == {"kills": len(newest), "iskDestroyed": 0.0}


async def test_pages_of_pilots_say_what_was_destroyed_and_lost(reader: Reader) -> None:
    known = totals()
    pilot = next(iter(reader.universe.characters))
    lost = sum(known[n] for n in known if reader.universe.body(n)["victim"].get("character_id") == pilot)
    destroyed = sum(
        known[n] for n in known
        if reader.universe.body(n)["victim"].get("character_id") != pilot
        and any(each.get("character_id") == pilot for each in reader.universe.body(n)["attackers"])
    )  # fmt: skip
    async with reader.http.get(f"{reader.url}/characters/{pilot}", headers={"Accept": "text/html"}) as answer:
        text = await answer.text()
    for amount in (isk(destroyed / 100), isk(lost / 100), f"{100 * destroyed / (destroyed + lost):.1f} %"):
        assert amount in text, amount


async def test_feeds_carry_the_values(reader: Reader) -> None:
    known = totals()
    number = max(known, key=lambda each: known[each])
    async with reader.http.get(f"{reader.url}/api/killID/{number}/") as answer:
        (entry,) = await answer.json()
    assert entry["zkb"]["totalValue"] == known[number] / 100
    assert "isk:1b+" in entry["zkb"]["labels"]
    assert entry["zkb"]["destroyedValue"] + entry["zkb"]["droppedValue"] == pytest.approx(entry["zkb"]["totalValue"])
