"""The short form of `make chaos`: a few faults on the machine's own services, with the whole comparison at the end."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from tests.chaos.broker import connections_cut
from tests.chaos.database import connections_killed
from tests.chaos.play import Fault, Stage, play
from tests.chaos.processes import STEPS, kill_at
from tests.chaos.report import is_kept
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


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_nothing_is_lost_or_doubled_when(fault: Fault) -> None:
    import dataclasses

    verdict = play(dataclasses.replace(fault, config={**fault.config, **FEW}))
    assert is_kept(verdict), verdict
    assert verdict.listed >= 120
