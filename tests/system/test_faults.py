"""The short form of `make chaos`: a few faults on the machine's own services, with the whole comparison at the end."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from typing import Any

import pytest

from tests.chaos import schedule
from tests.chaos.__main__ import FAULTS as SUITE
from tests.chaos.broker import connections_cut
from tests.chaos.database import connections_killed
from tests.chaos.mix import MIX
from tests.chaos.play import Fault, Stage, play
from tests.chaos.processes import STEPS, kill_at
from tests.chaos.report import is_kept
from tests.chaos.witnesses import WITNESSES
from tests.support.deployment import environment
from tests.support.resources import PROJECT


def services_break_off(stage: Stage) -> None:
    """PostgreSQL cuts every connection, the listener's too, then RabbitMQ, then the scheduler dies."""
    connections_killed(stage)
    stage.flow(5)
    connections_cut(stage)
    stage.flow(5)
    stage.world.kill("scheduler")
    time.sleep(0.5)


#: Seconds in which faults begin in the short form of random faults.
SHORT_SECONDS = 6.0
FEW = {"kills": (120, 60, 30)}
FAULTS = (
    kill_at("before the commit", STEPS["before the commit"]),
    kill_at("after the commit", STEPS["after the commit"]),
    Fault("services break off", "", "", services_break_off, restarts=True),
)


@pytest.mark.parametrize("step", STEPS)
def test_each_step_at_which_a_worker_is_killed_is_one_of_the_code(step: str) -> None:
    code = f"from tests.chaos import hooks; hooks.kill_at({step!r})"
    values = environment(DATABASE_URL="sqlite:///:memory:", BROKER_URL="memory://")
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, env=values, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.waits
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_nothing_is_lost_or_doubled_when(fault: Fault) -> None:
    import dataclasses

    verdict = play(dataclasses.replace(fault, config={**fault.config, **FEW}))
    assert is_kept(verdict), verdict
    assert verdict.listed >= 120


@pytest.mark.waits
def test_nothing_is_lost_or_doubled_when_several_things_go_wrong_at_random_moments() -> None:
    """Other faults each time; `python -m tests.chaos --random --seed SEED` plays longer ones with services of their own."""
    seed = random.SystemRandom().randrange(1_000_000)
    steps = schedule.draw(seed, SHORT_SECONDS, own=False, between=1.5)
    played = schedule.play(seed, steps)
    assert played.kept, schedule.describe(played)
    assert played.verdict.listed >= 120 and len(played.seen) == 1 + len(WITNESSES)


def test_a_seed_draws_the_same_faults_each_time_and_others_than_another() -> None:
    drawn = [schedule.draw(seed) for seed in range(40)]
    assert drawn == [schedule.draw(seed) for seed in range(40)] and len(set(drawn)) == 40
    assert {step.name for steps in drawn for step in steps} == set(MIX), "each fault of the suite has its turn"
    assert not any(MIX[step.name].own for seed in range(40) for step in schedule.draw(seed, own=False))


def test_every_fault_of_the_suite_is_among_the_random_ones() -> None:
    """But those that need a clock, a file or a disk of their own, or that leave other workers than they found."""
    alone = {
        "SQLite locked", "disk full under PostgreSQL", "disk full under SQLite", "deadlocks", "workers restarted in turn",
    }  # fmt: skip
    other_names = {
        "worker told to stop in a sync": "worker told to stop", "clocks that differ by 2 minutes": "a worker two minutes ahead",
        "ESI down for 10 minutes": "ESI down", "answers after 20 s": "answers after 8 s",
        "tokens revoked in a walk": "a token revoked",
    }  # fmt: skip
    for fault in SUITE:
        name = other_names.get(fault.name, fault.name)
        assert name in MIX or name.replace("worker killed", "a worker killed") in MIX or name in alone, name


def test_a_schedule_that_fails_is_cut_down_to_the_faults_that_make_it_fail() -> None:
    steps = schedule.draw(7)
    guilty = {steps[2], steps[9]}
    tried: list[int] = []

    def fails(some: Any) -> bool:
        tried.append(len(some))
        return guilty <= set(some)

    assert set(schedule.shrink(steps, fails)) == guilty
    assert len(tried) <= 40
