"""The web process under attack, an attacker with many addresses of loopback, and a visitor who notes how long a page takes."""

from __future__ import annotations

import asyncio
import http.client
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import psutil

from simulator import Handle
from tests.support.deployment import Deployment
from tests.support.player import Player
from tests.support.resources import PROJECT

#: Where the visitor comes from; attackers have other addresses.
VISITOR = "127.0.0.9"
#: A page that takes longer than this was kept away from its reader, seconds. On a quiet machine 0.1 to 0.3.
LONGEST_PAGE = 3.0


@dataclass
class Cost:
    """What an attack did to the process and to the visitor."""

    pages: list[float] = field(default_factory=list)
    #: Pages that were not answered by 200.
    missed: int = 0
    megabytes: float = 0.0
    log_bytes: int = 0
    cpu: float = 0.0
    seconds: float = 0.0

    #: What a page takes without an attack, seconds.
    usual: float = 0.0

    @property
    def slowest(self) -> float:
        return max(self.pages, default=0.0)

    def __str__(self) -> str:
        return f"`/` in {self.slowest:.1f} s at most; {self.megabytes:+.0f} MB"


class Target:
    """One web process, and what is around it."""

    def __init__(self, place: Deployment, simulated: Handle, modes_of_files: Future[list[int]], *, short: bool) -> None:
        self.place, self.simulated, self.short = place, simulated, short
        #: What `doors` finds out with processes of its own, which was begun with everything else.
        self.modes_of_files = modes_of_files
        self.url = place.url
        self.process = psutil.Process(place.processes["web"].pid)
        #: Where the attacker comes from: each attack from another address, so that none pays for those before.
        self.address = ""
        self._attacks = 0
        # Begun here, since a process of its own takes seconds to begin.
        urls = [place.settings[name] for name in ("DATABASE_URL", "BROKER_URL")]
        self._storer = subprocess.Popen(
            [sys.executable, "-m", "tests.attack.fill", *urls],
            cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        self._storing = threading.Lock()
        self.pilots = [pilot.character_id for pilot in simulated.simulator.universe.demo_characters]

    def next_attacker(self) -> None:
        self._attacks += 1
        self.address = f"127.2.0.{self._attacks}"

    def client(self, address: str | None = None) -> aiohttp.ClientSession:
        """A client that comes from *address*, by default the attacker's."""
        connector = aiohttp.TCPConnector(local_addr=(address or self.address, 0), limit=0)
        timeout = aiohttp.ClientTimeout(total=60)
        return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.CookieJar(unsafe=True), timeout=timeout)

    async def player(self, number: int = 0) -> Player:
        """A player who logged in."""
        player = Player(self.url)
        await player.browser.close()
        player.browser = self.client()
        assert (await player.log_in(self.pilots[number])).status == 302
        return player

    def store_one(self, attackers: int) -> int:
        """Have a killmail come; its id."""
        with self._storing:
            assert self._storer.stdin is not None and self._storer.stdout is not None
            self._storer.stdin.write(f"{attackers}\n")
            self._storer.stdin.flush()
            return int(self._storer.stdout.readline())

    def close(self) -> None:
        """End what stores killmails."""
        self._storer.terminate()
        self._storer.wait(10)

    @contextmanager
    def watched(self) -> Any:
        """What happens meanwhile, seen from outside."""
        quiet = Cost()
        for _ in range(3):
            _visit(self.place.port, quiet)
        cost, over = Cost(usual=quiet.slowest), threading.Event()
        before, log, spent, began = self.rss(), self._log_size(), self._cpu(), time.monotonic()
        most = [before]

        def visit() -> None:
            while not over.is_set():
                _visit(self.place.port, cost)
                most.append(self.rss())
                over.wait(0.2)

        visitor = threading.Thread(target=visit, daemon=True)
        visitor.start()
        try:
            yield cost
        finally:
            over.set()
            visitor.join(60)
            cost.megabytes = (max(most) - before) / 1e6
            cost.log_bytes = self._log_size() - log
            cost.seconds = time.monotonic() - began
            cost.cpu = self._cpu() - spent

    def rss(self) -> int:
        return int(self.process.memory_info().rss)

    def _cpu(self) -> float:
        times = self.process.cpu_times()
        return float(times.user + times.system)

    def _log_size(self) -> int:
        return (self.place.folder / "web.log").stat().st_size


def _visit(port: int, cost: Cost) -> None:
    began = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=40, source_address=(VISITOR, 0))
    try:
        connection.request("GET", "/")
        answer = connection.getresponse()
        answer.read()
        cost.missed += answer.status != 200
    except (OSError, http.client.HTTPException):
        cost.missed += 1
    finally:
        connection.close()
    cost.pages.append(time.monotonic() - began)


def fill(url: str, battles: Any, attackers: int) -> None:
    """Put killmails into the database at *url*, by a process of its own."""
    command = [sys.executable, "-m", "tests.attack.fill", url, str(battles), str(attackers)]
    subprocess.run(command, check=True, cwd=PROJECT, capture_output=True, timeout=300)


@dataclass
class Outcome:
    """What came of an attack: for the table, and what was not as promised."""

    text: str
    problems: list[str] = field(default_factory=list)

    def expect(self, holds: object, otherwise: str) -> None:
        if not holds:
            self.problems.append(otherwise)


def judged(cost: Cost, text: str = "", *, megabytes: float = 60.0) -> Outcome:
    """The outcome of an attack on everybody: others read their pages, and the process stays as large as it was."""
    # A machine that is busy with something else is as slow without an attack.
    longest = max(LONGEST_PAGE, 10 * cost.usual)
    outcome = Outcome(f"{text}; {cost}" if text else str(cost))
    outcome.expect(cost.pages, "nobody looked")
    outcome.expect(not cost.missed, f"{cost.missed} of {len(cost.pages)} pages were not answered")
    outcome.expect(cost.slowest <= longest, f"a page took {cost.slowest:.1f} s")
    outcome.expect(cost.megabytes <= megabytes, f"the process grew by {cost.megabytes:.0f} MB")
    outcome.expect(cost.log_bytes < 200_000, f"{cost.log_bytes} bytes were logged")
    return outcome


@dataclass(frozen=True)
class Attack:
    """One attack. *before*: what it did when it was found."""

    name: str
    before: str
    run: Callable[[Target], Awaitable[Outcome]]


def play(attack: Attack, target: Target) -> Outcome:
    """Attack, and see that the process is still there."""
    target.next_attacker()
    try:
        outcome = asyncio.run(attack.run(target))
    except Exception as error:
        outcome = Outcome("not played", [f"{type(error).__name__}: {error}"])
    outcome.expect(target.place.processes["web"].poll() is None, "the process died")
    outcome.expect(target.place.get("/readyz")[0] == 200, "the process is not ready")
    return outcome
