"""Names: collected over killmails, asked for in bulk, remembered, refreshed when old, and never asked for in vain."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from killsync.names import wanted
from killsync.names.lookup import look_up
from models import connection
from models.names import NAME_KEYS
from models.sql import insert_rows, rows, run, sql_now
from simulator import Handle

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


def test_an_id_that_esi_does_not_know_is_not_asked_for_again_for_a_day(handle: Handle) -> None:
    enter("character", [90_000_001, 90_000_002])
    look_up()
    spent = asked(handle)
    assert spent <= 2 + 2 * 11, "a call is halved until the unknown ids stand alone"
    assert rows('SELECT character_id FROM "character" WHERE name IS NULL ORDER BY 1') == [(90_000_001,), (90_000_002,)]
    look_up()
    assert asked(handle) == spent
    run(f'UPDATE "character" SET retry_at = {sql_now(-1)} WHERE name IS NULL')
    look_up()
    assert asked(handle) > spent, "after a day it is asked for again"


def test_old_names_of_players_are_refreshed_and_those_of_things_never(handle: Handle) -> None:
    look_up()
    spent = asked(handle)
    make_old(6.9)
    look_up()
    assert asked(handle) == spent, "nothing is old after six days"
    make_old(7.1)
    claimed = set(wanted.claim_stale(1000))
    assert claimed == set(handle.simulator.universe.corporations), "corporations and alliances are old after seven"
    wanted.release(claimed, 0.0)
    make_old(30.1)
    first = handle.simulator.universe.demo_characters[0]
    handle.call(lambda sim: setattr(sim.universe.characters[first.character_id], "name", "A New Name"))
    look_up()
    assert rows('SELECT name FROM "character" WHERE character_id = %s', (first.character_id,)) == [("A New Name",)]
    assert rows(f"SELECT count(*) FROM item_type WHERE updated_at > {sql_now(-DAY)}") == [(0,)]
    assert rows(f"SELECT count(*) FROM solar_system WHERE updated_at > {sql_now(-DAY)}") == [(0,)]


def test_two_workers_never_ask_for_the_same_name(handle: Handle) -> None:
    first, second = set(wanted.claim_unnamed(500)), set(wanted.claim_unnamed(500))
    assert first and second and not first & second
    wanted.release(first, 0.0)
    assert first <= set(wanted.claim_unnamed(1000)), "what could not be asked for is due again"
