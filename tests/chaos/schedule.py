"""`python -m tests.chaos --random`: several faults at once at random moments, drawn by a seed; one that breaks a promise is
played again and cut down to the fewest faults that still break it."""

from __future__ import annotations

import asyncio
import contextlib
import random
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pika.exceptions
import psycopg2

import simulator
from tests.chaos.broker import SHORT_CLAIMS
from tests.chaos.esi import SHORT_TOKENS
from tests.chaos.mix import MIX, Mixed
from tests.chaos.play import CONFIG, SETTINGS, Stage, database_of, keep_logs, vhost_of
from tests.chaos.report import is_kept
from tests.chaos.services import Postgres, Rabbit
from tests.chaos.witnesses import WITNESSES
from tests.chaos.world import Verdict, World
from tests.support.deployment import wait_until

#: Seconds of one schedule, and the mean time between two of its faults.
SECONDS, BETWEEN = 60.0, 4.0
#: The longest that everything may take to recover from the last of them, seconds.
RECOVERY_SECONDS = 240.0
#: What else there is to play with; history is short so that a schedule is.
WORLD = {**CONFIG, **SHORT_TOKENS, "kills": (120, 60, 30)}


@dataclass(frozen=True)
class Step:
    """A fault of `MIX` so many seconds after the beginning."""

    at: float
    name: str


@dataclass
class Played:
    """What came of a schedule."""

    seed: int
    steps: tuple[Step, ...]
    verdict: Verdict
    seen: list[str] = field(default_factory=list)

    @property
    def kept(self) -> bool:
        return is_kept(self.verdict)


_NOT_TAKEN = "SELECT 1 FROM sync_run WHERE status = 'queued'"


def draw(seed: int, seconds: float = SECONDS, *, own: bool = True, between: float = BETWEEN) -> tuple[Step, ...]:
    """The schedule of *seed*, the same each time. Without services of its *own* it stops and wipes none."""
    chance = random.Random(seed)
    steps: list[Step] = []
    at = 0.0
    while (at := at + chance.expovariate(1.0 / between)) < seconds:
        drawn = Counter(step.name for step in steps)
        names = [name for name, mixed in MIX.items() if (own or not mixed.own) and drawn[name] < mixed.most]
        steps.append(Step(round(at, 1), chance.choice(names)))
    return tuple(steps)


def play(seed: int, steps: Sequence[Step], postgres: Postgres | None = None, rabbit: Rabbit | None = None) -> Played:
    """Play a schedule on the given services, or on the machine's, and compare everything."""
    verdict = Verdict()
    played = Played(seed, tuple(steps), verdict)
    with tempfile.TemporaryDirectory(prefix="killsync-chaos-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)
        handle = simulator.run_in_thread(simulator.SimulatorConfig(**WORLD))
        stack.callback(handle.stop)
        settings = {
            **SETTINGS,
            "DATABASE_URL": stack.enter_context(database_of("postgres", folder, postgres)),
            "BROKER_URL": stack.enter_context(vhost_of(rabbit)),
        }  # fmt: skip
        world = World(folder, handle, **settings)
        stack.callback(world.end)
        world.command("killsync", "migrate")
        try:
            world.begin(SHORT_CLAIMS)
            stage = Stage(world, postgres, rabbit, folder)
            # Claims of users are not shortened: who loses the message of a login before anybody took it waits for 15 minutes,
            # as docs/reliability.md says.
            wait_until(lambda: not world.sql(_NOT_TAKEN), "a worker has taken the first syncs", 120)
            for witness in WITNESSES:
                stage.witnesses.append(witness(world))
                stack.callback(stage.witnesses[-1].end)
            verdict.problems += _make(stage, steps)
            handle.call(lambda simulator: simulator.faults.clear())
            with _logging_in_again(world) as again:
                verdict.seconds = world.recover(time.monotonic(), RECOVERY_SECONDS)
            played.seen.append(f"{len(again)} logins again")
            dead = sum(MIX[step.name].dead for step in steps)
            world.compare(verdict, dead=range(dead + 1), counted=True)
            for each in stage.witnesses:
                verdict.problems += each.missed(world.listed())
                played.seen.append(each.seen())
        except (AssertionError, psycopg2.Error, OSError) as error:
            verdict.problems.append(f"{type(error).__name__}: {error}")
        if not played.kept:
            keep_logs(f"random {seed}", world)
    return played


@contextlib.contextmanager
def _logging_in_again(world: World) -> Iterator[list[int]]:
    """Who has lost a token logs in as soon as that shows, as players do; the characters. An answer of the SSO's that was cut
    short takes with it the refresh token that it replaced, which docs/reliability.md says."""
    lost = "SELECT character_id FROM \"user\" WHERE status <> 'active' OR doubted_until IS NOT NULL"
    again: list[int] = []
    ended = threading.Event()

    def log_in() -> None:
        while not ended.wait(2.0):
            with contextlib.suppress(psycopg2.Error, OSError, AssertionError, aiohttp.ClientError):
                database = psycopg2.connect(world.settings["DATABASE_URL"])
                with contextlib.closing(database), database.cursor() as cursor:
                    cursor.execute(lost)
                    found = [number for (number,) in cursor.fetchall()]
                for character_id in found:
                    asyncio.run(world.log_in(character_id))
                    again.append(character_id)

    thread = threading.Thread(target=log_in, daemon=True)
    thread.start()
    try:
        yield again
    finally:
        ended.set()
        thread.join(timeout=30)


def _make(stage: Stage, steps: Sequence[Step]) -> list[str]:
    """Make the faults at their moments, each in a thread; what is wrong about how they went."""
    locks = {mixed.on: threading.Lock() for mixed in MIX.values()}
    began, problems, threads = time.monotonic(), [], []

    def make(name: str, mixed: Mixed) -> None:
        with locks[mixed.on]:
            try:
                mixed.make(stage)
            except (psycopg2.Error, pika.exceptions.AMQPError, OSError, RuntimeError):
                pass  # what it needed itself was away because of another fault
            except Exception as error:
                problems.append(f"{name}: {type(error).__name__}: {error}")

    for step in steps:
        time.sleep(max(0.0, began + step.at - time.monotonic()))
        threads.append(threading.Thread(target=make, args=(step.name, MIX[step.name]), daemon=True))
        threads[-1].start()
    for thread in threads:
        thread.join(timeout=300)
    return problems


def shrink(steps: Sequence[Step], fails: Callable[[Sequence[Step]], bool], most: int = 40) -> tuple[Step, ...]:
    """The fewest of *steps* that still fail, by leaving out halves, then quarters, then each; at most so many tries."""
    left, size = list(steps), max(1, len(steps) // 2)
    while most > 0:
        start = 0
        while start < len(left) and most > 0 and len(left) > 1:
            without = left[:start] + left[start + size :]
            most -= 1
            if without and fails(without):
                left = without
            else:
                start += size
        if size == 1:
            break
        size = max(1, size // 2)
    return tuple(left)


def run(postgres: Postgres, rabbit: Rabbit, seed: int | None, minutes: float) -> int:
    """Play schedules for *minutes*, of *seed* alone or of a new one each time; the exit code."""
    until = time.monotonic() + minutes * 60
    total: Counter[str] = Counter()
    chance = random.SystemRandom()
    while True:
        number = seed if seed is not None else chance.randrange(1_000_000)
        steps = draw(number)
        played = play(number, steps, postgres, rabbit)
        verdict = played.verdict
        print(describe(played), flush=True)
        total.update(
            schedules=1, faults=len(steps), listed=verdict.listed, stored=verdict.stored, lost=verdict.lost,
            doubled=verdict.doubled, told=verdict.told, broken=not played.kept,
        )  # fmt: skip
        if not played.kept:
            again = play(number, steps, postgres, rabbit)
            print(f"again: {describe(again)}", flush=True)
            if not again.kept:
                fewest = shrink(steps, lambda some, number=number: not play(number, some, postgres, rabbit).kept)
                print("fewest faults: " + ", ".join(f"{step.name} at {step.at} s" for step in fewest), flush=True)
                break
        if seed is not None or time.monotonic() > until:
            break
    print(", ".join(f"{number} {name}" for name, number in total.items()))
    return int(total["broken"] > 0)


def describe(played: Played) -> str:
    """A schedule and what came of it, in words."""
    verdict = played.verdict
    lines = [
        f"{'ok ' if played.kept else 'BAD'} --seed {played.seed}: {len(played.steps)} faults, {verdict.listed} listed, "
        f"{verdict.stored} stored, {verdict.doubled} doubled, {verdict.lost} lost, {verdict.told} told, "
        f"{verdict.seconds:.1f} s to recover; {'; '.join(played.seen)}",
        *(f"      {step.at:5.1f} s {step.name}" for step in played.steps if not played.kept),
        *(f"      problem: {problem}" for problem in verdict.problems),
    ]
    return "\n".join(lines)
