"""The import as a command of its own, on PostgreSQL, with its processes: Ctrl-C or SIGTERM in the midst of it loses nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg2
import pytest

from tests.support.deployment import environment
from tests.support.killmail_files import everef, tar
from tests.support.process import begin, end, settings_for
from tests.support.resources import PROJECT, postgres_database

COUNT = 16_000


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_an_import_and_the_same_command_goes_on(number: signal.Signals, tmp_path: Path) -> None:
    archive = tar(tmp_path / "day.tar.gz", {f"{number}.json": everef(number) for number in range(1, COUNT + 1)}, "w:gz")
    with postgres_database() as url:
        begin(settings_for(url))
        end()
        command = [sys.executable, "-m", "killsync.cli.main", "import", str(archive)]
        values = environment(DATABASE_URL=url)
        with subprocess.Popen(
            command,
            env=values,
            cwd=PROJECT,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        ) as first:
            _wait_for_some(url, first)
            os.killpg(first.pid, number)  # all of its processes, as a terminal and systemd do
            said, complaints = first.communicate(timeout=60)
        assert first.returncode == 130, complaints
        assert "Stopped. The same command goes on." in said and not complaints
        stored = _count(url)
        assert 0 < stored < COUNT and f"{stored:,} killmails stored" in said
        if number == signal.SIGTERM:
            return  # both end it in the same way: once is enough for what follows
        second = subprocess.run(
            command, env=values, cwd=PROJECT, text=True, capture_output=True, timeout=120, check=False
        )
        assert second.returncode == 0, second.stderr
        assert f"{COUNT - stored:,} killmails stored, {stored:,} were stored before." in second.stdout
        assert _count(url) == COUNT


def _wait_for_some(url: str, running: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not _count(url):
        assert running.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)


def _count(url: str) -> int:
    database = psycopg2.connect(url)
    try:
        cursor = database.cursor()
        cursor.execute("SELECT count(*) FROM victim")
        found = cursor.fetchone()
        assert found is not None
        return int(found[0])
    finally:
        database.close()
