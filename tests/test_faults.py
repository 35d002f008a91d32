"""The short form of `make chaos`: a few faults on the machine's own services, with the whole comparison at the end."""

from __future__ import annotations

import time

import pytest

from tests.chaos.broker import connections_cut
from tests.chaos.database import connections_killed
from tests.chaos.play import Fault, Stage, play
from tests.chaos.processes import STEPS, kill_at
from tests.chaos.report import is_kept


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
    Fault("services break off", "", "", services_break_off, restarts=True),
)


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_nothing_is_lost_or_doubled_when(fault: Fault) -> None:
    import dataclasses

    verdict = play(dataclasses.replace(fault, config={**fault.config, **FEW}))
    assert is_kept(verdict), verdict
    assert verdict.listed >= 120
