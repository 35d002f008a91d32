"""How the processes of the Procfile end: by Ctrl-C, by SIGTERM, idle and busy, and when their manager is killed."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from typing import Any

import aiohttp
import psutil

from simulator.faults import Fault
from tests.support.deployment import BIN, Deployment, environment, wait_until
from tests.support.player import Player
from tests.support.resources import PROJECT

#: Seconds within which everything has ended.
SOON = 9.0


def start_all(place: Deployment) -> subprocess.Popen[bytes]:
    """`honcho start` in the project's folder, once everything runs."""
    started = place.logs().count("worker started")
    with (place.folder / "honcho.log").open("ab") as log:
        manager = subprocess.Popen(
            [str(BIN / "honcho"), "-e", os.devnull, "start"],
            stdout=log, stderr=log, cwd=PROJECT, env=environment(**place.settings), start_new_session=True,
        )  # fmt: skip
    place.processes["honcho"] = manager
    wait_until(lambda: place.get("/healthz")[0] == 200, "the web server answers", 30)
    wait_until(lambda: place.logs().count("worker started") >= started + 2, "the workers start", 30)
    wait_until(lambda: "scheduler started" in place.logs(), "the scheduler starts", 30)
    return manager


def running(place: Deployment) -> list[psutil.Process]:
    """Every process of this deployment: its broker is nobody else's."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("BROKER_URL") == place.settings["BROKER_URL"]:
                found.append(process)
        except psutil.Error:
            continue
    return found


def ended_well(place: Deployment, manager: subprocess.Popen[bytes], number: int) -> str:
    """Signal the manager; what was printed from then on, after all have ended in time and by themselves."""
    before = len(place.log("honcho"))
    began = time.monotonic()
    manager.send_signal(number)
    manager.wait(timeout=30)
    took = time.monotonic() - began
    said = place.log("honcho")[before:]
    assert took < SOON, said
    assert "SIGKILL" not in said and "Traceback" not in said and "Killing worker" not in said, said
    assert said.count("stopped (rc=0)") == 3, said
    assert not running(place)
    return said


def test_idle_processes_end_within_seconds_of_ctrl_c(deployment: Any) -> None:
    place = deployment({"kills": (5,)}, LOG_LEVEL="INFO")
    ended_well(place, start_all(place), signal.SIGINT)


async def test_busy_processes_end_within_seconds_and_a_killed_manager_leaves_nothing_behind(deployment: Any) -> None:
    place = deployment({"kills": (60,), "limits": False}, LOG_LEVEL="INFO")
    # Each detail is under way for longer than anybody waits for the end.
    place.simulated.simulator.faults.append(Fault("/killmails/*", kind="latency", seconds=20.0))
    manager = start_all(place)
    async with Player(place.url) as player, aiohttp.ClientSession() as subscriber:
        await player.log_in(place.simulated.simulator.universe.demo_characters[0].character_id)
        address = f"{place.url.replace('http', 'ws')}/graphql"
        async with subscriber.ws_connect(address, protocols=["graphql-transport-ws"]) as socket:
            await socket.send_json({"type": "connection_init"})
            await socket.receive_json()
            query = "subscription { newKillmail { id } }"
            await socket.send_json({"type": "subscribe", "id": "1", "payload": {"query": query}})
            wait_until(lambda: place.simulated.simulator.esi.details, "details are asked for", 60)
            # In a thread: this loop answers the server's close of the socket.
            await asyncio.to_thread(ended_well, place, manager, signal.SIGTERM)
    assert place.sql("SELECT count(*) FROM killmail") == [(0,)], "it was busy"

    place.simulated.simulator.faults.clear()
    manager = start_all(place)
    wait_until(lambda: place.sql("SELECT count(*) FROM killmail") == [(60,)], "all is stored", 60)
    manager.kill()
    manager.wait()
    wait_until(lambda: not running(place), "nothing is left of a killed manager", SOON)
    assert place.get("/healthz")[0] == 0
