"""Migrating a database that is in use, and what processes do on a schema that is not theirs."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from typer.testing import CliRunner

from killsync.killmails import filter_forms
from models import WebSession, connection, schema, utcnow
from models.db import database
from models.sql import rows, run, sql_now
from tests.support.deployment import wait_until
from tests.support.earlier_version import begin_before
from tests.support.player import Player
from tests.support.process import begin, end, settings_for
from tests.support.resources import PROJECT, postgres_database
from tests.system.test_start import PROCESSES, RUNS_ON
from tests.system.test_start import run as run_process

#: What the next version could bring: a column on the fullest table, an index, a table.
NEXT = """
def migrate(migrator, database, **kwargs):
    migrator.sql("ALTER TABLE killmail ADD COLUMN note TEXT")
    migrator.sql("CREATE INDEX killmail_ref_hash ON killmail_ref (killmail_hash)")
    migrator.sql("CREATE TABLE later (id BIGINT PRIMARY KEY)")
"""

#: One row of each table as the first version wrote it.
OLD_ROWS = {
    '"user"': "(character_id, character_name, refresh_token) VALUES (90000001, 'Old Pilot', 'gAAAAAold')",
    "killmail_ref": "(killmail_id, killmail_hash, state, attempts) VALUES (1, 'abc', 'fetched', 1), (2, 'def', 'pending', 0)",
    "user_killmail": "(user_id, killmail_id) VALUES (1, 1), (1, 2)",
    "killmail": "(killmail_id, killmail_hash, killmail_time, solar_system_id, attacker_count) "
    "VALUES (1, 'abc', '2026-08-18 11:00:00+00:00', 30000142, 1)",
    "victim": "(killmail_id, character_id, ship_type_id, damage_taken) VALUES (1, 90000001, 587, 5000000000)",
    "attacker": "(killmail_id, character_id, damage_done, final_blow) VALUES (1, 90000002, 5000000000, true)",
    "killmail_item": "(killmail_id, item_type_id, flag, quantity_dropped, singleton) VALUES (1, 34, 5, 6000000000, 0)",
    '"character"': "(character_id, name) VALUES (90000001, 'Old Pilot'), (90000002, NULL)",
    "sync_run": "(user_id, found, saved) VALUES (1, 2, 1)",
}


@pytest.fixture
def next_version(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Makes this process's code a version that has one migration more."""
    folder = tmp_path / "migrations"
    shutil.copytree(PROJECT / "migrations", folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "998_next.py").write_text(NEXT)
    monkeypatch.setattr(schema, "migrations_folder", lambda: folder)
    return folder


def test_a_filled_database_of_the_first_version_comes_forward_whole(
    database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    begin_before("002", database_url, tmp_path)
    with connection():
        for table, values in OLD_ROWS.items():
            run(f"INSERT INTO {table} {values}")
        columns = {
            table: ", ".join(column.name for column in database.get_columns(table.strip('"'))) for table in OLD_ROWS
        }
        before = {table: rows(f"SELECT {columns[table]} FROM {table} ORDER BY 1") for table in OLD_ROWS}
    schema.migrate()
    with connection():
        schema.check()
        assert {table: rows(f"SELECT {columns[table]} FROM {table} ORDER BY 1") for table in OLD_ROWS} == before
    end()


def test_what_the_version_before_writes_is_taken_after_migration_006(settings: Any) -> None:
    now = "'2026-08-18 11:00:00.000000+00:00'"
    with connection():
        run(f"INSERT INTO account (created_at) VALUES ({now})")
        run(
            "INSERT INTO web_session (id_hash, account_id, created_at, last_seen_at, expires_at) "
            f"VALUES ('before', 1, {now}, {now}, {now})"
        )
        run("INSERT INTO mail_list (user_id, kind, subject_id, next_page) VALUES (1, 'character', 90000001, 1)")
        WebSession.create(id_hash="now", account_id=1, expires_at=utcnow())
        assert rows("SELECT id_hash, last_seen_at IS NULL FROM web_session ORDER BY 1") in (
            [("before", False), ("now", True)],
            [("before", 0), ("now", 1)],
        )


async def test_migrating_while_workers_run_stops_none_of_them(deployment: Any, next_version: Path) -> None:
    place = deployment({"kills": (300,), "latency": 0.2, "limits": False})
    place.start_web()
    place.start_worker(threads=6)
    async with Player(place.url) as player:
        await player.log_in(place.simulated.simulator.universe.demo_characters[0].character_id)
    wait_until(lambda: place.sql("SELECT count(*) FROM killmail")[0][0] >= 10, "details flow")
    begin(settings_for(place.settings["DATABASE_URL"]), migrated=False)
    assert schema.migrate() == ["998_next"]
    assert place.sql("SELECT count(*) FROM killmail")[0][0] < 300, "it was migrated while killmails were stored"
    wait_until(lambda: place.sql("SELECT count(*) FROM killmail")[0][0] >= 300, "all is stored", 90)
    assert all(process.poll() is None for process in place.processes.values())
    assert place.sql("SELECT count(*) FROM killmail_ref WHERE state <> 'fetched'") == [(0,)]
    assert "Traceback" not in place.logs()
    end()


def test_a_migration_that_deadlocks_with_a_worker_is_begun_anew(next_version: Path) -> None:
    later = next_version / "998_next.py"
    later.unlink()
    with postgres_database() as url:
        begin(settings_for(url))
        later.write_text(
            "def migrate(migrator, database, fake=False, **kwargs):\n"
            "    for step in ('LOCK TABLE account', 'LOCK TABLE webhook', 'CREATE TABLE later (id BIGINT)'):\n"
            "        migrator.sql(step)\n"
        )
        worker, watching = psycopg2.connect(url), psycopg2.connect(url)
        watching.autocommit = True
        look = watching.cursor()
        worker.cursor().execute("LOCK TABLE webhook")

        def migration_waits() -> bool:
            look.execute("SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'webhook'::regclass")
            return look.fetchone() is not None

        def work() -> None:
            wait_until(migration_waits, "the migration waits for the worker", 30)
            # PostgreSQL breaks off who has waited for a second first: the migration.
            worker.cursor().execute("LOCK TABLE account")
            worker.rollback()

        with ThreadPoolExecutor(1) as together:
            working = together.submit(work)
            assert schema.migrate() == ["998_next"]
            working.result()
        with connection():
            assert database.table_exists("later")
        worker.close()
        watching.close()
        end()


def test_a_table_that_is_in_use_for_long_is_not_waited_for_and_nothing_is_changed(
    monkeypatch: pytest.MonkeyPatch, next_version: Path, tmp_path: Path
) -> None:
    from killsync.cli.main import app

    monkeypatch.setattr(schema, "LOCK_TIMEOUT", "500ms")
    monkeypatch.setattr(
        "killsync.cli.migrate.setup_logging", lambda settings: None
    )  # it would log into the runner's output, which ends with it
    monkeypatch.chdir(tmp_path)
    with postgres_database() as url:
        begin(settings_for(url), migrated=False)
        (next_version / "998_next.py").rename(tmp_path / "later.py")
        assert CliRunner().invoke(app, ["migrate"]).exit_code == 0
        (tmp_path / "later.py").rename(next_version / "998_next.py")
        holder = psycopg2.connect(url)
        holder.cursor().execute("SELECT count(*) FROM killmail")  # a transaction that is left open
        done = CliRunner().invoke(app, ["migrate"])
        assert (done.exit_code, "a table is in use and nothing was changed" in done.stderr) == (1, True), done.output
        holder.close()
        with connection():
            assert not database.table_exists("later")
        assert "998_next" in CliRunner().invoke(app, ["migrate"]).output
        end()


def test_every_process_refuses_a_schema_that_is_not_its_own(tmp_path: Path) -> None:
    with postgres_database() as url:
        values = {**RUNS_ON, "DATABASE_URL": url}
        run_process(["killsync", "migrate"], tmp_path, **values)
        changed = psycopg2.connect(url)
        changed.autocommit = True
        changed.cursor().execute("INSERT INTO migratehistory (name, migrated_at) VALUES ('999_later', now())")
        changed.close()
        commands = (*PROCESSES.values(), ["killsync", "status"], ["killsync", "queue", "user-killmails"])
        with ThreadPoolExecutor() as together:
            for done in together.map(lambda command: run_process(command, tmp_path, **values), commands):
                assert done.returncode == 2 and "newer than this code" in done.stderr, done.stderr
                assert "Traceback" not in done.stderr


def test_the_events_become_the_log_and_no_reader_loses_its_place(
    database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Killmail 3 was seen to be missing and is read late; 5 and 6 came after the place. 1 and 2 are from before all events."""
    from killsync.events import store as killmail_log

    begin_before("011", database_url, tmp_path)
    old, young = "'2026-08-18 11:00:00.000000+00:00'", "'2999-08-18 11:00:00.000000+00:00'"
    with connection():
        for number in (2, 1, 6, 5, 4, 3):
            run(
                "INSERT INTO killmail (killmail_id, killmail_hash, killmail_time, solar_system_id, attacker_count, created_at) "
                f"VALUES (%s, 'abc', {old}, 30000142, 1, {old if number < 4 else young})", (number,),
            )  # fmt: skip
        events = [
            ("killmail", 4),
            ("sync", 9),
            ("killmail", 3),
            ("sync", 9),
            ("killmail", 5),
            ("sync", 9),
            ("killmail", 6),
        ]
        for kind, subject in events:
            run("INSERT INTO event (kind, subject_id, created_at) VALUES (%s, %s, " + old + ")", (kind, subject))
        run("INSERT INTO event_reader (name, last_id, read_id) VALUES ('webhooks', 2, 4)")
        run("INSERT INTO event_gap (event_id) VALUES (3)")
    schema.migrate()
    with connection():
        schema.check()
        assert rows("SELECT killmail_id, sequence FROM killmail ORDER BY sequence") == [
            (1, 1), (2, 2), (4, 3), (3, 4), (5, 5), (6, 6)
        ]  # fmt: skip
        assert [entry[:2] for entry in killmail_log.after(0, 10)] == [(3, 4), (4, 3), (5, 5), (6, 6)]
        assert killmail_log.span() == (3, 6)
        assert rows("SELECT name, sequence FROM log_reader") == [("webhooks", 3)], "from the one that was missing on"
        killmail_log.append([1])
        assert killmail_log.newest() == 7
    end()


def test_upgrade_backs_up_migrates_and_says_what_to_restart(
    database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    begin_before("002", database_url, tmp_path)
    end()
    values = {**RUNS_ON, "DATABASE_URL": database_url}
    looked = run_process(["killsync", "upgrade", "--check"], tmp_path, **values)
    assert looked.returncode == 0 and "to come: 002_polling" in looked.stdout and not (tmp_path / "backups").exists()
    done = run_process(["killsync", "upgrade"], tmp_path, **values)
    assert done.returncode == 0, done.stderr
    assert "Backup written: backups/before-" in done.stdout and "Migrated: 002_polling" in done.stdout
    assert "systemctl restart" in done.stdout
    (backup,) = (tmp_path / "backups").iterdir()
    assert backup.stat().st_mode & 0o777 == 0o600
    restored = run_process(["killsync", "restore", str(backup)], tmp_path, **values)
    assert restored.returncode == 0, restored.stderr
    assert "to come: 002_polling" in run_process(["killsync", "upgrade", "--check"], tmp_path, **values).stdout


def test_upgrade_changes_nothing_where_no_backup_can_be_written(tmp_path: Path) -> None:
    with postgres_database() as url:
        begin(settings_for(url))
        with connection():
            run("DELETE FROM migratehistory WHERE name <> '001_initial'")
        end()
        file = tmp_path / "there"
        file.touch()
        values = {**RUNS_ON, "DATABASE_URL": url}
        done = run_process(["killsync", "upgrade", "--backup", str(file)], tmp_path, **values)
    assert done.returncode == 1 and "nothing was changed" in done.stderr and "Migrated" not in done.stdout


def test_webhooks_become_trackers_and_what_waits_keeps_its_place(
    database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    begin_before("016", database_url, tmp_path)
    wants = '{"mine":false,"side":"losses","corporation_id":98000001,"ship_type_ids":[587],"min_attackers":1,"max_age":3600}'
    with connection():
        run(f"INSERT INTO account (created_at) VALUES ({sql_now()})")
        for name in ("one", "two"):
            run(
                "INSERT INTO webhook (account_id, name, kind, url, url_hint, wants, delivered) "
                "VALUES ((SELECT max(id) FROM account), %s, 'json', 'x', 'x', %s, 5)", (name, wants),
            )  # fmt: skip
        first, second = (number for (number,) in rows("SELECT id FROM webhook ORDER BY id"))
        for webhook_id, killmail_id in ((second, 7), (first, 7), (first, 9), (second, 3)):
            run("INSERT INTO webhook_delivery (webhook_id, killmail_id) VALUES (%s, %s)", (webhook_id, killmail_id))
        run("DELETE FROM webhook_delivery WHERE killmail_id = 3")
        waiting = rows("SELECT id, webhook_id, killmail_id FROM webhook_delivery ORDER BY id")
        highest = waiting[-1][0] + 1
    schema.migrate()
    with connection():
        assert rows("SELECT id, webhook_id, killmail_id FROM webhook_delivery ORDER BY id") == waiting
        assert rows("SELECT count(*) FROM webhook_delivery d JOIN tracker t ON t.id = d.tracker_id "
                    "WHERE t.webhook_id = d.webhook_id") == [(3,)]  # fmt: skip
        assert rows("SELECT name, delivered, status FROM tracker ORDER BY id") == [
            ("one", 5, "active"),
            ("two", 5, "active"),
        ]
        read = filter_forms.from_json(rows("SELECT wants FROM tracker ORDER BY id")[0][0])
        assert (read.corporation_id, read.victim.ship_type_ids, read.max_age) == (98000001, (587,), 3600)
        run("INSERT INTO webhook_delivery (webhook_id, tracker_id, killmail_id) SELECT webhook_id, id, 11 FROM tracker")
        newest = [number for (number,) in rows("SELECT id FROM webhook_delivery WHERE killmail_id = 11")]
        assert min(newest) > highest, "no id is given twice"
    end()
