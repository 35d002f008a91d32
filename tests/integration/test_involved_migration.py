"""Migration 021: who took part in what is stored is the same after it as before, whatever is stored meanwhile."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from killsync.killmails import mapping
from killsync.static_data.catalog import Catalog
from models import Involvement, connection, schema
from models.db import database, is_postgres, transaction
from models.fields import to_text
from models.killmails import OF_KIND, AttackerRow
from models.sql import add_rows, insert_rows, rows, run
from tests.support.earlier_version import as_another, begin_before, enter_killmail
from tests.support.process import end
from tests.support.resources import postgres_database

GROUPS = {500: 25, 501: 25, 502: 26, 503: 27}
CATALOG = Catalog([(type_id, group_id, None) for type_id, group_id in GROUPS.items()])
MOMENT = "2026-08-18 11:00:00.000000+00:00"
KEY = ("kind", "entity_id", "killmail_time", "killmail_id", "sides")


def body_of(number: int) -> dict[str, Any]:
    """A killmail of few pilots, corporations and ships, so that many are on it twice and on both sides."""
    rng = random.Random(number)

    def party() -> dict[str, Any]:
        chosen = {
            "character_id": 90_000_000 + rng.randrange(8),
            "corporation_id": 98_000_000 + rng.randrange(4),
            "alliance_id": 99_000_000 + rng.randrange(3),
        }
        return {name: entity for name, entity in chosen.items() if rng.random() < 0.8}

    attackers = [party() for _ in range(rng.randrange(1, 9))]
    for attacker in attackers:
        if rng.random() < 0.9:
            # One of the types is of no group.
            attacker["ship_type_id"] = rng.randrange(500, 505)
    return {"victim": {**party(), "ship_type_id": rng.randrange(500, 505)}, "attackers": attackers}


def involvement_of(number: int, *, groups: bool = True) -> list[tuple[Any, ...]]:
    """The rows of the old table."""
    body = body_of(number)
    found = mapping.involved(body["victim"], body["attackers"], CATALOG if groups else Catalog())
    return [(kind, entity, MOMENT, number, sides) for (kind, entity), sides in found.items()]


def enter(number: int, classified_by: int = 1) -> None:
    """Store a killmail as the version before does."""
    body = body_of(number)
    enter_killmail(number, MOMENT, classified_by)
    victim = {"killmail_id": number, "damage_taken": 1, **body["victim"]}
    insert_rows("victim", tuple(victim), [tuple(victim.values())])
    attackers = [{"killmail_id": number, "damage_done": 1, "final_blow": False, **each} for each in body["attackers"]]
    add_rows("attacker", AttackerRow._fields, [tuple(map(each.get, AttackerRow._fields)) for each in attackers])
    add_rows("involvement", KEY, involvement_of(number, groups=classified_by > 0), without_texts=True)


def parties() -> set[tuple[Any, ...]]:
    """Who takes part, as the old table said it."""
    found = [
        (kind, getattr(row, column), to_text(row.killmail_time), row.killmail_id, row.sides)
        for row in Involvement.select()
        for kind, column in OF_KIND.items()
        if getattr(row, column) is not None
    ]
    assert len(found) == len(set(found)), "nobody is there twice"
    return set(found)


def expected(*numbers: int, groups: bool = True) -> set[tuple[Any, ...]]:
    return {row for number in numbers for row in involvement_of(number, groups=groups)}


def version_before(url: str, folder: Path) -> None:
    """Make this process's database one of the version before, with the types that fly."""
    begin_before("021", url, folder)
    with connection():
        insert_rows("item_type", ("type_id", "group_id"), [*GROUPS.items(), (504, None)])


def test_who_took_part_is_the_same_as_before(
    database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    version_before(database_url, tmp_path)
    with connection(), transaction():
        for number in range(1, 60):
            enter(number)
        enter(60, classified_by=0)
    schema.migrate()
    with connection():
        schema.check()
        assert parties() == expected(*range(1, 60)) | expected(60, groups=False)
        for number in range(1, 60):
            body = body_of(number)
            mapped = mapping.involvement_rows(
                mapping.involved(body["victim"], body["attackers"], CATALOG), MOMENT, number
            )
            stored = list(Involvement.select().where(Involvement.killmail_id == number).tuples())
            assert len(stored) == len(mapped), "in as few rows as a killmail that is stored now"
        assert rows("SELECT count(*) FROM killmail") == [(60,)]
    end()


def test_an_empty_database_comes_along(database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    version_before(database_url, tmp_path)
    schema.migrate()
    with connection():
        assert parties() == set()
    end()


def test_what_is_stored_and_classified_meanwhile_is_not_lost_and_a_table_in_use_is_asked_for_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(schema, "LOCK_TIMEOUT", "300ms")
    with postgres_database() as url:
        version_before(url, tmp_path)
        with connection(), transaction():
            for number in (10, 20, 30):
                enter(number)
            enter(40, classified_by=0)
        others, reader = psycopg2.connect(url), psycopg2.connect(url)
        execute = database.obj.execute_sql
        done: list[str] = []

        def beside(sql: str, *more: Any) -> Any:
            if sql.startswith("CREATE INDEX involved_killmail") and not done:
                store_beside(others)
                reader.cursor().execute("SELECT count(*) FROM attacker")  # a transaction that is left open
                done.append("stored")
            if sql.startswith("ROLLBACK TO"):
                reader.rollback()
                done.append("waited")
            return execute(sql, *more)

        def store_beside(server: Any) -> None:
            """A worker stores one killmail with a lower id, one with a higher, and classifies one."""
            with as_another(server, monkeypatch):
                for number in (5, 50):
                    enter(number)
                run("UPDATE killmail SET classified_by = 1 WHERE killmail_id = 40")

        monkeypatch.setattr(database.obj, "execute_sql", beside)
        assert schema.migrate()[0] == "021_involved"
        monkeypatch.undo()
        assert done == ["stored", "waited"]
        with connection():
            assert parties() == expected(5, 10, 20, 30, 40, 50)
        others.close()
        reader.close()
        end()


def test_processes_of_the_version_before_read_and_store_until_they_are_restarted(settings: Any) -> None:
    if not is_postgres():
        pytest.skip("a file of SQLite is used by one installation")
    with connection():
        with transaction():
            insert_rows("item_type", ("type_id", "group_id"), [*GROUPS.items(), (504, None)])
            for number in range(1, 9):
                enter(number)
        assert parties() == expected(*range(1, 9))
        kind, entity, *_ = involvement_of(1)[0]
        read = rows(
            "SELECT killmail_id, sides FROM involvement WHERE kind = %s AND entity_id = %s "
            "ORDER BY killmail_time DESC, killmail_id DESC", (kind, entity),
        )  # fmt: skip
        wanted = {row[3:] for row in expected(*range(1, 9)) if row[:2] == (kind, entity)}
        assert read == sorted(wanted, reverse=True)
