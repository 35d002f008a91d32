"""Killmails that are stored are classified when the static data says more of them, beside those that are stored meanwhile."""

from __future__ import annotations

import dataclasses
import threading
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from killsync.killmails import ledger, mapping, queries, reclassification
from killsync.killmails.classification import classify
from killsync.killmails.labels import labels_of
from killsync.killmails.store import save_killmail, save_killmails
from killsync.scheduling import sweep
from killsync.static_data import archive, catalog, store
from killsync.static_data.archive import StaticData
from models import Involvement, Killmail, StaticDataBuild, StaticDataChange, connection, schema
from models.db import database
from models.killmails import NO_STATIC_DATA, SHIP_GROUP, UNCLASSIFIED
from models.sql import run
from simulator import catalog as simulated_catalog
from tests.support.earlier_version import begin_before
from tests.support.process import end
from tests.support.web_server import new_universe

FRIGATE, ROOKIE = 25, 237


@pytest.fixture
def build(tmp_path: Path) -> StaticData:
    path = tmp_path / "export.zip"
    path.write_bytes(simulated_catalog.archive())
    return archive.read(path)


def newer(build: StaticData, number: int, **types: int) -> StaticData:
    """The build of the next number, with other groups of the types given as `_587=26`."""
    moved = {int(name[1:]): group for name, group in types.items()}
    rows = [(*row[:2], moved.get(row[0], row[2]), *row[3:]) for row in build.types]
    return dataclasses.replace(build, build=archive.Build(number, None), types=rows)


@pytest.fixture
def bodies(settings: Any) -> list[dict[str, Any]]:
    universe = new_universe(kills=(40, 20))
    return [universe.body(killmail_id) for killmail_id in sorted(universe.kills)]


def save(bodies: list[dict[str, Any]]) -> None:
    with connection():
        for body in bodies:
            ledger.add_submitted(body["killmail_id"], "a" * 40)
        save_killmails([(body, "a" * 40) for body in bodies])


def check(bodies: list[dict[str, Any]], load_number: int) -> None:
    """Every killmail is stored as the catalog that is loaded now says."""
    with connection():
        known = catalog.read()
        stored = {row.killmail_id: row for row in Killmail.select()}
        groups = {
            (row.killmail_id, row.ship_group_id): row.sides
            for row in Involvement.select().where(Involvement.ship_group_id.is_null(False))
        }
    assert known.load_number == load_number
    expected_groups = {}
    for body in bodies:
        row = stored[body["killmail_id"]]
        kind = classify(body, mapping.parse_time(body["killmail_time"]), known)
        assert row.classified_by == load_number
        assert (row.npc, row.solo, row.awox, row.region_id, row.constellation_id, row.security, row.victim_category_id) == (
            kind.npc, kind.solo, kind.awox, kind.region_id, kind.constellation_id, kind.security, kind.victim_category_id,
        )  # fmt: skip
        assert labels_of(row.label_bits, row.victim_category_id) == kind.labels
        for (of, group), sides in mapping.involved(body["victim"], body["attackers"], known).items():
            if of == SHIP_GROUP:
                expected_groups[body["killmail_id"], group] = sides
    assert groups == expected_groups


def load(data: StaticData) -> None:
    with connection():
        store.load(data)
        catalog.current().look()


def test_a_killmail_is_classified_in_the_transaction_that_stores_it(bodies: Any, build: StaticData) -> None:
    load(build)
    save(bodies)
    check(bodies, 1)
    assert reclassification.classify_all() == 0
    with connection():
        assert Killmail.select().where(Killmail.region_id.is_null()).count() == 0
        assert {row.security for row in Killmail.select()} - {None}


def test_storing_a_batch_runs_no_statement_for_classification(
    bodies: Any, build: StaticData, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(build)
    save(bodies[:5])
    with connection():
        ledger.add_submitted(bodies[6]["killmail_id"], "a" * 40)
        seen: list[str] = []
        execute = database.obj.execute_sql
        monkeypatch.setattr(
            database.obj,
            "execute_sql",
            lambda sql, *more: seen.append(sql) or execute(sql, *more),  # type: ignore[func-returns-value]
        )
        save_killmail(bodies[6], "a" * 40)
    changes = [sql for sql in seen if sql.startswith("UPDATE killmail ") and "SET sequence" not in sql]
    assert not [*changes, *(sql for sql in seen if "static_data" in sql or "item_group" in sql)]


def test_what_was_stored_without_static_data_is_classified_when_there_is_some(bodies: Any, build: StaticData) -> None:
    save(bodies)
    with connection():
        assert {row.classified_by for row in Killmail.select()} == {NO_STATIC_DATA}
        assert not reclassification.is_wanted(), "nothing more can be said"
    load(build)
    told: list[tuple[int, int]] = []
    assert reclassification.classify_all(lambda done, total: told.append((done, total))) == len(bodies)
    assert told[-1] == (len(bodies), len(bodies))
    check(bodies, 1)
    assert reclassification.classify_all() == 0


def test_what_the_version_before_stored_is_classified_even_without_static_data(bodies: Any, build: StaticData) -> None:
    save(bodies)
    with connection():
        Killmail.update(npc=False, label_bits=0, classified_by=UNCLASSIFIED).execute()
        assert reclassification.is_wanted()
    assert reclassification.classify_all() == len(bodies)
    check(bodies, 0)


def test_a_newer_build_puts_right_what_it_touches_and_nothing_else(bodies: Any, build: StaticData) -> None:
    load(build)
    save(bodies)
    ship = bodies[0]["victim"]["ship_type_id"]
    group = next(row[2] for row in build.types if row[0] == ship)
    other = ROOKIE if group != ROOKIE else FRIGATE
    load(newer(build, 2, **{f"_{ship}": other}))
    with connection():
        touched = {row.killmail_id for row in Involvement.select().where(Involvement.ship_type_id == ship)}
        assert reclassification.count() == len(touched) < len(bodies)
    assert reclassification.classify_all() == len(touched)
    with connection():
        by = {row.killmail_id: row.classified_by for row in Killmail.select()}
        assert {killmail_id for killmail_id, number in by.items() if number == 2} == touched
        Killmail.update(classified_by=2).execute()
    check(bodies, 2)
    load(newer(build, 3))
    reclassification.classify_all()
    with connection():
        Killmail.update(classified_by=3).execute()
    check(bodies, 3)


def test_a_system_that_moved_takes_its_killmails_with_it(bodies: Any, build: StaticData) -> None:
    load(build)
    save(bodies)
    system = bodies[0]["solar_system_id"]
    moved = [(*row[:3], 10000070, *row[4:]) if row[0] == system else row for row in build.systems]
    load(dataclasses.replace(build, build=archive.Build(2, None), systems=moved))
    reclassification.classify_all()
    with connection():
        there = list(Killmail.select().where(Killmail.solar_system_id == system))
        assert {(row.region_id, row.security) for row in there} == {(10000070, "pochven")}
        assert [killmail.killmail_id for killmail in queries.killmails([there[0].killmail_id])]


def test_a_process_that_still_knows_the_old_build_is_put_right_after_it(bodies: Any, build: StaticData) -> None:
    load(build)
    ship = bodies[0]["victim"]["ship_type_id"]
    with connection():
        store.load(newer(build, 2, **{f"_{ship}": ROOKIE}))
    stale = catalog.current().get()
    assert stale.load_number == 1, "it looked a moment ago"
    save(bodies)
    with connection():
        assert {row.classified_by for row in Killmail.select()} == {1}
    assert reclassification.classify_all() > 0
    with connection():
        assert StaticDataChange.select().exists(), "another process may store so still"
        Killmail.update(classified_by=2).execute()
        check(bodies, 2)
        StaticDataBuild.update(loaded_at="2026-01-01 00:00:00.000000+00:00").execute()
    reclassification.classify_all()
    with connection():
        assert not StaticDataChange.select().exists()


def test_it_goes_on_where_it_was_ended(bodies: Any, build: StaticData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reclassification, "BATCH", 7)
    save(bodies)
    load(build)

    def end(done: int, total: int) -> None:
        if done >= 14:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reclassification.classify_all(end)
    with connection():
        assert Killmail.select().where(Killmail.classified_by == 1).count() == 14
    assert reclassification.classify_all() == len(bodies) - 14
    check(bodies, 1)


def test_killmails_are_stored_while_others_are_classified(
    bodies: Any, build: StaticData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reclassification, "BATCH", 5)
    half = len(bodies) // 2
    save(bodies[:half])
    load(build)
    saver = threading.Thread(target=lambda: [save([body]) for body in bodies[half:]])
    saver.start()
    while saver.is_alive():
        reclassification.classify_all()
    saver.join()
    reclassification.classify_all()
    check(bodies, 1)


def test_the_sweep_has_a_worker_classify(bodies: Any, build: StaticData, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []
    monkeypatch.setattr(sweep, "send", lambda actor: sent.append(actor))
    monkeypatch.setattr(sweep, "dispatch", lambda: 0)
    save(bodies)
    load(build)
    with connection():
        sweep.sweep()
        assert sent == ["classify_killmails"]
        assert reclassification.classify_some(30.0) == len(bodies)
        sent.clear()
        sweep.sweep()
        assert not sent, "it looked a moment ago"
    check(bodies, 1)


def test_the_command_classifies_and_says_so(bodies: Any, build: StaticData) -> None:
    from killsync.cli.main import app

    save(bodies)
    load(build)
    assert f"{len(bodies)} killmails classified." in CliRunner().invoke(app, ["static-data", "classify"]).output
    assert "Every killmail is classified." in CliRunner().invoke(app, ["static-data", "classify"]).output


def test_readers_see_one_build_while_builds_are_switched(bodies: Any, build: StaticData) -> None:
    """While builds are loaded in turns, every page says of all its ships and systems what one build says."""
    save(bodies)
    group = {row[0]: row[2] for row in build.types}[587]
    builds = [newer(build, number, _587=each) for number, each in ((1, group), (2, ROOKIE))]
    region = {1: 10000070, 2: 11000001}
    builds = [
        dataclasses.replace(each, systems=[(*row[:3], region[each.build.number], *row[4:]) for row in each.systems])
        for each in builds
    ]
    load(builds[0])
    torn: list[Any] = []
    stopped = threading.Event()

    def read() -> None:
        while not stopped.is_set():
            with connection():
                catalog.current().look()
                found = queries.killmails([body["killmail_id"] for body in bodies[:20]], items=False)
            regions = {each.solar_system.region.id for each in found if each.solar_system.region is not None}
            ships = {
                each.victim.ship_type.group.id
                for each in found
                if each.victim.ship_type.id == 587 and each.victim.ship_type.group is not None
            }
            if len(regions) != 1 or len(ships) > 1 or (ships and (ships == {ROOKIE}) != (regions == {region[2]})):
                torn.append((regions, ships))

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        for number in range(4):
            with connection():
                store.load(builds[(number + 1) % 2])
    finally:
        stopped.set()
        for reader in readers:
            reader.join()
    assert not torn


def test_killmails_of_the_first_version_are_classified_after_the_migration(
    database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, build: StaticData
) -> None:
    begin_before("002", database_url, tmp_path)
    moment = "'2026-08-18 11:00:00.000000+00:00'"
    with connection():
        for table, values in (
            ("killmail", f"(killmail_id, killmail_hash, killmail_time, solar_system_id, attacker_count) VALUES (1, 'a', {moment}, 30000142, 1)"),
            ("victim", "(killmail_id, character_id, corporation_id, ship_type_id, damage_taken) VALUES (1, 90000001, 98000001, 587, 5)"),
            ("attacker", "(killmail_id, character_id, corporation_id, ship_type_id, damage_done, final_blow) "
                         "VALUES (1, 90000002, 98000001, 587, 5, true)"),
        ):  # fmt: skip
            run(f"INSERT INTO {table} {values}")
    schema.migrate()
    load(build)
    assert reclassification.classify_all() == 1
    with connection():
        row = Killmail.get_by_id(1)
        assert (row.npc, row.solo, row.awox, row.region_id, row.security) == (False, True, True, 10000002, "high")
        assert Involvement.get(Involvement.ship_group_id == FRIGATE).sides == 3
    end()
