"""The `killsync` commands over a real database and broker, as an operator types them."""

from __future__ import annotations

import json
import signal
from typing import Any

import psutil

from simulator import catalog
from tests.support.deployment import wait_until
from tests.support.player import Player


def characters(place: Any) -> list[int]:
    return [pilot.character_id for pilot in place.simulated.simulator.universe.demo_characters]


async def log_in(place: Any, *pilots: int) -> None:
    """Log pilots in as separate people."""
    for pilot in pilots:
        async with Player(place.url) as player:
            assert (await player.log_in(pilot)).status == 302


async def test_queue_prints_what_it_queued_and_the_worker_does_it(deployment: Any) -> None:
    place = deployment({"kills": (30, 20, 10)})
    empty = place.command("killsync", "queue", "user-killmails")
    assert "No active users found" in empty.stdout and "/auth/login" in empty.stdout

    place.start_web()
    await log_in(place, *characters(place))
    done = place.command("killsync", "queue", "user-killmails")
    lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    names = [pilot.name for pilot in place.simulated.simulator.universe.demo_characters]
    assert lines == [
        "📡 Queueing users for ESI killmail sync...",
        "✓ Found 3 active user(s) with valid tokens",
        "📤 Adding to queue: esi_user_killmails_queue",
        *(f"Queued: {name} (ID: {number})" for name, number in zip(names, characters(place), strict=True)),
        "✅ Successfully queued 3 user(s)!",
        "💡 Now run the worker to process them:",
        "dramatiq actors",
    ]
    status = json.loads(place.command("killsync", "status", "--json").stdout)
    waiting = {queue["queue_name"]: queue["message_count"] for queue in status["queues"]}
    assert waiting["esi_user_killmails_queue"] == 6, "three logins and three commands"
    assert status["users"] == {"active": 3, "needs_login": 0, "disabled": 0}

    one = place.command("killsync", "queue", "user-killmails", "--character", str(characters(place)[1]))
    assert "Found 1 active user(s)" in one.stdout
    unknown = place.command("killsync", "queue", "user-killmails", "--character", "404", check=False)
    assert (unknown.returncode, "404" in unknown.stderr) == (1, True)

    place.start_worker()
    wait_until(lambda: place.sql("SELECT count(*) FROM sync_run WHERE status = 'succeeded'")[0][0] >= 3, "syncs end")
    expected = place.simulated.call(
        lambda sim: len({n for c in characters(place) for n, _ in sim.universe.listed("character", c, sim.clock.now())})
    )
    assert place.sql("SELECT count(*) FROM killmail")[0][0] == expected
    assert "esi_killmail_details_queue" in place.command("killsync", "status").stdout
    shown = [line.split() for line in place.command("killsync", "ledger").stdout.splitlines()]
    assert ["fetched", str(expected)] in shown
    worker = psutil.Process(place.processes["worker"].pid)
    for process in [worker, *worker.children(recursive=True)]:
        assert process.memory_info().rss < 200 * 2**20, "a worker process stays under 200 MB"


async def test_sync_runs_one_character_in_the_foreground(deployment: Any) -> None:
    place = deployment({"kills": (60, 20, 10)})
    place.start_web()
    pilot = characters(place)[0]
    await log_in(place, pilot)
    done = place.command("killsync", "sync", str(pilot))
    assert "Saved: 60 new killmails" in done.stdout and "Errors: 0" in done.stdout
    assert place.sql("SELECT count(*) FROM killmail")[0][0] == 60
    again = place.command("killsync", "sync", str(pilot))
    assert "Saved: 0 new killmails" in again.stdout and "ESI requests: 0" in again.stdout
    unknown = place.command("killsync", "sync", "404", check=False)
    assert unknown.returncode == 1
    assert unknown.stderr.strip() == f"killsync: character 404 has never logged in here: open {place.url}/auth/login"


async def test_doctor_finds_a_whole_installation_well(deployment: Any) -> None:
    place = deployment({"kills": (5,)})
    done = place.command("killsync", "doctor")
    assert done.stdout.count("✓") == 9 and "✗" not in done.stdout
    assert "! static data: none is loaded: run `" in done.stdout and "static-data update`" in done.stdout
    assert "No static data is loaded" in place.command("killsync", "static-data", "status").stdout
    place.command("killsync", "static-data", "update")
    assert f"✓ static data: build {catalog.BUILD} is loaded, the newest" in place.command("killsync", "doctor").stdout
    place.sql("UPDATE static_data_build SET build_number = build_number - 1")
    older = " ".join(place.command("killsync", "doctor").stdout.split())
    assert f"! static data: build {catalog.BUILD - 1} is loaded, build {catalog.BUILD} is out: run" in older
    away = " ".join(place.command("killsync", "doctor", STATIC_DATA_URL="http://127.0.0.1:9").stdout.split())
    assert f"build {catalog.BUILD} is out, the newest build is not known (http://127.0.0.1:9/latest.jsonl" in away


def test_a_whole_deployment_loads_static_data_by_itself(deployment: Any) -> None:
    place = deployment({"kills": (5,)})
    place.start_worker()
    place.start_scheduler()
    loaded = "SELECT count(*) FROM static_data_build WHERE build_number IS NOT NULL"
    wait_until(lambda: place.sql(loaded)[0][0] == 1, "the build is loaded", 60)


def test_status_says_what_needs_a_look_and_check_ends_with_1(deployment: Any) -> None:
    place = deployment({"kills": (5,)})
    done = place.command("killsync", "status", "--check", check=False)
    assert done.returncode == 1
    said = " ".join(done.stdout.split())
    assert "✗ No worker takes messages from any queue." in said and "dramatiq actors" in said
    assert "✗ No scheduler has ever ticked here" in said
    assert "\x1b[" not in done.stdout, "colours are for terminals"
    data = json.loads(place.command("killsync", "status", "--json").stdout)
    assert {problem["name"] for problem in data["problems"]} == {"no workers", "no scheduler"}
    assert data["webhooks"] == {
        "active": 0,
        "paused": 0,
        "disabled": 0,
        "failing": 0,
        "waiting": 0,
        "oldest_seconds": None,
    }
    place.start("watch", "killsync", "status", "--watch", "--json")
    place.start_worker()
    place.start_scheduler()
    wait_until(lambda: "scheduler started" in place.log("scheduler"), "the scheduler starts")
    wait_until(lambda: place.log("watch").count("\n") >= 2, "the status is shown again", 30)
    assert place.stop("watch", signal.SIGINT) == 0
    assert all(json.loads(line)["users"]["active"] == 0 for line in place.log("watch").splitlines())
    wait_until(lambda: place.sql("SELECT count(*) FROM lease WHERE name = 'scheduler'") == [(1,)], "it ticks")
    done = place.command("killsync", "status", "--check")
    assert "✓ All well" in done.stdout


async def test_rotating_keys_keeps_every_token(deployment: Any) -> None:
    from killsync.sso.vault import generate_key

    place = deployment({"kills": (5, 5)})
    place.start_web()
    await log_in(place, *characters(place)[:2])
    old, new = place.settings["SECRET_KEYS"], generate_key()
    before = place.sql('SELECT refresh_token FROM "user" ORDER BY id')
    done = place.command("killsync", "rotate-keys", SECRET_KEYS=f"{new},{old}")
    assert "2 secrets now use the first of SECRET_KEYS" in done.stdout
    assert place.sql('SELECT refresh_token FROM "user" ORDER BY id') != before
    synced = place.command("killsync", "sync", str(characters(place)[0]), SECRET_KEYS=new)
    assert "Saved: 5 new killmails" in synced.stdout
    wrong = place.command("killsync", "rotate-keys", SECRET_KEYS=generate_key(), check=False)
    assert wrong.returncode == 1 and "cannot be decrypted" in wrong.stderr
    assert "cannot be decrypted" in place.command("killsync", "doctor", SECRET_KEYS=generate_key(), check=False).stdout


def test_a_process_stops_on_sigterm_with_exit_code_0(deployment: Any) -> None:
    place = deployment({"kills": (5,)})
    place.start_web()
    place.start_worker()
    place.start_scheduler()
    wait_until(lambda: "scheduler started" in place.log("scheduler"), "the scheduler starts")
    for name in ("scheduler", "worker", "web"):
        assert place.stop(name) == 0, place.log(name)
    assert "scheduler stopped" in place.log("scheduler")
    assert "Traceback" not in place.logs()
