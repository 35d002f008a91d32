"""Plays one fault: a fresh database and virtual host, everything started, the fault while killmails flow, the comparison."""

from __future__ import annotations

import contextlib
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg2

import simulator
from tests.chaos.services import Postgres, Rabbit
from tests.chaos.world import Verdict, World
from tests.support.deployment import wait_until
from tests.support.resources import postgres_database, rabbitmq_vhost

CONFIG: dict[str, Any] = {
    "kills": (240, 120, 60), "latency": 0.02, "list_cache_seconds": 3.0, "new_kill_interval": 0.8, "limits": False,
}  # fmt: skip
SETTINGS = {"SYNC_INTERVAL_SECONDS": "3", "LOG_LEVEL": "INFO", "WEBHOOK_ALLOW_PRIVATE": "1"}


class Skipped(Exception):
    """This fault cannot be made on this machine; the text says why."""


@dataclass(frozen=True)
class Fault:
    """One fault: what is promised under it, how it is made, and what it may change.

    Attributes:
        name: what goes wrong.
        promise: what Killsync promises then.
        how: how the suite makes it.
        make: makes it and returns when it is over.
        config, settings, hooks: for the simulator, the deployment and the workers.
        restarts: whether processes may end by themselves and be started again.
        dead: dead letters it leaves.
        counted: whether tries may be counted against killmails.
        seconds: the longest it may take to recover.
        services: "own" when it stops or wipes a service, which only the suite's own ones allow.
        database: "postgres", "sqlite", "small postgres" or "small sqlite" (on a few megabytes).
    """

    name: str
    promise: str
    how: str
    make: Callable[[Stage], None]
    config: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)
    hooks: dict[str, str] = field(default_factory=dict)
    restarts: bool = False
    dead: int = 0
    counted: bool = False
    seconds: float = 90.0
    services: str = "any"
    database: str = "postgres"


@dataclass
class Stage:
    """What a fault has to play with."""

    world: World
    postgres: Postgres | None
    rabbit: Rabbit | None
    folder: Path
    witnesses: list[Any] = field(default_factory=list)

    @property
    def vhost(self) -> str:
        return self.world.settings["BROKER_URL"].rsplit("/", 1)[1]

    def sim(self, work: Callable[[simulator.Simulator], Any]) -> Any:
        return self.world.simulated.call(work)

    def flow(self, more: int = 10) -> None:
        """Wait until *more* killmails than now are stored."""
        goal = self.world.stored() + more
        wait_until(lambda: self.world.stored() >= goal, "killmails flow", 60)


def play(fault: Fault, postgres: Postgres | None = None, rabbit: Rabbit | None = None) -> Verdict:
    """Play *fault* on the given services, or on the machine's; what came of it.

    Raises:
        Skipped: it cannot be made here.
    """
    verdict = Verdict()
    with tempfile.TemporaryDirectory(prefix="killsync-chaos-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)
        handle = simulator.run_in_thread(simulator.SimulatorConfig(**{**CONFIG, **fault.config}))
        stack.callback(handle.stop)
        database = stack.enter_context(database_of(fault.database, folder, postgres))
        broker = stack.enter_context(vhost_of(rabbit))
        settings = {**SETTINGS, **fault.settings, "DATABASE_URL": database, "BROKER_URL": broker}
        world = World(folder, handle, **settings)
        stack.callback(world.end)
        world.command("killsync", "migrate")
        hooks = {key: value.format(started=handle.simulator.clock._started) for key, value in fault.hooks.items()}
        try:
            world.begin(hooks)
            stage = Stage(world, postgres, rabbit, folder)
            if "CHAOS_KILL_AT" not in fault.hooks:
                stage.flow()
            fault.make(stage)
            verdict.seconds = world.recover(time.monotonic(), fault.seconds)
        except AssertionError as error:
            verdict.problems.append(str(error) or repr(error))
        world_restarts = world.restarts
        world.compare(verdict, dead=fault.dead, counted=fault.counted)
        if world_restarts and not fault.restarts:
            verdict.problems.append(f"{world_restarts} processes ended by themselves")
        if verdict.problems or verdict.lost or verdict.doubled:
            keep_logs(fault.name, world)
    return verdict


#: What says how far the work is.
_STATE = (
    "SELECT count(*), min(now()) AS now FROM killmail",
    "SELECT * FROM killmail_ref WHERE killmail_id NOT IN (SELECT killmail_id FROM killmail) ORDER BY killmail_id LIMIT 50",
    "SELECT * FROM sync_run ORDER BY id DESC LIMIT 20",
    *(f"SELECT * FROM {table}" for table in ('"user"', "mail_list", "lease", "esi_bucket", "health", "log_reader")),
    "SELECT webhook_id, count(*) FROM webhook_delivery WHERE ended_at IS NULL GROUP BY webhook_id",
)


def keep_logs(name: str, world: World) -> None:
    """Keep what the processes printed, where their threads stand, and what the tables say, for whoever looks into it."""
    world.end_with_stacks()
    kept = Path(tempfile.gettempdir()) / "killsync-chaos-logs" / name.replace(" ", "-").replace("/", "-")
    kept.mkdir(parents=True, exist_ok=True)
    if not world.is_sqlite:
        with (kept / "tables.txt").open("w") as file, contextlib.suppress(psycopg2.Error):
            for query in _STATE:
                print(query, file=file)
                for (row,) in world.sql(f"SELECT row_to_json(each)::text FROM ({query}) each"):
                    print("   ", row, file=file)
    for log in world.folder.glob("*.log"):
        (kept / log.name).write_bytes(log.read_bytes())


@contextlib.contextmanager
def vhost_of(rabbit: Rabbit | None) -> Iterator[str]:
    """A virtual host of *rabbit*'s, or of the machine's."""
    if rabbit is None:
        with rabbitmq_vhost() as url:
            yield url
    else:
        name = f"chaos-{uuid.uuid4().hex[:8]}"
        rabbit.add_vhost(name)
        yield rabbit.url(name)
        with contextlib.suppress(RuntimeError):
            rabbit.control("delete_vhost", name)


@contextlib.contextmanager
def database_of(kind: str, folder: Path, postgres: Postgres | None) -> Iterator[str]:
    """A database of *postgres*'s, or of the machine's."""
    place = folder / "database"
    place.mkdir()
    with _small(place) if kind.startswith("small") else contextlib.nullcontext():
        if kind.endswith("sqlite"):
            yield f"sqlite:///{place / 'killsync.db'}"
        elif postgres is None:
            with postgres_database() as url:
                yield url
        else:
            name = f"chaos_{uuid.uuid4().hex[:8]}"
            if kind.startswith("small"):
                import shutil

                (place / "space").mkdir()
                shutil.chown(place / "space", "postgres", "postgres")
                postgres.sql(f"CREATE TABLESPACE {name} LOCATION '{place / 'space'}'")
            tail = f" TABLESPACE {name}" if kind.startswith("small") else ""
            postgres.sql(f"CREATE DATABASE {name}{tail}")
            try:
                yield postgres.url(name)
            finally:
                postgres.sql(f"DROP DATABASE {name} WITH (FORCE)")
                if tail:
                    postgres.sql(f"DROP TABLESPACE {name}")


@contextlib.contextmanager
def _small(place: Path) -> Iterator[None]:
    """A file system of a few megabytes at *place*."""
    import subprocess

    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(place)], capture_output=True, text=True
    )
    if done.returncode:
        raise Skipped(f"a small file system cannot be mounted: {done.stderr.strip()}")
    place.chmod(0o755)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True, timeout=30)
