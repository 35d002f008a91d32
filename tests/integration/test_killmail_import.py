"""Killmails of files are stored as those of ESI are, once, and nobody hears of them; what is exported is what was imported."""

from __future__ import annotations

import itertools
import json
import os
import signal
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import peewee
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as budget
from hypothesis import strategies as st
from typer.testing import CliRunner

from killsync.bulk import store
from killsync.bulk.checks import skip_foreign_keys
from killsync.bulk.documents import checked, read
from killsync.bulk.exporting import export_file
from killsync.bulk.importing import Report, import_paths
from killsync.bulk.workers import ImportFailed
from killsync.events import store as killmail_log
from killsync.killmails import ledger, queries
from killsync.killmails.filter import KillmailFilter
from killsync.killmails.store import known_ids, save_killmail
from killsync.settings import Settings
from models import Attacker, Involvement, Killmail, KillmailItem, Victim, connection
from models.db import transaction
from models.killmail_log import KillmailLog
from models.killmails import FETCHED, INVOLVED, KillmailBody, KillmailRef
from models.names import Character
from models.sql import rows
from simulator import catalog as simulated
from tests.support import static_data
from tests.support.killmail_files import day, everef, hash_of, killmail, tar
from tests.unit.test_mapping import bodies

OUTER = ("killmail_hash", "http_last_modified")


def run(settings: Settings, *paths: Path, **options: Any) -> Report:
    """An import in this process."""
    return import_paths(settings, paths, processes=0, **options)


def figures(report: Report) -> tuple[int, int, int, int, int]:
    return report.new, report.known, report.other_hash.count, report.no_hash.count, report.broken.count


def stored() -> list[list[tuple[Any, ...]]]:
    """Everything that the tables of killmails hold, without the moments and the ids that no two stores share."""
    with connection():
        parents = {row.id: (row.killmail_id, row.item_type_id) for row in KillmailItem.select()}
        items = [
            (each.killmail_id, parents.get(each.parent_id), each.item_type_id, each.flag, each.quantity_dropped,
             each.quantity_destroyed, each.singleton)
            for each in KillmailItem.select().order_by(KillmailItem.killmail_id, KillmailItem.id)
        ]  # fmt: skip
        tables: Sequence[Any] = (Killmail, Victim, Attacker, Involvement, KillmailBody)
        found = []
        for table in tables:
            left_out = {"id", "created_at", "sequence", "attempts"}
            columns = [field for name, field in table._meta.fields.items() if name not in left_out]
            order = (table.killmail_id, table.id) if table is Attacker else (table.killmail_id, *columns)
            found.append(list(table.select(*columns).order_by(*order).tuples()))
        return [*found, items]


def test_an_archive_is_stored_as_esi_s_answers_are(settings: Settings, tmp_path: Path) -> None:
    static_data.load()
    ship, system = next(iter(simulated.TYPES)), next(iter(simulated.SYSTEMS))
    files = {}
    for number in range(1, 9):
        more: dict[str, Any] = {"solar_system_id": system, "war_id": 5} if number % 2 else {"new_field": "x"}
        body = json.loads(everef(number, **more))
        body["victim"]["ship_type_id"] = ship
        files[f"{number}.json"] = json.dumps(body).encode()
    archive = tar(tmp_path / "day.tar.bz2", files)
    for name, text in files.items():
        document = read(text, name)
        with connection():
            ledger.add_submitted(document.killmail_id, str(document.killmail_hash))
            save_killmail(checked(document), str(document.killmail_hash))
    expected = stored()
    assert len(expected[0]) == 8 and len(expected[4]) == 4
    with connection():
        for table in (Killmail, KillmailRef, KillmailLog):
            table.delete().execute()
    if not settings.uses_postgres:
        with connection():
            for part in (Victim, Attacker, KillmailItem, KillmailBody):
                part.delete().execute()
    with connection():
        for part in INVOLVED.values():
            part.delete().execute()
    report = run(settings, archive)
    assert figures(report) == (8, 0, 0, 0, 0)
    assert report.done == report.total > 0
    assert stored() == expected


def test_a_second_import_finds_nothing_to_do_and_nobody_hears_of_either(settings: Settings, tmp_path: Path) -> None:
    archive = day(tmp_path / "day.tar.bz2", range(1, 31))
    assert figures(run(settings, archive)) == (30, 0, 0, 0, 0)
    before = stored()
    assert figures(run(settings, archive, archive)) == (0, 60, 0, 0, 0)
    assert stored() == before
    with connection():
        assert killmail_log.newest() == 0 and KillmailLog.select().count() == 0
        assert {ref.state for ref in KillmailRef.select()} == {FETCHED}
        assert queries.killmails([7])[0].sequence == 0
        # Their names are wanted like those of all others.
        assert Character.select().where(Character.name.is_null()).count() == 2


def test_with_announce_they_are_in_the_log_without_gaps(settings: Settings, tmp_path: Path) -> None:
    assert run(settings, day(tmp_path / "a.tar.bz2", range(1, 6)), announce=True).new == 5
    run(settings, day(tmp_path / "b.tar.bz2", range(4, 9)))
    assert run(settings, day(tmp_path / "c.tar.bz2", range(4, 11)), announce=True).new == 2
    with connection():
        assert [each.sequence for each in killmail_log.after(0, 100)] == list(range(1, 8))
        assert [each.killmail_id for each in killmail_log.after(5, 100)] == [9, 10]


def test_what_has_no_hash_is_left_for_esi(settings: Settings, tmp_path: Path) -> None:
    named = tmp_path / f"1-{hash_of(1)}.json"
    named.write_text(json.dumps(killmail(1)))
    (tmp_path / "2.json").write_text(json.dumps(killmail(2)))
    report = run(settings, tmp_path)
    assert figures(report) == (1, 0, 0, 1, 0)
    assert report.no_hash.first == [(str(tmp_path / "2.json"), "")]
    with connection():
        assert [(ref.killmail_id, ref.killmail_hash) for ref in KillmailRef.select()] == [(1, hash_of(1))]
        # A list names it: it is fetched like any other, and not asked for again.
        ledger.record_page(1, None, [(1, hash_of(1)), (2, hash_of(2))], ledger.BACKLOG)
        assert [ref.killmail_id for ref in ledger.pending([1, 2])] == [2]


def test_what_a_list_said_counts_more_than_a_file(settings: Settings, tmp_path: Path) -> None:
    with connection():
        ledger.record_page(1, None, [(1, hash_of(1)), (2, "f" * 40)], ledger.BACKLOG)
    report = run(settings, day(tmp_path / "day.tar.bz2", range(1, 4)))
    # The first was listed with the same hash: ESI need not be asked for it.
    assert figures(report) == (2, 0, 1, 0, 0)
    assert report.other_hash.first[0][0].endswith("killmails/2.json")
    with connection():
        assert [(ref.killmail_id, ref.killmail_hash) for ref in ledger.pending([1, 2, 3])] == [(2, "f" * 40)]
        assert queries.killmail(2) is None
        # And what is stored is not replaced.
        other = tmp_path / f"1-{'e' * 40}.json"
        other.write_text(json.dumps(killmail(1)))
    assert figures(run(settings, other)) == (0, 0, 1, 0, 0)
    with connection():
        found = queries.killmail(1)
        assert found is not None and found.killmail_hash == hash_of(1)


def test_broken_members_are_named_and_all_others_are_in(settings: Settings, tmp_path: Path) -> None:
    members = {f"{number}.json": everef(number) for number in range(1, 21)}
    members["3.json"] = b"\x00junk"
    members["5.json"] = everef(5)[:-30]
    members["7.json"] = everef(7, solar_system_id=2**63)
    members["9.json"] = json.dumps([1, 2]).encode()
    # The database cannot take these; the others of the batch are stored all the same.
    too_wide = json.loads(everef(11))
    too_wide["victim"]["items"][1]["quantity_destroyed"] = 2**63 - 1
    too_wide["victim"]["items"][1]["flag"] = 2**40
    members["11.json"] = json.dumps(too_wide).encode()
    members["12.json"] = everef(12, killmail_time="9999-12-31T23:59:59-14:00")
    members["twice.json"] = everef(1)
    report = run(settings, tar(tmp_path / "day.tar.gz", members, "w:gz"))
    names = {name.rpartition("/")[2].partition(": ")[2] for name, _ in report.broken.first}
    expected = {"3.json", "5.json", "7.json", "9.json, entry 1", "9.json, entry 2", "12.json"}
    if settings.uses_postgres:  # SQLite stores any whole number
        expected.add("11.json")
    assert names == expected
    assert (report.new, report.known) == (14 if settings.uses_postgres else 15, 1)
    with connection():
        assert Killmail.select().count() == report.new == KillmailRef.select().count()


def test_a_save_that_fails_leaves_nothing_of_it(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = day(tmp_path / "day.tar.bz2", range(1, 11))

    def fail(batch: Any) -> None:
        raise peewee.OperationalError("server closed the connection unexpectedly")

    with monkeypatch.context() as patched, pytest.raises(peewee.OperationalError):
        patched.setattr(store, "add_parts", fail)
        run(settings, archive)
    with connection():
        assert not Killmail.select().exists() and not KillmailRef.select().exists()
    assert run(settings, archive).new == 10


def test_one_that_cannot_be_stored_costs_the_others_few_transactions(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[int] = []
    add_parts = store.add_parts

    def refuse(batch: list[Any]) -> None:
        saved.append(len(batch))
        if any(each.killmail_id == 77 for each in batch):
            raise peewee.DataError("value out of range")
        add_parts(batch)

    monkeypatch.setattr(store, "add_parts", refuse)
    report = run(settings, day(tmp_path / "day.tar.bz2", range(1, 129)))
    assert figures(report) == (127, 0, 0, 0, 1)
    assert saved[0] == 128 and len(saved) == 15
    with connection():
        assert Killmail.select().count() == 127 and ledger.pending([77]) == []


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_foreign_keys_are_skipped_in_transactions_of_an_import_alone(settings: Settings) -> None:
    def role() -> str:
        return str(rows("SHOW session_replication_role")[0][0])

    with connection():
        with transaction():
            skip_foreign_keys()
            assert role() == "replica"
        assert role() == "origin"


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_a_role_that_may_not_skip_foreign_keys_imports_all_the_same(settings: Settings, tmp_path: Path) -> None:
    name = f"plain_{os.getpid()}"
    with connection():
        rows(f"CREATE ROLE {name}")
        try:
            rows(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {name}")
            rows(f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {name}")
            rows(f"SET ROLE {name}")
            assert run(settings, day(tmp_path / "day.tar.bz2", range(1, 11))).new == 10
            assert rows("SHOW session_replication_role") == [("origin",)]
        finally:
            rows("RESET ROLE")
            rows(f"DROP OWNED BY {name}")
            rows(f"DROP ROLE {name}")


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_an_operator_s_own_trigger_sees_what_is_imported(settings: Settings, tmp_path: Path) -> None:
    with connection():
        rows("CREATE TABLE seen (killmail_id BIGINT)")
        rows("CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS "
             "$$ BEGIN INSERT INTO seen VALUES (NEW.killmail_id); RETURN NEW; END $$")  # fmt: skip
        rows("CREATE TRIGGER see AFTER INSERT ON victim FOR EACH ROW EXECUTE FUNCTION see()")
    assert run(settings, day(tmp_path / "day.tar.bz2", range(1, 11))).new == 10
    with connection():
        assert sorted(rows("SELECT killmail_id FROM seen")) == [(number,) for number in range(1, 11)]


def test_an_import_that_is_stopped_goes_on_where_it_was(settings: Settings, tmp_path: Path) -> None:
    archive = day(tmp_path / "day.tar.bz2", range(1, 41))
    asked = itertools.count()
    first = run(settings, archive, is_stopped=lambda: next(asked) >= 14)
    assert first.was_stopped and figures(first) == (15, 0, 0, 0, 0)
    second = run(settings, archive)
    assert not second.was_stopped and figures(second) == (25, 15, 0, 0, 0)


def test_imports_at_the_same_time_store_each_killmail_once(settings: Settings, tmp_path: Path) -> None:
    archive = day(tmp_path / "day.tar.bz2", range(1, 101))
    reports: list[Report] = []
    threads = [threading.Thread(target=lambda: reports.append(run(settings, archive, announce=True))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(report.new for report in reports) == 100
    assert sum(report.known for report in reports) == 200
    with connection():
        assert Killmail.select().count() == Victim.select().count() == killmail_log.newest() == 100
        assert Attacker.select().count() == 200 and KillmailItem.select().count() == 300


exportable = st.lists(bodies, min_size=1, max_size=6, unique_by=lambda body: body["killmail_id"])


@budget(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    given_bodies=exportable,
    name=st.sampled_from(["a.jsonl", "a.jsonl.gz", "a.jsonl.bz2", "a.tar.bz2", "a.tar.gz", "a.zip"]),
)
def test_what_is_exported_and_imported_is_the_same(
    given_bodies: list[dict[str, Any]], name: str, settings: Settings, tmp_path: Path
) -> None:
    _empty()
    source, first, again = tmp_path / "given.jsonl", tmp_path / name, tmp_path / f"again-{name}"
    lines = [json.dumps({**body, "killmail_hash": hash_of(body["killmail_id"])}) for body in given_bodies]
    source.write_text("\n".join(lines))
    assert run(settings, source).new == len(given_bodies)
    before = stored()
    assert export_file(first, KillmailFilter()) == len(given_bodies)
    _empty()
    assert figures(run(settings, first)) == (len(given_bodies), 0, 0, 0, 0)
    assert stored() == before
    assert export_file(again, KillmailFilter()) == len(given_bodies)
    assert again.read_bytes() == first.read_bytes()
    if name == "a.jsonl":
        written = {}
        for line in first.read_bytes().splitlines():
            body = json.loads(line)
            assert body.pop("killmail_hash") == hash_of(body["killmail_id"])
            written[body["killmail_id"]] = body
        assert written == {body["killmail_id"]: body for body in given_bodies}


def _empty() -> None:
    with connection():
        for table in (KillmailItem, Attacker, Victim, *INVOLVED.values(), KillmailBody, Killmail, KillmailRef):
            table.delete().execute()
    known_ids.renew()


def test_an_export_takes_what_is_asked_for(settings: Settings, tmp_path: Path) -> None:
    lines = []
    for number in range(1, 11):
        body = json.loads(everef(number, killmail_time=f"2026-08-{number:02d}T23:59:59Z"))
        body["attackers"][0]["character_id"] = 500 + number % 2
        body["victim"]["alliance_id"] = 99_000_000 + number % 5
        lines.append(json.dumps(body))
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    run(settings, tmp_path / "a.jsonl")
    assert exported(tmp_path) == list(range(10, 0, -1))
    assert exported(tmp_path, "--since", "2026-08-03", "--until", "2026-08-05") == [5, 4, 3]
    assert exported(tmp_path, "--character", "501", "--since", "2026-08-06") == [9, 7]
    assert exported(tmp_path, "--alliance", "99000001") == [6, 1]
    assert exported(tmp_path, "--corporation", "98000002", "--until", "2026-08-01") == [1]
    assert exported(tmp_path, "--system", "1") == []


def exported(tmp_path: Path, *options: str) -> list[int]:
    """The ids of what the command writes."""
    from killsync.cli.main import app

    path = tmp_path / "out.jsonl"
    done = CliRunner().invoke(app, ["export", str(path), "--force", *options])
    assert done.exit_code == 0, done.output
    return [json.loads(line)["killmail_id"] for line in path.read_text().splitlines()]


def test_the_command_tells_what_is_wrong(settings: Settings, tmp_path: Path) -> None:
    from killsync.cli.main import app

    archive = tar(tmp_path / "day.tar.bz2", {"1.json": everef(1), "bad\x1b[2J.json": b"{}", "3.json": everef(3)})
    done = CliRunner().invoke(app, ["import", str(archive), str(tmp_path / "nothing"), "--processes", "1"])
    assert done.exit_code == 1
    assert "2 killmails stored, 0 were stored before." in done.output
    assert "2 could not be read or stored:" in done.output
    assert "bad\\x1b[2J.json: killmail_id is missing" in done.output and "\x1b[2J" not in done.output
    assert "nothing: No such file or directory" in done.output
    kept = tmp_path / "kept.zip"
    kept.write_text("mine")
    assert CliRunner().invoke(app, ["export", str(kept)]).exit_code == 2
    assert CliRunner().invoke(app, ["export", str(tmp_path / "a.docx")]).exit_code == 2
    assert kept.read_text() == "mine"


def test_processes_store_what_this_one_reads(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("killsync.bulk.importing.BATCH", 20)
    archive = day(tmp_path / "day.tar.bz2", range(1, 121))
    said: list[int] = []
    report = import_paths(settings, [archive], processes=2, progress=lambda each: said.append(each.done))
    assert figures(report) == (120, 0, 0, 0, 0)
    assert said == sorted(said)
    with connection():
        assert Killmail.select().count() == 120


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_a_process_that_dies_ends_the_import_and_the_next_goes_on(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("killsync.bulk.importing.BATCH", 10)
    archive = day(tmp_path / "day.tar.bz2", range(1, 101))

    def kill(_report: Report) -> None:
        import multiprocessing

        for child in multiprocessing.active_children():
            assert child.pid is not None
            os.kill(child.pid, signal.SIGKILL)

    with pytest.raises(ImportFailed, match="processes has ended"):
        import_paths(settings, [archive], processes=1, progress=kill)
    report = run(settings, archive)
    assert report.new + report.known == 100 and report.new >= 80
