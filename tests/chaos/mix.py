"""The faults of the suite in the form in which several happen at once: none waits for an effect that another may hide."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

import psycopg2

from simulator import Fault as Trouble
from tests.chaos import broker, database, esi, processes
from tests.chaos.play import Stage
from tests.chaos.witnesses import WebhookReceiver
from tests.support.deployment import wait_until


@dataclass(frozen=True)
class Mixed:
    """A fault among others.

    Attributes:
        make: makes it and returns when it is over.
        on: what it happens to; of one such thing there is one fault at a time.
        own: it stops or wipes a service, which only the suite's own ones allow.
        dead: dead letters it may leave.
        most: how often a schedule may hold it.
    """

    make: Callable[[Stage], object]
    on: str
    own: bool = False
    dead: int = 0
    most: int = 100


def _esi(seconds: float, *troubles: Callable[[], Trouble]) -> Callable[[Stage], None]:
    return lambda stage: esi.trouble(stage, seconds, *(trouble() for trouble in troubles))


def _for_a_while(stage: Stage, process: str, alias: str, seconds: float, **hooks: str) -> None:
    """Have one more process for some seconds. It is started again when it dies, as any other."""
    stage.world.run_procfile(process, alias, **{**broker.SHORT_CLAIMS, **hooks})
    time.sleep(seconds)
    with contextlib.suppress(KeyError):
        stage.world.stop(alias, signal.SIGKILL if process == "scheduler" else signal.SIGTERM)


def _killed_at(step: str) -> Mixed:
    def make(stage: Stage) -> None:
        mark = stage.folder / f"killed-{time.monotonic_ns()}"
        _for_a_while(stage, "worker", "another-worker", 15.0, CHAOS_KILL_AT=step, CHAOS_MARK=str(mark))

    return Mixed(make, "another worker")


def _down(stage: Stage) -> None:
    stage.sim(lambda simulator: setattr(simulator, "is_down", True))
    time.sleep(12)
    stage.sim(lambda simulator: setattr(simulator, "is_down", False))


def _hashes_refused(stage: Stage) -> None:
    """422 for right hashes, and two hours pass as the ledger sees them."""
    esi.trouble(stage, 6, Trouble("/killmails/*", "status", 422, count=10))
    back = (
        "UPDATE killmail_ref SET due_at = due_at - interval '2 hours', refused_at = refused_at - interval '2 hours' "
        "WHERE refused_at > clock_timestamp() - interval '1 hour' AND state = 'pending'"
    )
    # Answers that are still being recorded as well.
    for _ in range(20):
        _done(lambda: stage.world.sql(back))
        time.sleep(1)


def _done(work: Callable[[], object]) -> bool:
    try:
        work()
    except (TimeoutError, psycopg2.Error, AssertionError, OSError):
        return False
    return True


def _revoked(stage: Stage) -> None:
    pilot = random.choice(stage.world.pilots[:3])
    stage.sim(lambda simulator: simulator.sso.revoke_character(pilot))
    time.sleep(4)
    wait_until(lambda: _done(lambda: asyncio.run(stage.world.log_in(pilot))), "the pilot logs in again", 90)


def _worker_told_to_stop(stage: Stage) -> None:
    code = stage.world.stop("worker", signal.SIGTERM, wait_seconds=40)
    stage.world.run_procfile("worker", **broker.SHORT_CLAIMS)
    assert code == 0, f"a worker told to stop ended with {code}"


def _queues_purged(stage: Stage) -> None:
    with contextlib.suppress(AssertionError):  # that nothing was in them
        broker.queues_purged(stage)


def _each_several_times(stage: Stage) -> None:
    broker.each_five_times(stage)


def _poison(stage: Stage) -> None:
    bodies = [b"\xff\x00", b"[]", broker.message(broker.DETAILS, "actor_of_another_version", killmail_id=1)]
    broker.publish(stage, broker.DETAILS, *bodies)


def _newer_messages(stage: Stage) -> None:
    newer = {"colour": "red", "more_of_it": [1, 2]}
    for actor in ("enqueue_due_users", "sweep", "dispatch_killmails"):
        broker.publish(stage, broker.ENQUEUE, broker.message(broker.ENQUEUE, actor, **newer))


def _restarted(stage: Stage) -> None:
    assert stage.rabbit is not None
    stage.rabbit.stop()
    time.sleep(5)
    stage.rabbit.start()


def _receiver_unwell(stage: Stage) -> None:
    for witness in stage.witnesses:
        if isinstance(witness, WebhookReceiver):
            witness.receiver.script += [500, "reset", (429, {"Retry-After": "2"}, ""), 3.0]


MIX: dict[str, Mixed] = {
    **{f"a worker killed {step}": _killed_at(step) for step in processes.STEPS},
    "all workers killed": Mixed(processes.all_workers_killed, "worker"),
    "worker told to stop": Mixed(_worker_told_to_stop, "worker"),
    "scheduler killed": Mixed(processes.scheduler_killed, "scheduler"),
    "two schedulers": Mixed(lambda stage: _for_a_while(stage, "scheduler", "second-scheduler", 8.0), "scheduler"),
    "web killed": Mixed(lambda stage: stage.world.kill("web"), "web"),
    "a worker two minutes ahead": Mixed(
        lambda stage: _for_a_while(stage, "worker", "another-worker", 15.0, CHAOS_SKEW="120"), "another worker"
    ),
    "a worker two minutes behind": Mixed(
        lambda stage: _for_a_while(stage, "worker", "another-worker", 15.0, CHAOS_SKEW="-120"), "another worker"
    ),
    "RabbitMQ stopped and started": Mixed(_restarted, "rabbitmq", own=True),
    "RabbitMQ killed": Mixed(broker.crashed, "rabbitmq", own=True),
    "RabbitMQ's data wiped": Mixed(broker.wiped, "rabbitmq", own=True),
    "connections to RabbitMQ cut": Mixed(broker.connections_cut, "rabbitmq"),
    "queues purged": Mixed(_queues_purged, "rabbitmq"),
    "the same message five times": Mixed(_each_several_times, "rabbitmq"),
    "messages of another version": Mixed(_newer_messages, "rabbitmq"),
    "poison messages": Mixed(_poison, "rabbitmq", dead=3),
    "PostgreSQL restarted": Mixed(database.restarted, "postgresql", own=True),
    "PostgreSQL crashed": Mixed(database.crashed, "postgresql", own=True),
    "connections to PostgreSQL killed": Mixed(database.connections_killed, "postgresql"),
    "PostgreSQL out of connections": Mixed(database.out_of_connections, "postgresql", own=True),
    "ESI down": Mixed(_down, "ESI"),
    "half of all answers are 502": Mixed(
        _esi(12, lambda: Trouble("*killmails*", "html", 502, probability=0.5)), "answers"
    ),
    "422 for right hashes": Mixed(_hashes_refused, "answers", most=1),
    "420, the error limit": Mixed(_esi(4, lambda: Trouble("/killmails/*", "status", 420, count=2)), "answers", most=1),
    "429 without headers": Mixed(
        _esi(10, lambda: Trouble("*killmails*", "no headers 429", probability=0.3)), "answers"
    ),
    "bodies cut short": Mixed(_esi(10, lambda: Trouble("*", "cut", probability=0.3)), "bodies"),
    "answers after 8 s": Mixed(_esi(12, lambda: Trouble("*killmails*", "latency", seconds=8.0)), "latency"),
    "EVE SSO down": Mixed(
        _esi(12, lambda: Trouble("/v2/oauth/token", "html", 502), lambda: Trouble("/.well-known/*", "html", 502)), "SSO"
    ),
    "refreshes answered 500": Mixed(_esi(12, lambda: Trouble("/v2/oauth/token", "status", 500)), "SSO"),
    "a token revoked": Mixed(_revoked, "SSO", most=1),
    "a receiver unwell": Mixed(_receiver_unwell, "receiver", most=2),
}  # fmt: skip
