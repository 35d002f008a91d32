"""A deployment to measure: real database and broker of its own, users logged in, CPU time counted by process."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from bench.simulated import Simulated
from tests.support.deployment import Deployment, deployed, wait_until
from tests.support.player import Player
from tests.support.resources import PROJECT, rabbitmqctl


@contextlib.contextmanager
def deployment(simulated: Simulated, **settings: str) -> Iterator[Deployment]:
    """A migrated deployment against *simulated*, with nothing started yet."""
    values = {"LOG_LEVEL": "INFO", "PYTHONPATH": str(PROJECT), **settings}
    with tempfile.TemporaryDirectory() as folder, deployed(Path(folder), simulated, **values) as place:  # type: ignore[arg-type]
        yield place


def log_in(place: Deployment, pilots: list[int]) -> None:
    """Log the pilots in over the running web server, and take back the syncs that their logins queued."""

    for pilot in pilots:
        log_in_and_sync(place, pilot)
    vhost = place.settings["BROKER_URL"].rsplit("/", 1)[1]
    rabbitmqctl("purge_queue", "-p", vhost, "esi_user_killmails_queue")
    place.sql("UPDATE \"user\" SET next_sync_at = now() + interval '1 day'")


def log_in_and_sync(place: Deployment, pilot: int) -> None:
    """Log a pilot in over the running web server, which queues the first sync."""

    async def log_in_now() -> None:
        async with Player(place.url) as player:
            assert (await player.log_in(pilot)).status == 302

    asyncio.run(log_in_now())


def stored(place: Deployment) -> int:
    """Killmails stored so far."""
    return int(place.sql("SELECT count(*) FROM killmail")[0][0])


def wait_for(place: Deployment, killmails: int, seconds: float) -> None:
    """Wait until so many killmails are stored."""
    wait_until(lambda: stored(place) >= killmails, f"{killmails} killmails are stored", seconds)


class Cpu:
    """CPU seconds that processes used since this was made."""

    def __init__(self, place: Deployment | None, simulated: Simulated) -> None:
        self._place, self._simulated = place, simulated
        self._began = self._now()

    def used(self) -> dict[str, float]:
        """CPU seconds by name of process."""
        return {name: seconds - self._began[name] for name, seconds in self._now().items()}

    def _now(self) -> dict[str, float]:
        found = {"simulator": _tree(self._simulated.process.pid)}
        for name, process in (self._place.processes if self._place else {}).items():
            found[name] = _tree(process.pid)
        if self._place:
            # Backends carry their database in their title, so that other work of the server is not counted.
            found["PostgreSQL"] = _named("postgres", self._place.settings["DATABASE_URL"].rsplit("/", 1)[1])
        found["RabbitMQ"] = _named("beam.smp")
        return found


def _tree(pid: int) -> float:
    process = psutil.Process(pid)
    return sum(_seconds(each) for each in [process, *process.children(recursive=True)])


def _named(name: str, title: str = "") -> float:
    """CPU seconds of the processes of a service, those whose command line has *title*; 0.0 where it runs elsewhere."""
    return sum(_seconds(process) for process in psutil.process_iter() if _is(process, name, title))


def _is(process: psutil.Process, name: str, title: str) -> bool:
    try:
        return process.name() == name and title in " ".join(process.cmdline())
    except psutil.Error:
        return False


def _seconds(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.Error:
        return 0.0
    return times.user + times.system


def peak_rss(process: Any) -> int:
    """The most memory that any process of the tree has held so far, bytes."""
    return max(_peak(each.pid) for each in [process, *process.children(recursive=True)])


def _peak(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    return int(psutil.Process(pid).memory_info().rss)
