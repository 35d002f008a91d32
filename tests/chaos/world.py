"""One deployment under a fault: the processes of the Procfile, kept alive as systemd would, kills that keep arriving, a
subscriber that listens, and the comparison of what is stored with everything a list ever named."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import signal
import sqlite3
import subprocess
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pika
import psycopg2

from simulator import Handle
from tests.chaos.channel import Channel
from tests.support.comparison import served_killmail, stored_killmail
from tests.support.deployment import Deployment, wait_until
from tests.support.event_stream import EventStream
from tests.support.player import Player
from tests.support.r2z2 import R2Z2, in_a_thread
from tests.support.resources import PROJECT

QUEUES = (
    "esi_enqueue_queue", "esi_user_killmails_queue", "esi_killmail_details_queue", "esi_enrichment_queue",
    "notifications_queue",
)  # fmt: skip
NAMES = ("character", "corporation", "alliance", "faction", "item_type", "solar_system")


@dataclass
class Verdict:
    """What one fault did. `seconds`: from its end until all that was listed by then is stored."""

    listed: int = 0
    stored: int = 0
    doubled: int = 0
    lost: int = 0
    told: int = 0
    channel: int = 0
    again: int = 0
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)


class Subscriber:
    """Listens to every killmail in a thread of its own; when the connection breaks it reads on from the last number it got."""

    def __init__(self, url: str) -> None:
        self._url = url.replace("http", "ws") + "/graphql"
        self.heard: Counter[int] = Counter()
        self.last = 0
        #: (number, the one before it) where they are no neighbours.
        self.jumps: list[tuple[int, int]] = []
        self.is_open = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._listen()), daemon=True)
        self._thread.start()

    async def _listen(self) -> None:
        async with aiohttp.ClientSession() as http:
            while not self._stopped.is_set():
                # TypeError: what came instead of an answer was the connection's end.
                with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError, TypeError):
                    async with http.ws_connect(self._url, protocols=("graphql-transport-ws",), timeout=5) as socket:
                        await self._hear(socket)
                self.is_open.clear()
                await asyncio.sleep(0.2)

    async def _hear(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        await socket.send_json({"type": "connection_init"})
        await socket.receive_json(timeout=10)
        query = f'subscription {{ newKillmail(after: "{self.last}") {{ id sequence killmailHash attackerCount }} }}'
        await socket.send_json({"id": "1", "type": "subscribe", "payload": {"query": query}})
        await asyncio.sleep(0.2)
        self.is_open.set()
        while not self._stopped.is_set():
            try:
                message = await socket.receive(timeout=0.5)
            except TimeoutError:
                continue
            if message.type is not aiohttp.WSMsgType.TEXT:
                return
            said = message.json()
            if said["type"] in ("error", "complete"):
                return  # such as that the database is away: it subscribes again
            if said["type"] == "next":
                told = said["payload"]["data"]["newKillmail"]
                self.heard[int(told["id"])] += 1
                if int(told["sequence"]) != self.last + 1:
                    self.jumps.append((int(told["sequence"]), self.last))
                self.last = int(told["sequence"])

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join(timeout=10)


class World(Deployment):
    """A deployment whose processes are started again when they end by themselves."""

    def __init__(self, folder: Path, simulated: Handle, **settings: str) -> None:
        super().__init__(folder, simulated, **settings)
        self.mark = folder / "killed"
        self.restarts = 0
        self.subscriber: Subscriber | None = None
        self.reader: R2Z2 | None = None
        self.stream: EventStream | None = None
        self.channel: Channel | None = None
        self._reading = contextlib.ExitStack()
        self._commands: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {}
        self._stopped = threading.Event()
        self._lock = threading.RLock()
        self._database: Any = None
        threading.Thread(target=self._supervise, daemon=True).start()

    def run_procfile(self, name: str, alias: str = "", **hooks: str) -> None:
        """Start the process *name* of the Procfile; a worker with the hooks of the suite beside its actors."""
        lines = dict(line.split(": ", 1) for line in (PROJECT / "Procfile").read_text().splitlines() if line)
        # `exec` is for the shell that honcho starts; here there is none.
        words = [word.removeprefix(".venv/bin/") for word in shlex.split(lines[name].removeprefix("exec "))]
        words = [str(PROJECT / word) if word.endswith(".py") else word for word in words]
        if name == "worker":
            words.insert(2, "tests.chaos.hooks")
        environment = {
            "PYTHONPATH": str(PROJECT),
            "PYTHONFAULTHANDLER": "1",
            "CHAOS_MARK": str(self.mark),
            **hooks,
        }
        with self._lock:
            self._commands[alias or name] = tuple(words), environment
            self.start(alias or name, *words, **environment)

    def _supervise(self) -> None:
        while not self._stopped.wait(0.3):
            with self._lock:
                for name, process in list(self.processes.items()):
                    if process.poll() is not None and name in self._commands:
                        self.restarts += 1
                        words, environment = self._commands[name]
                        self.start(name, *words, **environment)

    def stop(self, name: str, number: int = signal.SIGTERM, wait_seconds: float = 60) -> int:
        with self._lock:
            self._commands.pop(name, None)
        return super().stop(name, number, wait_seconds)

    def kill(self, name: str) -> None:
        """Kill a process with all its children; the supervisor starts it again."""
        os.killpg(self.processes[name].pid, signal.SIGKILL)

    def end_with_stacks(self) -> None:
        """Have every process write where its threads stand into its log, by which it ends."""
        with self._lock:
            self._commands.clear()
            for process in self.processes.values():
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGABRT)
            for process in self.processes.values():
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=10)

    def begin(self, hooks: dict[str, str], pilots: int = 3) -> None:
        """Start everything, listen, log everybody in."""
        self.run_procfile("web")
        wait_until(lambda: self.get("/healthz")[0] == 200, "the web server answers", 60)
        self.subscriber = Subscriber(self.url)
        self.reader = R2Z2(self.url, pause=0.5, begin=1)
        self.stream = EventStream(self.url)
        self._reading.enter_context(in_a_thread(self.reader.run(10**9), self.stream.run()))
        self.channel = Channel(self, self._reading)
        assert self.subscriber.is_open.wait(30)
        self.run_procfile("worker", **hooks)
        self.run_procfile("scheduler")
        for pilot in self.pilots[:pilots]:
            asyncio.run(self.log_in(pilot))

    @property
    def pilots(self) -> list[int]:
        return [pilot.character_id for pilot in self.simulated.simulator.universe.demo_characters]

    async def log_in(self, pilot: int) -> None:
        async with Player(self.url) as player:
            assert (await player.log_in(pilot)).status == 302

    # What is stored, and what ought to be.

    @property
    def is_sqlite(self) -> bool:
        return self.settings["DATABASE_URL"].startswith("sqlite")

    def sql(self, statement: str, parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Run SQL from outside, over one connection that is opened anew when the server went away."""
        if self.is_sqlite:
            path = self.settings["DATABASE_URL"].removeprefix("sqlite:///")
            with contextlib.closing(sqlite3.connect(path, timeout=10)) as file:
                found = file.execute(statement.replace("%s", "?"), parameters).fetchall()
                file.commit()
                return found
        for attempt in (1, 2):
            try:
                if self._database is None:
                    url = self.settings["DATABASE_URL"] + "?application_name=chaos"
                    self._database = psycopg2.connect(url)
                    self._database.autocommit = True
                cursor = self._database.cursor()
                cursor.execute(statement, parameters or None)
                return cursor.fetchall() if cursor.description else []
            except psycopg2.Error:
                self._database = None
                if attempt == 2:
                    raise
        raise AssertionError("unreachable")

    def stored(self) -> int:
        return int(self.sql("SELECT count(*) FROM killmail")[0][0])

    def listed(self) -> dict[int, str]:
        """Every killmail that the lists of those who logged in name now."""

        def collect(simulator: Any) -> dict[int, str]:
            found: dict[int, str] = {}
            for pilot in self.pilots:
                found.update(simulator.universe.listed("character", pilot, simulator.clock.now()))
            return found

        found: dict[int, str] = self.simulated.call(collect)
        return found

    def missing(self, expected: dict[int, str]) -> set[int]:
        return set(expected) - {number for (number,) in self.sql("SELECT killmail_id FROM killmail")}

    def no_more_kills(self) -> None:
        self.simulated.call(lambda simulator: simulator._arrivals and simulator._arrivals.cancel())

    def depths(self, suffix: str = "") -> dict[str, int]:
        """Messages ready in each queue, or in its delayed (".DQ") or dead (".XQ") one."""
        connection = pika.BlockingConnection(pika.URLParameters(self.settings["BROKER_URL"]))
        try:
            channel = connection.channel()
            return {
                name: channel.queue_declare(name + suffix, passive=True).method.message_count for name in QUEUES
            }  # fmt: skip
        finally:
            connection.close()

    def recover(self, ended: float, seconds: float) -> float:
        """Seconds from *ended* (monotonic) until all that was listed now is stored."""
        expected = self.listed()
        wait_until(
            lambda: not self._missing_or_away(expected), f"all {len(expected)} listed killmails are stored", seconds
        )
        return time.monotonic() - ended

    def _missing_or_away(self, expected: dict[int, str]) -> bool:
        try:
            return bool(self.missing(expected))
        except (psycopg2.Error, sqlite3.Error):
            return True

    def compare(self, verdict: Verdict, *, dead: int | range, counted: bool = False) -> None:
        """Let no more kills come, wait for the last, and compare everything.

        Args:
            dead: dead letters there have to be, or how many there may be.
            counted: whether tries may be counted against killmails beside the one that brought them.
        """
        self.no_more_kills()
        expected = self.listed()
        say = verdict.problems.append
        for condition, what, patience in (
            (lambda: not self.missing(expected), "the last kills are stored", 60),
            (lambda: self.unnamed() == 0, "everything is named", 150),
            (lambda: self.get("/readyz")[0] == 200, "readyz is true again", 30),
            (lambda: self.depths()["esi_killmail_details_queue"] == 0, "the queue is empty", 60),
        ):
            try:
                wait_until(condition, what, patience)
            except AssertionError as error:
                say(str(error))
        verdict.listed, verdict.stored = len(expected), self.stored()
        verdict.lost = len(self.missing(expected))
        for killmail_id, killmail_hash in expected.items():
            body = self.simulated.simulator.universe.body(killmail_id)
            found = stored_killmail(self.sql, killmail_id, "%s")
            if found is not None and found != served_killmail(body, killmail_hash):
                say(f"killmail {killmail_id} is not whole")
        self._check_log(expected, verdict)
        if (parked := self.parked()) not in (dead if isinstance(dead, range) else (dead,)):
            say(f"{parked} dead letters instead of {dead}")
        if invalid := self.sql("SELECT count(*) FROM killmail_ref WHERE state = 'invalid'")[0][0]:
            say(f"{invalid} right killmails are called invalid")
        if not counted and (most := self.sql("SELECT max(attempts) FROM killmail_ref")[0][0]) > 1:
            say(f"{most} tries were counted against a killmail")
        if strangers := {n for (n,) in self.sql("SELECT killmail_id FROM killmail")} - set(expected):
            say(f"{len(strangers)} killmails are stored that no list named")

    def parked(self) -> int:
        """Dead letters."""
        return sum(self.depths(".XQ").values())

    def unnamed(self) -> int:
        return sum(int(self.sql(f"SELECT count(*) FROM {table} WHERE name IS NULL")[0][0]) for table in NAMES)

    def _check_log(self, expected: dict[int, str], verdict: Verdict) -> None:
        assert self.subscriber is not None
        log = self.sql("SELECT sequence, killmail_id FROM killmail_log ORDER BY sequence")
        written = Counter(killmail_id for _, killmail_id in log)
        heard = self.subscriber.heard
        if missing := {n for (n,) in self.sql("SELECT killmail_id FROM killmail")} - set(written):
            verdict.problems.append(f"{len(missing)} stored killmails have no number")
        if [sequence for sequence, _ in log] != list(range(1, len(log) + 1)):
            verdict.problems.append("the log has gaps")
        with contextlib.suppress(AssertionError):
            wait_until(lambda: set(heard) >= set(expected), "the subscriber has heard of all", 15)
        assert self.reader is not None
        with contextlib.suppress(AssertionError):
            wait_until(lambda: len(self.reader.entries) >= len(log), "the feed's reader has all", 15)
        if [(entry["sequence_id"], entry["killmail_id"]) for entry in self.reader.entries] != log:
            verdict.problems.append(
                f"the feed's reader has {len(self.reader.entries)} entries that are not the log's {len(log)}"
            )
        assert self.stream is not None
        with contextlib.suppress(AssertionError):
            wait_until(lambda: len(self.stream.told) >= len(log), "the stream has told all", 15)
        verdict.problems += self.stream.problems(log)
        assert self.channel is not None
        self.channel.check(verdict, log)
        if self.subscriber.jumps:
            verdict.problems.append(f"the subscriber was told out of order: {self.subscriber.jumps[:5]}")
        verdict.doubled = sum(count - 1 for count in written.values()) + sum(count - 1 for count in heard.values())
        verdict.told = len(heard)
        if untold := set(expected) - set(heard):
            verdict.problems.append(f"the subscriber did not hear of {len(untold)}")
        if early := set(heard) - set(expected):
            verdict.problems.append(f"the subscriber heard of {len(early)} that are not stored")

    def end(self) -> None:
        """Stop everything."""
        self._stopped.set()
        with self._lock:
            self._commands.clear()
        if self.subscriber is not None:
            self.subscriber.stop()
        self._reading.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.stop_all()
        if self._database is not None:
            self._database.close()
