"""Migration 022: who took part, and on which side, is the same after it as before, whatever is stored meanwhile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg2
import pytest

from killsync.cli import backup
from killsync.killmails import mapping
from models import Involvement, connection, schema
from models.db import database, is_postgres, transaction
from models.fields import to_text
from models.killmails import INVOLVED, InvolvementRow
from models.sql import add_rows, insert_rows, rows, run
from tests.integration.test_involved_migration import CATALOG, MOMENT, body_of
from tests.support.earlier_version import as_another, begin_before, enter_killmail
from tests.support.process import begin, end, settings_for
from tests.support.resources import postgres_database


def involvement_of(number: int) -> list[Any]:
    """The rows of a killmail in the old table."""
    body = body_of(number)
    return mapping.involvement_rows(mapping.involved(body["victim"], body["attackers"], CATALOG), MOMENT, number)


def enter(number: int) -> None:
    """Store a killmail, as far as it matters here, as the version before does."""
    enter_killmail(number, MOMENT, 1)
    add_rows("involved", InvolvementRow._fields, involvement_of(number), without_texts=True)


def involvement() -> list[tuple[Any, ...]]:
    found = Involvement.select().tuples()
    return sorted(((*row[:5], to_text(row[5]), *row[6:]) for row in found), key=repr)


def expected(*numbers: int) -> list[tuple[Any, ...]]:
    return sorted((tuple(row) for number in numbers for row in involvement_of(number)), key=repr)


def test_the_sides_are_the_same_as_before_and_stand_in_tables_of_their_own(database_url: str, tmp_path: Path) -> None:
    begin_before("022", database_url, tmp_path)
    with connection(), transaction():
        for number in range(1, 60):
            enter(number)
        before = involvement()
    assert before == expected(*range(1, 60)) and {row[-1] for row in before} == {1, 2, 3}
    assert schema.migrate() == ["022_sides"]
    with connection():
        schema.check()
        assert involvement() == before
        for sides, table in INVOLVED.items():
            assert table.select().count() == sum(row[-1] == sides for row in before) > 0
    end()


def test_what_is_stored_and_classified_meanwhile_is_not_lost_and_a_table_in_use_is_asked_for_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(schema, "LOCK_TIMEOUT", "300ms")
    with postgres_database() as url:
        begin_before("022", url, tmp_path)
        with connection(), transaction():
            for number in (10, 20, 30):
                enter(number)
            ship_group = rows(
                "SELECT ship_group_id FROM involved WHERE killmail_id = 20 AND ship_group_id IS NOT NULL"
            )[0]
        others, reader = psycopg2.connect(url), psycopg2.connect(url)
        execute = database.obj.execute_sql
        done: list[str] = []

        def beside(sql: str, *more: Any) -> Any:
            if sql.startswith("CREATE INDEX involved_attacker_killmail") and not done:
                work_beside()
                reader.cursor().execute("SELECT count(*) FROM involved")  # a transaction that is left open
                done.append("stored")
            if sql.startswith("ROLLBACK TO"):
                reader.rollback()
                done.append("waited")
            return execute(sql, *more)

        def work_beside() -> None:
            """A worker stores one killmail with a lower id, one with a higher, and finds another group for a ship."""
            with as_another(others, monkeypatch):
                for number in (5, 50):
                    enter(number)
                run("UPDATE killmail SET classified_by = 2 WHERE killmail_id = 20")
                run("UPDATE involved SET ship_group_id = 99 WHERE killmail_id = 20 AND ship_group_id = %s", ship_group)

        monkeypatch.setattr(database.obj, "execute_sql", beside)
        assert schema.migrate() == ["022_sides"]
        monkeypatch.undo()
        assert done == ["stored", "waited"]
        with connection():
            found = [
                (*row[:4], ship_group[0] if row[4] == 99 else row[4], *row[5:])
                for row in involvement()
            ]  # fmt: skip
            assert sorted(found, key=repr) == expected(5, 10, 20, 30, 50)
            assert [row.killmail_id for row in Involvement.select().where(Involvement.ship_group_id == 99)] == [20]
        others.close()
        reader.close()
        end()


def test_processes_of_the_version_before_store_until_they_are_restarted(settings: Any) -> None:
    if not is_postgres():
        pytest.skip("a file of SQLite is used by one installation")
    with connection():
        with transaction():
            for number in range(1, 30):
                enter(number)
        assert involvement() == expected(*range(1, 30))
        sides = {sides: table.select().count() for sides, table in INVOLVED.items()}
        assert sides == {each: sum(row[-1] == each for row in expected(*range(1, 30))) for each in sides}


def test_a_backup_of_the_version_before_comes_back_over_this_one(tmp_path: Path) -> None:
    with postgres_database() as url:
        begin_before("022", url, tmp_path)
        with connection(), transaction():
            for number in range(1, 9):
                enter(number)
        backup.write(settings_for(url), tmp_path / "before.dump")
        schema.migrate()
        end()
        backup._restore(settings_for(url), tmp_path / "before.dump")
        begin(settings_for(url))
        with connection():
            schema.check()
            assert involvement() == expected(*range(1, 9))
            enter(9)
            assert involvement() == expected(*range(1, 10))
        end()


def test_items_that_are_stored_stay_where_they_are(database_url: str, tmp_path: Path) -> None:
    begin_before("022", database_url, tmp_path)
    columns = ("id", "killmail_id", "item_type_id", "flag", "quantity_dropped", "singleton")
    with connection(), transaction():
        enter(7)
        insert_rows("killmail_item", columns, [(3, 7, 587, 5, 2, 0), (4, 7, 588, 27, 1, 0)])
    schema.migrate()
    with connection():
        assert rows(f"SELECT {', '.join(columns)} FROM killmail_item ORDER BY id") == [
            (3, 7, 587, 5, 2, 0),
            (4, 7, 588, 27, 1, 0),
        ]
    end()


def test_no_column_of_a_new_table_of_items_leaves_a_gap(settings: Any) -> None:
    if not is_postgres():
        pytest.skip("SQLite aligns nothing")
    with connection():
        widths = rows(
            "SELECT attlen FROM pg_attribute WHERE attrelid = 'killmail_item'::regclass AND attnum > 0 ORDER BY attnum"
        )
        assert [width for (width,) in widths] == [8] * 6 + [4] * 2
        assert rows("SELECT pg_get_serial_sequence('killmail_item', 'id') IS NOT NULL") == [(True,)]
