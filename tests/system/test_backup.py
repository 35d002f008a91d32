"""`killsync backup` and `killsync restore`: everything in one file, and back, whole or not at all."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from models import connection
from models.sql import rows, run
from tests.support.comparison import served_killmail, stored_killmail
from tests.support.deployment import BIN, environment, wait_until
from tests.support.process import disconnect
from tests.support.web_server import fill, new_universe


def killsync(settings: Any, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [str(BIN / "killsync"), *arguments], capture_output=True, text=True, timeout=60,
        env=environment(DATABASE_URL=settings.database_url),
    )  # fmt: skip
    assert not check or done.returncode == 0, done.stderr
    return done


def test_a_backup_brings_everything_back(settings: Any, tmp_path: Path) -> None:
    universe = new_universe(kills=(20, 10))
    numbers = fill(universe)
    file = tmp_path / "killsync.backup"
    assert str(file) in killsync(settings, "backup", str(file)).stdout
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    again = killsync(settings, "backup", str(file), check=False)
    assert again.returncode == 1 and "exists" in again.stderr
    with connection():
        for table in ("killmail", "killmail_ref", '"character"', "killmail_log"):
            run(f"DELETE FROM {table}")
        run("INSERT INTO killmail_ref (killmail_id, killmail_hash) VALUES (5, 'later')")
    disconnect()
    assert "killsync migrate" in killsync(settings, "restore", str(file)).stdout
    mark = "?" if settings.database_url.startswith("sqlite") else "%s"

    def sql(statement: str, parameters: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        return rows(statement.replace("?", "%s"), parameters)

    with connection():
        for number in numbers:
            kill = universe.kills[number]
            assert stored_killmail(sql, number, mark) == served_killmail(universe.body(number), kill.killmail_hash)
        assert rows("SELECT count(*) FROM killmail_ref") == [(len(numbers),)]
        fill(new_universe(seed=2, kills=(5,)))  # sequences go on where they stood
    assert "up to date" in killsync(settings, "migrate").stdout


def test_a_file_that_is_no_backup_changes_nothing(settings: Any, tmp_path: Path) -> None:
    fill(new_universe(kills=(5,)))
    disconnect()
    other = tmp_path / "other"
    other.write_bytes(b"something else entirely" * 100)
    for file in (other, tmp_path / "absent"):
        done = killsync(settings, "restore", str(file), check=False)
        assert done.returncode == 1 and "Traceback" not in done.stderr and str(file.name) in done.stderr
    with connection():
        assert rows("SELECT count(*) FROM killmail") == [(5,)]


def test_no_password_is_on_the_command_line_of_the_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    from killsync.cli import backup
    from killsync.settings import Settings

    seen: list[Any] = []

    def run_tool(arguments: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        seen.append((arguments, options["env"]["PGPASSWORD"]))
        return subprocess.CompletedProcess(arguments, 1, "", "pg_dump: error: no such host\n")

    monkeypatch.setattr(subprocess, "run", run_tool)
    settings = Settings(database_url="postgresql://killsync:hush%40hush@db:5433/killsync?sslmode=require")
    with pytest.raises(backup.Refused, match="no such host"):
        backup._run(settings, "pg_dump")
    assert seen == [(["pg_dump", "postgresql://killsync@db:5433/killsync?sslmode=require"], "hush@hush")]


def test_restore_refuses_while_killsync_runs(deployment: Any, tmp_path: Path) -> None:
    place = deployment({"kills": (5,)})
    place.start_worker(threads=2)
    file = tmp_path / "killsync.backup"
    place.command("killsync", "backup", str(file))
    refused = place.command("killsync", "restore", str(file), check=False)
    assert refused.returncode == 1 and "stop web, worker and scheduler first" in refused.stderr
    place.stop("worker")
    wait_until(lambda: place.command("killsync", "restore", str(file), check=False).returncode == 0, "it restores", 10)
