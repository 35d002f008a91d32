"""The simulator in a process of its own, so that its work is nobody else's: limits off, 50 ms before each answer."""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.support.deployment import environment
from tests.support.resources import PROJECT

LATENCY = 0.05
#: Pilots of the universe: so many that the users of a benchmark meet now and then, as strangers do.
PILOTS = 1000


@dataclass
class Simulated:
    """A running simulator: its address and its process."""

    url: str
    process: subprocess.Popen[str]

    def ask(self, path: str, data: Any = None) -> Any:
        """GET a control route, or POST *data* to it."""
        body = None if data is None else json.dumps(data).encode()
        request = urllib.request.Request(self.url + path, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())

    def pilots(self, count: int) -> list[int]:
        """The first pilots, the ones with lists of the wanted length."""
        return [pilot["character_id"] for pilot in self.ask("/_sim/characters")[:count]]


@contextlib.contextmanager
def simulated(kills: list[int], *, cache_seconds: float = 300.0) -> Iterator[Simulated]:
    """A simulator whose first pilots have lists of *kills* killmails of benchmark size."""
    arguments = ["--kills", ",".join(map(str, kills)), "--cache", str(cache_seconds)]
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.simulated", *arguments],
        stdout=subprocess.PIPE, text=True, cwd=PROJECT, env=environment(), start_new_session=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        yield Simulated(process.stdout.readline().strip(), process)
    finally:
        process.terminate()
        process.wait(timeout=20)


def main() -> None:
    """Be the simulator until SIGTERM; the first line printed is its address."""
    import simulator

    options = argparse.ArgumentParser()
    options.add_argument("--kills")
    options.add_argument("--cache", type=float)
    chosen = options.parse_args()
    kills = tuple(map(int, chosen.kills.split(",")))
    config = simulator.SimulatorConfig(
        characters=PILOTS, kills=kills, limits=False, latency=LATENCY, many_items=True,
        list_cache_seconds=chosen.cache, access_token_seconds=36_000, most_refreshes=1_000,
    )  # fmt: skip
    handle = simulator.run_in_thread(config)
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    # Made now, so that no side of a comparison waits for a body to be made for the first time.
    for killmail_id in handle.simulator.universe.kills:
        handle.simulator.esi._make_body(killmail_id)
    print(handle.url, flush=True)
    stopped.wait()
    handle.stop()


if __name__ == "__main__":
    main()
