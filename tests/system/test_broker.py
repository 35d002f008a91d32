"""What RabbitMQ is asked to keep: queues that outlive it, messages on disk, sends that are confirmed."""

from __future__ import annotations

from typing import Any

import pika
import pytest

from killsync.broker.rabbitmq import Rabbit
from tests.support.deployment import wait_until
from tests.support.player import Player
from tests.support.resources import rabbitmqctl


async def test_queues_are_durable_and_messages_are_on_disk(deployment: Any) -> None:
    place = deployment({"kills": (5,)})
    place.start_web()
    async with Player(place.url) as player:
        await player.log_in(place.simulated.simulator.universe.demo_characters[0].character_id)
    place.start_worker(threads=2)
    wait_until(lambda: "sync completed" in place.log("worker"), "a sync ends")
    place.stop("worker")
    place.command("killsync", "queue", "user-killmails")
    vhost = place.settings["BROKER_URL"].rsplit("/", 1)[1]
    queues = dict(
        line.split("\t") for line in rabbitmqctl("list_queues", "-p", vhost, "name", "durable").splitlines()[1:]
    )
    assert len(queues) == 15 and set(queues.values()) == {"true"}
    connection = pika.BlockingConnection(pika.URLParameters(place.settings["BROKER_URL"]))
    _, properties, _ = connection.channel().basic_get("esi_user_killmails_queue")
    connection.close()
    assert properties.delivery_mode == 2


def test_a_send_is_confirmed_or_fails(deployment: Any) -> None:
    from dramatiq.errors import ConnectionClosed

    from killsync.broker.setup import make_broker
    from killsync.settings import Settings

    place = deployment({"kills": (5,)})
    import dramatiq

    before = dramatiq.get_broker()
    broker = make_broker(Settings(broker_url=place.settings["BROKER_URL"]))
    try:
        assert isinstance(broker, Rabbit) and broker.confirm_delivery
        # Confirms let a queue that was deleted be noticed, and made again.
        broker.declare_queue("esi_enqueue_queue", ensure=True)
        broker.channel.queue_delete("esi_enqueue_queue")
        broker.enqueue(dramatiq.Message("esi_enqueue_queue", "sweep", (), {}, {}))
        assert broker.get_queue_message_counts("esi_enqueue_queue")[0] == 1
        broker.channel.queue_delete("esi_enqueue_queue.XQ")
        with pytest.raises(ConnectionClosed):
            broker.park("esi_enqueue_queue", b"not JSON", "a reason")
        broker.declare_queue("esi_enqueue_queue", ensure=True)
        broker.park("esi_enqueue_queue", b"not JSON", "a reason")
        assert broker.get_queue_message_counts("esi_enqueue_queue")[2] == 1
    finally:
        broker.close()
        dramatiq.set_broker(before)
