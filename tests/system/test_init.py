"""`killsync init`: asks, checks, writes `.env`; what it leaves behind is all green, or says what to do."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import psycopg2
import pytest

from killsync import env_file
from simulator import Handle
from tests.conftest import Simulated
from tests.support.deployment import BIN, CLIENT, environment
from tests.support.resources import RABBITMQ, postgres_database

CONTACT = "Killsync-Tests/1.0 (tests@localhost)"


def killsync(folder: Path, *arguments: str, answers: str = "", **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(BIN / "killsync"), *arguments], cwd=folder, env=environment(**settings), input=answers,
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def options(handle: Handle, database: str, **others: str) -> list[str]:
    values = {
        "database-url": database, "broker-url": RABBITMQ, "esi-url": handle.url, "sso-url": handle.url,
        "sso-client-id": CLIENT[0], "sso-client-secret": CLIENT[1], "esi-user-agent": CONTACT, **others,
    }  # fmt: skip
    return [f"--{name}={value}" for name, value in values.items()]


def written(folder: Path) -> dict[str, str]:
    return env_file.values((folder / ".env").read_text())


def test_what_it_writes_makes_doctor_green_and_a_second_run_touches_nothing(
    simulated: Simulated, tmp_path: Path
) -> None:
    handle = simulated(kills=(1,))
    with postgres_database() as url:
        absent = f"{url}_made"  # it does not exist, and is made
        try:
            done = killsync(tmp_path, "init", "--yes", *options(handle, absent))
            assert done.returncode == 0 and "To do" not in done.stdout, done.stdout + done.stderr
            file = tmp_path / ".env"
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
            assert written(tmp_path)["ESI_USER_AGENT"] == CONTACT and env_file.differing(file.read_text()) == []
            before = file.read_bytes()
            doctor = killsync(tmp_path, "doctor")
            assert doctor.returncode == 0 and "✗" not in doctor.stdout, doctor.stdout
            again = killsync(tmp_path, "init", "--yes")
            assert again.returncode == 1 and ".env exists and stays as it is" in again.stderr
            assert file.read_bytes() == before
            forced = killsync(tmp_path, "init", "--yes", "--force", "--admin-character-ids=95465499")
            assert forced.returncode == 0, forced.stderr
            now = written(tmp_path)
            assert now.pop("ADMIN_CHARACTER_IDS") == "95465499" and now == env_file.values(before.decode())
        finally:
            server = psycopg2.connect(url)
            server.autocommit = True
            server.cursor().execute(f"DROP DATABASE IF EXISTS {urlsplit(absent).path[1:]} WITH (FORCE)")
            server.close()


def test_wrong_answers_are_told_apart_and_asked_again(simulated: Simulated, tmp_path: Path) -> None:
    handle = simulated(kills=(1,))
    parts = urlsplit(RABBITMQ)
    wrong_broker = f"amqp://guest:hush@{parts.hostname}:{parts.port or 5672}/"
    with postgres_database() as url:
        lines = [
            "mysql://somewhere/x", "postgresql://u@127.0.0.1:9/x", "y", url,  # of another kind, away, the right one
            wrong_broker, "y", RABBITMQ,
            "Killsync", "y", CONTACT,  # names no contact
            "http://127.0.0.1:8080/elsewhere", "",  # not the callback, the default
            CLIENT[0], "wrong-secret", "y", CLIENT[1],
            "", "y",  # no admins; the tables
        ]  # fmt: skip
        done = killsync(
            tmp_path, "init", answers="\n".join(lines) + "\n", ESI_URL=handle.url, SSO_URL=handle.url, LOG_LEVEL="ERROR"
        )
    said = done.stdout
    assert done.returncode == 0, said + done.stderr
    for part in (
        "DATABASE_URL: use sqlite:///path or postgresql://", "PostgreSQL at 127.0.0.1:9/x does not answer",
        "does not let us in: wrong user or password", "ESI answered 400: User-Agent", "followed by /auth/callback",
        "copy client id and secret", "https://developers.eveonline.com/applications", "Migrated",
    ):  # fmt: skip
        assert part in said, f"{part}\n{said}"
    assert "hush" not in said and "wrong-secret" not in said
    found = written(tmp_path)
    assert (found["DATABASE_URL"], found["BROKER_URL"], found["ESI_USER_AGENT"]) == (url, RABBITMQ, CONTACT)
    assert found["SSO_CLIENT_SECRET"] == CLIENT[1] and "ADMIN_CHARACTER_IDS" not in found


def test_without_anything_it_says_what_is_still_to_do(tmp_path: Path) -> None:
    away = "http://127.0.0.1:9"
    done = killsync(
        tmp_path, "init", "--yes", f"--esi-url={away}", f"--sso-url={away}", "--broker-url=amqp://u:p@127.0.0.1:9/",
        "--database-url=postgresql://u:p@127.0.0.1:9/x",
    )  # fmt: skip
    assert done.returncode == 0 and (tmp_path / ".env").exists(), done.stderr
    for name in ("DATABASE_URL", "BROKER_URL", "ESI_USER_AGENT", "SSO_CALLBACK_URL", "SSO_CLIENT_ID"):
        assert f"To do: {name}: " in done.stdout, done.stdout
    assert "Error" not in done.stdout + done.stderr


@pytest.mark.parametrize("value", ["a\\b", "both ' and \"", "line\nbreak"])
def test_what_cannot_be_written_alike_for_all_is_refused(value: str, tmp_path: Path) -> None:
    done = killsync(tmp_path, "init", "--demo", "--yes", f"--sso-client-secret={value}")
    assert done.returncode == 2 and "SSO_CLIENT_SECRET: " in done.stderr and not (tmp_path / ".env").exists()


def test_for_compose_it_makes_passwords_and_keeps_them(tmp_path: Path) -> None:
    assert killsync(tmp_path, "init", "--demo", "--yes").returncode == 0
    first = written(tmp_path)
    assert first["COMPOSE_PROFILES"] == "demo" and first["POSTGRES_PASSWORD"] in first["DATABASE_URL"]
    assert len(first["POSTGRES_PASSWORD"]) > 30 and first["RABBITMQ_PASSWORD"] != first["POSTGRES_PASSWORD"]
    assert killsync(tmp_path, "init", "--demo", "--yes", "--force").returncode == 0
    assert written(tmp_path) == first
