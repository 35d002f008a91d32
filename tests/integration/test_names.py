"""Names: collected over killmails, asked for in bulk, remembered, refreshed when old, and never asked for in vain."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from killsync import service_health
from killsync import settings as settings_module
from killsync.killmails import ledger
from killsync.names import batching, trouble, wanted
from killsync.names.lookup import look_up
from killsync.names.trouble import MOST_ERRORS
from killsync.observability import diagnosis
from killsync.observability.overview import gather
from killsync.static_data.update import update
from models import connection, utcnow
from models.fields import from_any
from models.names import NAME_KEYS
from models.sql import insert_rows, rows, run, sql_now
from simulator import Handle, catalog
from simulator.faults import Fault

DAY = 86_400.0


@pytest.fixture
def handle(against: Callable[..., Any], simulated: Callable[..., Handle]) -> Iterator[Handle]:
    """A simulator of many characters, whose ids wait in the database for their names."""
    handle = simulated(kills=(5,), characters=900)
    against(handle)
    with connection():
        enter("character", list(handle.simulator.universe.characters))
        enter("corporation", list(handle.simulator.universe.corporations))
        enter("solar_system", [30000142, 30002187])
        enter("item_type", [587, 603])
        yield handle


def enter(table: str, ids: list[int]) -> None:
    insert_rows(table, (NAME_KEYS[table],), [(number,) for number in ids])


def asked(handle: Handle) -> int:
    """Requests for names so far."""
    return handle.call(lambda sim: sum(n for (kind, _), n in sim.esi.answers.items() if kind == "names"))


def make_old(days: float) -> None:
    """Let all names be *days* days old."""
    for table in NAME_KEYS:
        run(f"UPDATE {table} SET updated_at = {sql_now(-days * DAY)}")


def test_a_thousand_new_names_cost_two_requests_at_most(handle: Handle) -> None:
    look_up()
    assert asked(handle) <= 2
    assert not wanted.is_unnamed()
    for number, name in rows('SELECT character_id, name FROM "character"'):
        assert name == handle.simulator.universe.characters[number].name
    look_up()
    assert asked(handle) <= 2, "what is known is not asked for again"


def test_an_id_that_esi_refuses_is_asked_for_again_after_an_hour_six_hours_and_then_daily(handle: Handle) -> None:
    enter("character", [90_000_001, 90_000_002])
    look_up()
    spent = asked(handle)
    assert spent <= 4 + 2 * 11, "a call is halved until the unknown ids stand alone"
    refused = handle.call(lambda sim: sum(n for (_, status), n in sim.esi.answers.items() if status == 404))
    assert refused <= MOST_ERRORS and trouble.kinds() == set()
    assert rows('SELECT character_id FROM "character" WHERE name IS NULL ORDER BY 1') == [(90_000_001,), (90_000_002,)]
    for seconds in (3600, 21_600, 86_400, 86_400):
        look_up()
        assert asked(handle) == spent
        for (retry_at,) in rows('SELECT retry_at FROM "character" WHERE name IS NULL'):
            waits = (from_any(retry_at) - utcnow()).total_seconds()
            assert seconds - 30 < waits <= seconds + 1
        run(f'UPDATE "character" SET retry_at = {sql_now(-1)} WHERE name IS NULL')
        forget_errors()
        look_up()
        assert asked(handle) > spent, "it is asked for again"
        spent = asked(handle)


def test_old_names_of_players_are_refreshed_and_those_of_things_never(handle: Handle) -> None:
    look_up()
    spent = asked(handle)
    make_old(6.9)
    look_up()
    assert asked(handle) == spent, "nothing is old after six days"
    make_old(7.1)
    claimed = wanted.claim_stale(1000)
    assert ids_of(claimed) == set(handle.simulator.universe.corporations), (
        "corporations and alliances are old after seven"
    )
    wanted.release(claimed, 0.0)
    make_old(30.1)
    first = handle.simulator.universe.demo_characters[0]
    handle.call(lambda sim: setattr(sim.universe.characters[first.character_id], "name", "A New Name"))
    look_up()
    assert rows('SELECT name FROM "character" WHERE character_id = %s', (first.character_id,)) == [("A New Name",)]
    assert rows(f"SELECT count(*) FROM item_type WHERE updated_at > {sql_now(-DAY)}") == [(0,)]
    assert rows(f"SELECT count(*) FROM solar_system WHERE updated_at > {sql_now(-DAY)}") == [(0,)]


def test_two_workers_never_ask_for_the_same_name(handle: Handle) -> None:
    first, second = wanted.claim_unnamed(500), wanted.claim_unnamed(500)
    assert first and second and not ids_of(first) & ids_of(second)
    wanted.release(first, 0.0)
    assert ids_of(first) <= ids_of(wanted.claim_unnamed(1000)), "what could not be asked for is due again"


def ids_of(claimed: wanted.Claimed) -> set[int]:
    return {number for numbers in claimed.values() for number in numbers}


def forget_errors(*, probe: bool = False) -> None:
    """Let a minute pass for the requests that were refused; with *probe*, until ESI is tried again too."""

    def change(state: trouble.NamesState, _now: float) -> None:
        state.errors = []
        if probe:
            state.probe_at = 0.0

    service_health.change("names", trouble.NamesState, change)


def refused_requests(handle: Handle) -> int:
    return int(handle.call(lambda sim: sum(n for (_, status), n in sim.esi.answers.items() if status == 404)))


def unnamed(table: str) -> int:
    return int(rows(f"SELECT count(*) FROM {table} WHERE name IS NULL")[0][0])


@pytest.mark.parametrize("known", [True, False], ids=["some names are known", "none is known"])
def test_a_names_outage_costs_few_errors_names_what_it_can_and_ends_at_once(
    handle: Handle, known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every list that holds a character is answered 404, as in August 2019."""
    pilots = list(handle.simulator.universe.characters)
    if known:
        run(f"UPDATE \"character\" SET name = 'Known', updated_at = {sql_now()} WHERE character_id = %s", (pilots[5],))
    victim = pilots[700]
    run(
        "INSERT INTO killmail (killmail_id, killmail_hash, killmail_time, solar_system_id, attacker_count, created_at) "
        f"VALUES (9, 'a', {sql_now()}, 30000142, 1, {sql_now()})"
    )
    run("INSERT INTO victim (killmail_id, character_id, ship_type_id, damage_taken) VALUES (9, %s, 587, 1)", (victim,))
    handle.call(lambda sim: sim.unnamed_categories.add("character"))
    look_up()
    assert [unnamed(table) for table in ("corporation", "solar_system", "item_type")] == [0, 0, 0], "named at once"
    assert refused_requests(handle) <= 6 and trouble.kinds() == {"character"}
    assert rows('SELECT name FROM "character" WHERE character_id = %s', (victim,))[0][0], "the most wanted first"
    (problem,) = [each for each in diagnosis.problems(gather()) if each.name == "names in trouble"]
    assert "characters" in problem.text
    before = unnamed('"character"')
    for _ in range(3):
        look_up()
    assert unnamed('"character"') == before - 3 * 40, "one by one"
    assert refused_requests(handle) <= 6, "which costs no errors"
    monkeypatch.setattr("killsync.names.lookup.MOST_SINGLES", 2)
    began = time.monotonic()
    for _ in range(30):
        forget_probe()
        look_up()
    minutes = 1 + (time.monotonic() - began) // 60
    assert refused_requests(handle) <= 20 * minutes, "at most so many in a minute, however often ESI is tried again"
    handle.call(lambda sim: sim.unnamed_categories.clear())
    forget_errors(probe=True)
    look_up()
    assert unnamed('"character"') == 0 and trouble.kinds() == set()


def forget_probe() -> None:
    def change(state: trouble.NamesState, _now: float) -> None:
        state.probe_at = 0.0

    service_health.change("names", trouble.NamesState, change)


def test_what_single_calls_refuse_during_an_outage_is_named_when_it_ends(handle: Handle) -> None:
    pilots = list(handle.simulator.universe.characters)
    handle.call(lambda sim: (sim.unnamed_categories.add("character"), sim.unnamed_ids.update(pilots[:30])))
    for _ in range(12):
        look_up()
    assert refused_requests(handle) <= MOST_ERRORS and trouble.kinds() == {"character"}
    for _ in range(30):
        run(f'UPDATE "character" SET retry_at = {sql_now()} WHERE name IS NULL AND refusals = 0')
        forget_errors()
        look_up()
    assert unnamed('"character"') == 30
    spent = asked(handle)
    look_up()
    assert asked(handle) == spent
    handle.call(lambda sim: (sim.unnamed_categories.clear(), sim.unnamed_ids.clear()))
    forget_errors(probe=True)
    look_up()
    assert unnamed('"character"') == 0, "nobody waits for six hours"


def test_a_character_that_was_just_born_is_named_by_itself_and_is_no_outage(handle: Handle) -> None:
    look_up()
    born = 2_100_000_777
    template = handle.simulator.universe.demo_characters[0]

    def bear(sim: Any) -> None:
        sim.universe.characters[born] = dataclasses.replace(template, character_id=born, name="Newborn")
        sim.newborn.add(born)

    handle.call(bear)
    enter("character", [born])
    look_up()
    assert rows('SELECT name FROM "character" WHERE character_id = %s', (born,)) == [("Newborn",)]
    assert trouble.kinds() == set()


def test_an_outage_of_another_kind_is_met_likewise(handle: Handle) -> None:
    run(f"UPDATE solar_system SET name = 'Jita', updated_at = {sql_now()} WHERE system_id = 30000142")
    handle.call(lambda sim: sim.unnamed_categories.update({"corporation", "solar_system"}))
    look_up()
    assert unnamed('"character"') == 0 and unnamed("item_type") == 0
    look_up()
    assert unnamed("corporation") == 0, "one by one"
    assert refused_requests(handle) <= MOST_ERRORS
    handle.call(lambda sim: sim.unnamed_categories.clear())
    forget_errors(probe=True)
    look_up()
    assert unnamed("solar_system") == 0


def test_what_the_halves_bring_is_kept_when_esi_goes_away_in_between(handle: Handle) -> None:
    enter("character", [90_000_001])
    handle.call(lambda sim: sim.faults.append(Fault("/universe/names", "status", status=503, skip=6)))
    look_up()
    named = 900 - unnamed('"character"')
    handle.call(lambda sim: sim.faults.clear())
    assert unnamed("corporation") == 0 and 0 < named < 900


def test_names_of_what_the_static_data_has_are_never_asked_of_esi(handle: Handle, tmp_path: Any) -> None:
    export = tmp_path / "export.zip"
    export.write_bytes(catalog.archive())
    enter("item_type", [*[each for each in list(catalog.TYPES)[:50] if each not in (587, 603)], 999_999_991])
    update(settings_module.current(), export)
    # Even while ESI refuses lists with types in them, and is asked whether it does still.
    handle.call(lambda sim: sim.unnamed_categories.update({"inventory_type"}))
    for _ in range(3):
        look_up()
        run(f"UPDATE item_type SET retry_at = {sql_now(-1.0)} WHERE name IS NULL")
        forget_errors(probe=True)
    asked_ids = handle.call(lambda sim: set(sim.names_asked))
    assert 999_999_991 in asked_ids, "newer than the build"
    known = {*catalog.TYPES, *catalog.SYSTEMS}
    assert not known.intersection(asked_ids)
    assert {row[0] for row in rows("SELECT name FROM item_type WHERE type_id = 587")} == {"Rifter"}


def test_the_names_of_history_wait_until_they_fill_a_request_or_history_ends(handle: Handle) -> None:
    ledger.add_submitted(1, "a" * 40)
    run(f"UPDATE killmail_ref SET lane = {ledger.BACKLOG}, sent_at = {sql_now(0.0)} WHERE killmail_id = 1")
    sent: list[bool] = []
    batching._schedule().schedule = lambda only_full=False: sent.append(only_full)  # type: ignore[method-assign]

    def scheduled() -> list[bool]:
        batching._schedule()._counted_at = float("-inf")
        sent.clear()
        batching.schedule_history()
        return list(sent)

    assert scheduled() == [False], "the first names are asked for at once"
    look_up()
    assert asked(handle) == 1
    enter("character", [2_100_000_000 + number for number in range(500)])
    assert scheduled() == []
    look_up(only_full=True)
    assert asked(handle) == 1, "history goes on"
    assert batching.is_due_for_reader() is False, "a moment ago"
    enter("character", [2_100_010_000 + number for number in range(500)])
    assert scheduled() == [True]
    run("UPDATE killmail_ref SET state = 'fetched'")
    assert scheduled() == [True] and batching.is_worth_it()
    service_health.change("names-asked", batching._Asked, lambda state, now: setattr(state, "at", now - 30.0))
    assert batching.is_due_for_reader() is True
