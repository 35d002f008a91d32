"""Migrations and models say the same, and processes refuse a database of another version."""

from __future__ import annotations

from typing import Any

import peewee
import pytest

from killsync.killmails import ledger
from killsync.sync import runs, user_polls
from models import User, connection, schema
from models.db import database, is_postgres
from models.fields import BaseModel
from models.sql import rows, run

#: What is read as a table.
VIEWS = {"involved"}
#: Columns that processes of the version before still write, and that this version leaves empty.
LEFT_FOR_THE_VERSION_BEFORE = {"web_session": {"last_seen_at"}}


def all_models(base: type[BaseModel] = BaseModel) -> list[type[BaseModel]]:
    """Those that stand for a table or a view."""
    found = [each for model in base.__subclasses__() for each in all_models(model) or [model]]
    return sorted(found, key=lambda model: model._meta.table_name)


def test_migrations_make_exactly_the_tables_of_the_models(settings: Any) -> None:
    with connection():
        tables = set(database.get_tables()) - {"migratehistory", "sqlite_sequence"}
        assert tables | VIEWS == {model._meta.table_name for model in all_models()}
        assert {view.name for view in database.get_views()} >= VIEWS
        assert not tables & VIEWS
        for model in all_models():
            table = model._meta.table_name
            made = {column.name: column for column in database.get_columns(table)}
            left = LEFT_FOR_THE_VERSION_BEFORE.get(table, set())
            assert set(made) == {field.column_name for field in model._meta.sorted_fields} | left, table
            assert all(made[name].null for name in left), table
            keys = set(database.get_primary_keys(table))
            for field in model._meta.sorted_fields:
                column = made[field.column_name]
                # Every column of a view may be empty.
                assert column.null == field.null or field.column_name in keys or table in VIEWS, (table, field.name)


def test_every_index_of_the_models_exists(settings: Any) -> None:
    with connection():
        for model in all_models():
            table = model._meta.table_name
            indexed = {tuple(index.columns) for index in database.get_indexes(table)}
            indexed.add(tuple(database.get_primary_keys(table)))
            for field in model._meta.sorted_fields:
                if field.index or field.unique:
                    assert any(columns[:1] == (field.column_name,) for columns in indexed), (table, field.name)


def test_a_row_entered_by_hand_needs_only_what_it_is_about(settings: Any) -> None:
    with connection():
        run("INSERT INTO \"user\" (character_id, character_name) VALUES (1, 'Hand Made')")
        run("INSERT INTO killmail_ref (killmail_id, killmail_hash) VALUES (5, 'abc')")
        run('INSERT INTO sync_run (user_id) SELECT id FROM "user"')
        assert [user.user_id for user in user_polls.claim_due_users(10, 60)] == [User.get().id]
        assert ledger.claim(10, backlog=True) == [5]
        assert runs.open_run(User.get().id) == 1, "the run that was entered is the open one"


def test_ids_are_64_bit(settings: Any) -> None:
    if not is_postgres():
        pytest.skip("SQLite's integers are all 64-bit")
    with connection():
        narrow = rows(
            "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public' "
            "AND data_type = 'integer' AND (column_name = 'id' OR column_name LIKE '%%\\_id' OR column_name LIKE 'quantity%%' "
            "OR column_name LIKE 'damage%%') AND table_name <> 'migratehistory'"
        )
    assert narrow == []


def test_migrating_again_changes_nothing(settings: Any) -> None:
    assert schema.migrate() == []
    with connection():
        schema.check()


def test_an_older_and_a_newer_schema_are_refused_with_what_to_do(settings: Any) -> None:
    with connection():
        run("INSERT INTO migratehistory (name, migrated_at) VALUES ('999_later', '2030-01-01 00:00:00')")
        with pytest.raises(schema.SchemaError, match="newer"):
            schema.check()
        run("DELETE FROM migratehistory")
        with pytest.raises(schema.SchemaError, match="killsync migrate"):
            schema.check()


def test_a_killmail_is_stored_whole_or_not_at_all(settings: Any, simulated: Any) -> None:
    from killsync.killmails import ledger
    from killsync.killmails.store import save_killmail
    from models.db import in_transaction

    universe = simulated(kills=(3,)).simulator.universe
    kill = next(iter(universe.kills.values()))
    body = universe.body(kill.killmail_id)
    broken = {**body, "attackers": [*body["attackers"], {**body["attackers"][0], "damage_done": 2**70}]}
    with connection():
        ledger.add_submitted(kill.killmail_id, kill.killmail_hash)
        with pytest.raises((peewee.DatabaseError, OverflowError, peewee.DataError)):
            save_killmail(broken, kill.killmail_hash)
        for table in ("killmail", "victim", "attacker", "killmail_item", "involved", "killmail_log"):
            assert rows(f"SELECT count(*) FROM {table}")[0][0] == 0, table
        assert rows("SELECT state FROM killmail_ref") == [("pending",)]
        assert save_killmail(body, kill.killmail_hash).is_new
        assert not save_killmail(body, kill.killmail_hash).is_new
        assert rows("SELECT count(*) FROM killmail") == [(1,)]
        assert rows("SELECT count(*) FROM killmail_log") == [(1,)]
        in_transaction(lambda: None)


def test_a_disk_without_room_is_waited_for_like_a_database_that_is_away(settings: Any) -> None:
    from models.db import in_transaction, transaction
    from models.errors import is_away

    if is_postgres():
        pytest.skip("PostgreSQL is filled up by `make chaos`; SQLite can be told to be full")

    def fill() -> None:
        run("INSERT INTO sync_run (user_id, error) VALUES (1, %s)", ("x" * 1_000_000,))

    with connection():
        with transaction():  # of the connection that writes
            (pages,) = rows("PRAGMA page_count")[0]
            rows(f"PRAGMA max_page_count = {pages + 10}")
        with pytest.raises(peewee.OperationalError) as raised, transaction():
            fill()
        assert is_away(raised.value), raised.value
        in_transaction(fill)  # on a new connection, which has room
        assert rows("SELECT count(*) FROM sync_run") == [(1,)]
