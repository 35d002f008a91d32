"""Log lines carry the ids of what they are about, tell a sync as a story, and can be read by people and by machines."""

from __future__ import annotations

import json
import re
from typing import Any

from tests.support.deployment import wait_until
from tests.support.player import Player


async def synced(place: Any, number: int, format_: str) -> None:
    """Let one pilot log in and a worker that logs in *format_* sync them."""
    pilot = place.simulated.simulator.universe.demo_characters[number]
    async with Player(place.url) as player:
        assert (await player.log_in(pilot.character_id)).status == 302
    place.start(format_, "dramatiq", "actors", "--processes", "1", "--threads", "2", LOG_FORMAT=format_)
    wait_until(lambda: "sync completed" in place.log(format_), "the story ends")
    place.stop(format_)


async def test_lines_tell_a_sync_as_a_story_and_carry_its_ids_for_people_and_machines(deployment: Any) -> None:
    place = deployment({"kills": (70, 8, 2)})
    place.start_web()
    await synced(place, 0, "text")
    _is_a_story(place)
    await synced(place, 1, "json")
    _carries_ids(place)


def _is_a_story(place: Any) -> None:
    pilot = place.simulated.simulator.universe.demo_characters[0]
    lines = [line for line in place.log("text").splitlines() if "[killsync.sync]" in line]
    order = ["processing user", "fetching killmails from ESI", "page read", "page read", "pages done", "sync completed"]
    told = [next((event for event in order if event in line), "") for line in lines]
    assert [event for event in told if event] == order
    assert f"character='{pilot.name}'" in lines[0] and f"character_id={pilot.character_id}" in lines[0]
    assert "page=1" in lines[2] and "killmails=50" in lines[2] and "page=2" in lines[3] and "killmails=20" in lines[3]
    assert "killmails_found=70" in lines[4]
    for part in (f"character='{pilot.name}'", "found=70", "saved=70", "skipped=0", "errors=0"):
        assert part in lines[-1]
    assert re.search(r"user_id=1 run_id=1 actor=sync_user_killmails message_id=[0-9a-f]{8}$", lines[0]), lines[0]
    assert "\x1b[" not in place.log("text"), "colours are for terminals"
    assert not [line for line in place.log("text").splitlines() if line.startswith("{")]


def _carries_ids(place: Any) -> None:
    lines = [json.loads(line) for line in place.log("json").splitlines() if line.startswith("{")]
    assert len(lines) > 6 and all({"event", "level", "timestamp", "logger"} <= set(line) for line in lines)
    of_sync = [
        line for line in lines if line["logger"] == "killsync.sync" and line.get("actor") == "sync_user_killmails"
    ]
    run_id, user_id = place.sql("SELECT id, user_id FROM sync_run ORDER BY id DESC LIMIT 1")[0]
    assert {"processing user", "fetching killmails from ESI", "page read", "pages done"} <= {
        line["event"] for line in of_sync
    }
    assert {(line["user_id"], line["run_id"]) for line in of_sync} == {(user_id, run_id)}
    assert len({line["message_id"] for line in of_sync}) == 1 and re.fullmatch(
        r"[0-9a-f-]{36}", of_sync[0]["message_id"]
    )
    saved = [line for line in lines if line["event"] == "killmail saved"]
    stored = place.sql("SELECT killmail_id FROM killmail_ref WHERE run_id = %s AND state = 'fetched'", (run_id,))
    assert {line["killmail_id"] for line in saved} == {number for (number,) in stored} and saved
    assert all(line["actor"].startswith("fetch_killmail") and line["run_id"] == run_id for line in saved)
    assert all(line["message_id"] and line["message_id"] != of_sync[0]["message_id"] for line in saved)
    started = next(line for line in lines if line["event"] == "worker started")
    assert "message_id" not in started and "actor" not in started
