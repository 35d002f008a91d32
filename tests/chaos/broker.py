"""Faults of RabbitMQ and of what it carries."""

from __future__ import annotations

import json
import time
import uuid
from typing import Any

import pika

from tests.chaos.play import Fault, Stage
from tests.support.deployment import wait_until
from tests.support.resources import rabbitmqctl

SYNC, DETAILS, ENQUEUE, ENRICHMENT = (
    "esi_user_killmails_queue", "esi_killmail_details_queue", "esi_enqueue_queue", "esi_enrichment_queue",
)  # fmt: skip
SHORT_CLAIMS = {"CHAOS_CLAIM_SECONDS": "20"}


def control(stage: Stage, *arguments: str) -> None:
    (stage.rabbit.control if stage.rabbit is not None else rabbitmqctl)(*arguments)


def connections_cut(stage: Stage) -> None:
    for _ in range(2):
        control(stage, "close_all_connections", "--vhost", stage.vhost, "a fault")
        time.sleep(1)


def queues_purged(stage: Stage) -> None:
    """Empty every queue in the moment in which no consumer holds anything."""
    purged = 0
    control(stage, "close_all_connections", "--vhost", stage.vhost, "so that nothing prefetched survives")
    connection = pika.BlockingConnection(pika.URLParameters(stage.world.settings["BROKER_URL"]))
    channel = connection.channel()
    until = time.monotonic() + 2
    while time.monotonic() < until:
        for queue in (SYNC, DETAILS, ENRICHMENT, ENQUEUE):
            for name in (queue, f"{queue}.DQ"):
                purged += channel.queue_purge(name).method.message_count
    connection.close()
    assert purged, "nothing was in the queues"


def stopped(stage: Stage) -> None:
    assert stage.rabbit is not None
    stage.rabbit.stop()
    wait_until(lambda: stage.world.get("/readyz")[0] == 503, "readyz says so", 15)
    time.sleep(10)
    stage.rabbit.start()


def crashed(stage: Stage) -> None:
    assert stage.rabbit is not None
    stage.rabbit.crash()
    time.sleep(2)
    stage.rabbit.start()


def wiped(stage: Stage) -> None:
    assert stage.rabbit is not None
    stage.rabbit.stop()
    stage.rabbit.wipe()
    stage.rabbit.start()
    stage.rabbit.add_vhost(stage.vhost)


def publish(stage: Stage, queue: str, *bodies: bytes) -> None:
    connection = pika.BlockingConnection(pika.URLParameters(stage.world.settings["BROKER_URL"]))
    channel = connection.channel()
    for body in bodies:
        channel.basic_publish("", queue, body, pika.BasicProperties(delivery_mode=2))
    connection.close()


def message(queue: str, actor: str, message_id: str = "", **kwargs: Any) -> bytes:
    return json.dumps(
        {"queue_name": queue, "actor_name": actor, "args": [], "kwargs": kwargs, "options": {},
         "message_id": message_id or str(uuid.uuid4()), "message_timestamp": int(time.time() * 1000)}
    ).encode()  # fmt: skip


def each_five_times(stage: Stage) -> None:
    """Every killmail that is still to be fetched, and every user, five times, half of them with one message id."""
    world = stage.world
    pending = [number for (number,) in world.sql("SELECT killmail_id FROM killmail_ref WHERE state = 'pending'")]
    users = [number for (number,) in world.sql('SELECT id FROM "user"')]
    same = str(uuid.uuid4())
    for number in range(5):
        mark = same if number % 2 else ""
        publish(stage, DETAILS, *(message(DETAILS, "fetch_killmail", mark, killmail_id=each) for each in pending))
        publish(stage, SYNC, *(message(SYNC, "sync_user_killmails", mark, user_id=each, run_id=None) for each in users))


def other_versions(stage: Stage) -> None:
    """Messages with arguments that this version does not know, and one that lacks what it needs."""
    world = stage.world
    (user,) = world.sql('SELECT min(id) FROM "user"')[0]
    (pending,) = world.sql("SELECT max(killmail_id) FROM killmail_ref")[0]
    newer = {"colour": "red", "more_of_it": [1, 2]}
    publish(stage, DETAILS, message(DETAILS, "fetch_killmail", killmail_id=pending, **newer))
    publish(stage, SYNC, message(SYNC, "sync_user_killmails", user_id=user, **newer))
    publish(stage, ENRICHMENT, message(ENRICHMENT, "enrich_names", **newer))
    for actor in ("enqueue_due_users", "sweep", "dispatch_killmails"):
        publish(stage, ENQUEUE, message(ENQUEUE, actor, **newer))
    publish(stage, DETAILS, message(DETAILS, "actor_of_another_version", killmail_id=pending))
    wait_until(lambda: stage.world.depths(".XQ")[DETAILS] == 1, "the unknown one is parked", 30)
    stage.flow(5)


def poison(stage: Stage) -> None:
    bad = json.loads(message(DETAILS, "fetch_killmail", killmail_id=1))
    shapes: list[dict[str, Any]] = [{**bad, "options": None}, {**bad, "args": 5}, {**bad, "queue_name": "elsewhere"}]
    publish(stage, DETAILS, b"\xff\x00", b"[]", b"{}", *(json.dumps(shape).encode() for shape in shapes))
    publish(stage, ENQUEUE, json.dumps({**bad, "queue_name": ENQUEUE, "actor_name": "sweep", "args": [1]}).encode())
    wait_until(lambda: stage.world.depths(".XQ")[DETAILS] == 6, "the unreadable ones are parked", 30)
    wait_until(lambda: stage.world.depths(".XQ")[ENQUEUE] == 1, "the failing one is parked", 30)
    stage.flow(5)


FAULTS = (
    Fault("RabbitMQ stopped and started", "every process reconnects by itself", "rabbitmqctl stop, 10 s, start",
          stopped, services="own"),
    Fault("RabbitMQ killed", "messages are durable", "SIGKILL of the node, start", crashed, services="own"),
    Fault("RabbitMQ's data wiped", "the ledger sends everything again",
          "stop, delete its folder, start (claims shortened to 20 s)", wiped, services="own", hooks=SHORT_CLAIMS,
          seconds=120),
    Fault("connections to RabbitMQ cut", "every process reconnects by itself", "close_all_connections, twice",
          connections_cut),
    Fault("queues purged", "the ledger sends everything again", "every queue purged (claims shortened to 20 s)",
          queues_purged, hooks=SHORT_CLAIMS, seconds=120),
    Fault("the same message five times", "fetched and stored once", "each open killmail and user sent 5 times",
          each_five_times),
    Fault("messages of another version", "unknown arguments are ignored, unknown actors parked",
          "each actor with arguments of a later version", other_versions, dead=1),
    Fault("poison messages", "parked with the reason; no worker minds", "bytes, wrong shapes, one that always fails",
          poison, dead=7),
)  # fmt: skip
