"""Prices are asked for once an hour for all processes, kept by day, and killmails are valued by those of their day."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from killsync.killmails import ledger
from killsync.killmails.labels import labels_of
from killsync.killmails.mapping import parse_time
from killsync.killmails.store import save_killmails
from killsync.prices import book, fetch, revaluation, store
from killsync.prices.valuation import to_cents
from killsync.static_data import archive, catalog
from killsync.static_data import store as static_data
from models import ItemPrice, Killmail, PriceDay, connection
from models.db import database
from simulator import Handle
from simulator import catalog as simulated_catalog
from simulator.faults import Fault
from simulator.prices import prices as simulated_prices
from tests.support.web_server import new_universe

TODAY = datetime.now(UTC).date()
#: What the tests themselves know: no code of the valuation is used to check it.
FITTED_FLAGS = {*range(11, 35), *range(92, 100), *range(125, 133), *range(159, 172)}
CENT = Decimal("0.01")


@pytest.fixture
def handle(against: Callable[..., Any], simulated: Callable[..., Handle]) -> Iterator[Handle]:
    handle = simulated(kills=(30, 10))
    against(handle)
    yield handle


@pytest.fixture
def bodies(settings: Any, tmp_path: Path) -> list[dict[str, Any]]:
    path = tmp_path / "export.zip"
    path.write_bytes(simulated_catalog.archive())
    with connection():
        static_data.load(archive.read(path))
        catalog.current().look()
    universe = new_universe(kills=(40, 20))
    return [universe.body(killmail_id) for killmail_id in sorted(universe.kills)]


def save(bodies: list[dict[str, Any]]) -> None:
    with connection():
        for body in bodies:
            ledger.add_submitted(body["killmail_id"], "a" * 40)
        assert not [
            each for each in save_killmails([(body, "a" * 40) for body in bodies]) if isinstance(each, Exception)
        ]


def asked(handle: Handle) -> int:
    return handle.call(lambda sim: sum(n for (kind, _), n in sim.esi.answers.items() if kind == "prices"))


def enter(day: date, prices: dict[int, Any] | None = None) -> dict[int, Decimal]:
    """Enter the prices of a day, the simulator's or those given; what a type is worth."""
    moment = datetime(day.year, day.month, day.day, 12, tzinfo=UTC).timestamp()
    given = (
        simulated_prices(moment) if prices is None else [{"type_id": k, "average_price": v} for k, v in prices.items()]
    )
    with connection():
        store.enter(day, fetch.pairs(as_answered(given)))
        book.current().look()
    return {each["type_id"]: Decimal(str(each.get("average_price") or each["adjusted_price"])) for each in given}


def as_answered(entries: list[dict[str, Any]]) -> list[Any]:
    from killsync.esi import schemas

    return schemas.prices(json.dumps(entries).encode())


def worth(body: dict[str, Any], prices: dict[int, Decimal]) -> tuple[Decimal, Decimal, Decimal]:
    """Destroyed, dropped, fitted by the rules as players know them: another calculation than Killsync's."""

    def price(type_id: int, flag: int, singleton: int) -> Decimal:
        is_skin = simulated_catalog.group_of(type_id) == "Permanent SKIN"
        if singleton == 2 or flag == 179 or is_skin or (type_id == 33329 and flag == 89):
            return CENT
        return max(CENT, prices.get(type_id, CENT))

    victim = body["victim"]
    hull = Decimal(10_000) if victim["ship_type_id"] == 670 else price(victim["ship_type_id"], 0, 1)
    sums = {"destroyed": hull, "dropped": Decimal(0), "fitted": hull}
    for item in victim.get("items", ()):
        for each in (item, *item.get("items", ())):
            one = price(each["item_type_id"], item["flag"], each["singleton"])
            for name in ("destroyed", "dropped"):
                value = one * each.get(f"quantity_{name}", 0)
                sums[name] += value
                sums["fitted"] += value if item["flag"] in FITTED_FLAGS else 0
    return tuple(amount.quantize(CENT, ROUND_HALF_UP) for amount in sums.values())  # type: ignore[return-value]


def stored() -> dict[int, Any]:
    with connection():
        return {row.killmail_id: row for row in Killmail.select()}


def check(bodies: list[dict[str, Any]], prices: dict[int, Decimal], day: date) -> None:
    rows = stored()
    for body in bodies:
        row = rows[body["killmail_id"]]
        destroyed, dropped, fitted = worth(body, prices)
        assert row.priced_on == day
        found = [to_cents(getattr(row, f"{name}_value")) for name in ("destroyed", "dropped", "fitted", "total")]
        assert found == [int(amount * 100) for amount in (destroyed, dropped, fitted, destroyed + dropped)]


def test_values_are_those_of_an_independent_calculation(bodies: list[dict[str, Any]]) -> None:
    prices = enter(TODAY)
    save(bodies)
    check(bodies, prices, TODAY)
    rows = stored()
    dear = [row for row in rows.values() if row.total_value >= 10**9]
    assert dear
    for row in rows.values():
        has_label = "isk:1b+" in labels_of(row.label_bits, row.victim_category_id)
        assert has_label == (row.total_value >= 10**9)


def test_prices_are_asked_for_once_by_all_processes_until_they_expire(handle: Handle) -> None:
    threads = [threading.Thread(target=fetch.fetch) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    fetch.fetch()
    assert asked(handle) == 1
    with connection():
        assert [row.day for row in PriceDay.select()] == [datetime.now(UTC).date()]
        assert ItemPrice.select().count() == len(simulated_prices(0.0))
        from killsync import leases

        assert 3500 < (leases.seconds_left("prices") or 0) <= 3610
        leases.expire("prices")
    # ESI is asked again, and what is there stands.
    handle.call(lambda sim: setattr(sim, "prices", b'[{"type_id": 34, "average_price": 99.0}]'))
    handle.call(lambda sim: sim.esi._public.__setattr__("_prices_made_at", 0.0))
    assert fetch.fetch() == 0
    assert asked(handle) == 2
    with connection():
        assert store.of_day(datetime.now(UTC).date())[34] < 99_000_000


def test_a_week_without_prices_costs_few_requests_and_no_killmail(handle: Handle, bodies: list[dict[str, Any]]) -> None:
    handle.call(lambda sim: sim.faults.append(Fault("/markets/prices", status=500)))
    fetch.fetch()
    fetch.fetch()
    assert asked(handle) == 1
    save(bodies)
    assert {row.priced_on for row in stored().values()} == {None}
    prices = enter(TODAY - timedelta(days=7))
    with connection():
        assert revaluation.is_wanted()
        revaluation.value_some(10.0)
    check(bodies, prices, TODAY - timedelta(days=7))


@pytest.mark.parametrize(
    "answer",
    [b"[]", b"{}", b'{"error": "x"}', b"nonsense", b"[1, null, {}]", b'[{"type_id": 34, "average_price": 1e999'],
)
def test_an_answer_that_is_no_list_of_prices_is_left(handle: Handle, answer: bytes) -> None:
    handle.call(lambda sim: setattr(sim, "prices", answer))
    fetch.fetch()
    with connection():
        assert not PriceDay.select().exists()


def test_odd_prices_spoil_no_others(handle: Handle) -> None:
    handle.call(lambda sim: setattr(sim, "prices", (
        b'[{"type_id": 34, "average_price": 4.7342}, {"type_id": 35, "average_price": 1e30, "adjusted_price": 7},'
        b'{"type_id": 36, "average_price": -1}, {"type_id": 37, "average_price": 0, "adjusted_price": 0.004},'
        b'{"type_id": 38}, {"type_id": "39", "average_price": 1}, {"type_id": 40, "average_price": 1e999, "adjusted_price": 2},'
        b'{"type_id": 41, "average_price": NaN}, {"type_id": 42, "average_price": "x", "adjusted_price": 3},'
        b'{"type_id": 99999999999999999999, "average_price": 1}, {"type_id": true, "average_price": 1}]'
    )))  # fmt: skip
    assert fetch.fetch() == 5
    with connection():
        found = store.of_day(datetime.now(UTC).date())
    assert found == {34: 4_734_200, 35: 7_000_000, 37: 4_000, 40: 2_000_000, 42: 3_000_000}


def test_quantities_of_a_trillion_stay_exact(settings: Any) -> None:
    body = new_universe(kills=(1, 0)).body(min(new_universe(kills=(1, 0)).kills))
    body["victim"].update(ship_type_id=587, items=[
        {"item_type_id": 34, "flag": 5, "singleton": 0, "quantity_dropped": 10**12 + 1},
        {"item_type_id": 999_999_999, "flag": 5, "singleton": 0, "quantity_destroyed": 10**12},
    ])  # fmt: skip
    enter(TODAY, {34: 5.23, 587: 0.01})
    save([body])
    (row,) = stored().values()
    assert to_cents(row.dropped_value) == 523 * (10**12 + 1)
    assert to_cents(row.destroyed_value) == 10**12 + 1
    assert to_cents(row.total_value) == 524 * 10**12 + 524


def test_a_killmail_is_valued_by_its_own_day_or_the_nearest(bodies: list[dict[str, Any]]) -> None:
    days = {day: enter(day, {each["type_id"]: 1000 + number for each in simulated_prices(0.0)})
            for number, day in enumerate((date(2026, 5, 1), date(2026, 5, 4), date(2026, 5, 11)))}  # fmt: skip
    expected = {
        "2026-04-01": date(2026, 5, 1), "2026-05-01": date(2026, 5, 1), "2026-05-02": date(2026, 5, 1),
        "2026-05-03": date(2026, 5, 4), "2026-05-04": date(2026, 5, 4), "2026-05-07": date(2026, 5, 4),
        "2026-05-08": date(2026, 5, 11), "2026-11-20": date(2026, 5, 11),
    }  # fmt: skip
    for body, day in zip(bodies, expected, strict=False):
        body["killmail_time"] = f"{day}T23:59:59Z"
    chosen = bodies[: len(expected)]
    statements = count_statements(lambda: save(chosen))
    for body, day in zip(chosen, expected.values(), strict=True):
        check([body], days[day], day)
    # Of the days in between, the prices of a whole batch cost one statement.
    assert sum("item_price" in text for text in statements) == 1


def count_statements(work: Callable[[], Any]) -> list[str]:
    texts: list[str] = []
    real = database.obj.execute_sql

    def execute_sql(sql: str, *args: Any, **kwargs: Any) -> Any:
        texts.append(sql)
        return real(sql, *args, **kwargs)

    database.obj.execute_sql = execute_sql
    try:
        work()
    finally:
        del database.obj.execute_sql
    return texts


def test_valuing_what_happens_now_costs_no_statement(bodies: list[dict[str, Any]]) -> None:
    enter(TODAY)
    save(bodies[:1])
    assert not [text for text in count_statements(lambda: save(bodies[1:])) if "price" in text.partition("killmail")[0]]


def test_when_the_prices_of_a_day_come_later_its_killmails_are_valued_again(bodies: list[dict[str, Any]]) -> None:
    yesterday = TODAY - timedelta(days=1)
    for number, body in enumerate(bodies):
        body["killmail_time"] = f"{(yesterday if number % 2 else TODAY).isoformat()}T08:00:00Z"
    before = enter(yesterday)
    save(bodies)
    check(bodies, before, yesterday)
    after = enter(TODAY)
    with connection():
        assert revaluation.is_wanted()
        revaluation.value_some(10.0)
    check(bodies[::2], after, TODAY)
    check(bodies[1::2], before, yesterday)
    # And nothing is left to do once no process can store by the older prices any more.
    with connection():
        PriceDay.update(stored_at=datetime.now(UTC) - timedelta(hours=1)).execute()
        for lease in ("value", "value-pause"):
            from killsync import leases

            leases.expire(lease)
        revaluation.value_some(10.0)
        leases.expire("value-pause")
        assert not revaluation.is_wanted()


def test_the_operators_prices_come_first_and_are_read_anew(
    bodies: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.support.process import change_settings

    file = tmp_path / "prices.txt"
    file.write_text("type_id, isk\n# prizes\n587, 75_000_000_000.25 # a Rifter\nnonsense\n34 -5\n")
    change_settings(PRICE_FILE=str(file))
    body = next(body for body in bodies if body["victim"]["ship_type_id"] != 670)
    body["victim"].update(ship_type_id=587, items=[])
    enter(TODAY)
    save([body])
    assert to_cents(stored()[body["killmail_id"]].total_value) == 7_500_000_000_025
    file.write_text("587 20\n")
    since = (parse_time(body["killmail_time"]).date()).isoformat()
    monkeypatch.setattr("killsync.startup.start", lambda *_needs, **_how: change_settings(PRICE_FILE=str(file)))
    from killsync.cli.main import app

    later = CliRunner().invoke(app, ["values", "recompute", "--since", (TODAY + timedelta(days=1)).isoformat()])
    assert (later.exit_code, later.output.lstrip()) == (0, "0 killmails have another value than before.\n")
    done = CliRunner().invoke(app, ["values", "recompute", "--since", since])
    assert (done.exit_code, done.output.lstrip()) == (0, "1 killmails have another value than before.\n")
    assert to_cents(stored()[body["killmail_id"]].total_value) == 2_000
