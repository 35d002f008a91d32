"""Faults of Killsync's own processes: killed at each step, stopped in the middle, doubled, with a wrong clock."""

from __future__ import annotations

import signal
import time

from killsync.sso.refresh import MARGIN
from tests.chaos.play import Fault, Stage
from tests.support.deployment import wait_until

STEPS = {
    "before the ledger": "a page was read, nothing is noted",
    "inside the ledger's transaction": "the ids are inserted, not committed",
    "after the ledger": "the ids are committed, the page's ETag is not remembered",
    "after the page is remembered": "the ETag is remembered, the cursor stands before the page",
    "before the commit": "a killmail is inserted, not committed",
    "after the commit": "a killmail is committed, its message still open",
    "before the ack": "a message is done, not acknowledged",
    "while the token is refreshed": "the new token is stored, nothing asked with it",
    "after killmails are claimed": "the ledger says sent, no message was sent",
}


def _killed(stage: Stage) -> None:
    wait_until(stage.world.mark.exists, "the worker reaches the step", 90)


def kill_at(step: str, state: str) -> Fault:
    return Fault(
        f"worker killed {step}", "goes on where it stood; nothing twice",
        f"SIGKILL when {state}; the supervisor starts it again", _killed, hooks={"CHAOS_KILL_AT": step}, restarts=True,
    )  # fmt: skip


def all_workers_killed(stage: Stage) -> None:
    stage.world.kill("worker")
    time.sleep(0.5)


def scheduler_killed(stage: Stage) -> None:
    stage.world.kill("scheduler")
    time.sleep(0.5)


def web_killed(stage: Stage) -> None:
    stage.world.kill("web")
    subscriber = stage.world.subscriber
    assert subscriber is not None
    wait_until(lambda: not subscriber.is_open.is_set(), "the subscriber notices", 10)
    assert subscriber.is_open.wait(60), "the subscriber is back"
    heard = len(subscriber.heard)
    wait_until(lambda: len(subscriber.heard) > heard, "it hears of new killmails", 60)


def worker_told_to_stop(stage: Stage) -> None:
    """SIGTERM while lists are walked and details asked for: it ends within the time limit, and hands back what it had."""
    world = stage.world
    began = time.monotonic()
    code = world.stop("worker", signal.SIGTERM, wait_seconds=30)
    assert code == 0, f"exit code {code}"
    assert time.monotonic() - began < 30, "it ends in time"
    world.run_procfile("worker")


def workers_restarted_in_turn(stage: Stage) -> None:
    """As an upgrade restarts them: the new ones start beside the old ones, which are told to stop, and so once more."""
    world = stage.world
    for old, new in (("worker", "worker-new"), ("worker-new", "worker-newer")):
        world.run_procfile("worker", new)
        wait_until(lambda new=new: world.log(new).count("worker started") >= 2, "it starts", 60)
        code = world.stop(old, signal.SIGTERM, wait_seconds=30)
        assert code == 0, f"exit code {code}"
    stage.flow(10)


def two_schedulers(stage: Stage) -> None:
    """A second scheduler ticks only when the first one, killed without a word, has lost its lease."""
    world = stage.world
    world.run_procfile("scheduler", "second-scheduler")
    time.sleep(8)
    leads = [name for name in ("scheduler", "second-scheduler") if "this scheduler ticks" in world.log(name)]
    assert leads == ["scheduler"], f"these tick: {leads}"
    world.stop("scheduler", signal.SIGKILL)
    wait_until(lambda: "this scheduler ticks" in world.log("second-scheduler"), "the second takes over", 25)


def another_clock(stage: Stage) -> None:
    world = stage.world
    world.run_procfile("worker", "worker-ahead", CHAOS_SKEW="120")
    world.run_procfile("worker", "worker-behind", CHAOS_SKEW="-120")
    wait_until(lambda: world.log("worker-ahead").count("worker started") >= 2, "it starts", 60)
    wait_until(lambda: world.log("worker-behind").count("worker started") >= 2, "it starts", 60)
    world.stop("worker")
    for name in ("worker-ahead", "worker-behind"):
        walked = world.log(name).count("pages done")
        wait_until(
            lambda name=name, walked=walked: world.log(name).count("pages done") > walked + 2, f"{name} walks", 60
        )
    assert "not usable" not in world.logs(), "a token was called unusable"
    stage.flow(10)


FAULTS = (
    *(kill_at(step, state) for step, state in STEPS.items()),
    Fault("all workers killed", "others take over at once", "SIGKILL of the worker with its processes",
          all_workers_killed, restarts=True),
    Fault("scheduler killed", "ticks go on within its lease of 15 s", "SIGKILL; the supervisor starts it again",
          scheduler_killed, restarts=True),
    Fault("web killed", "subscribers read on where they were", "SIGKILL; the supervisor starts it again",
          web_killed, restarts=True),
    Fault("worker told to stop in a sync", "ends within 30 s, hands back what it had", "SIGTERM while lists are walked",
          worker_told_to_stop, config={"latency": 0.3}),
    Fault("workers restarted in turn", "nothing lost, nothing waits", "new workers beside the old ones, SIGTERM of those; twice",
          workers_restarted_in_turn, config={"latency": 0.3}),
    Fault("two schedulers", "one ticks; the other takes over", "a second scheduler, then SIGKILL of the first",
          two_schedulers),
    Fault("clocks that differ by 2 minutes", "no killmail lost or late", "workers 2 min ahead and 2 min behind only",
          another_clock, config={"access_token_seconds": MARGIN.total_seconds() + 25.0}),
)  # fmt: skip
