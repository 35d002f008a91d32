"""What RabbitMQ is asked to keep: queues that outlive it, messages on disk, sends that are confirmed."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pika
import pytest

from killsync.broker.rabbitmq import CLOSE_SECONDS, Rabbit
from tests.support.deployment import wait_until
from tests.support.player import Player
from tests.support.resources import rabbitmq_vhost, rabbitmqctl


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


def test_a_connection_is_closed_when_the_thread_that_consumes_has_left_it() -> None:
    """A worker that is told to stop gives up waiting for its consumers before they have noticed; pika bears one thread only."""
    with rabbitmq_vhost() as url:
        broker = Rabbit(url=url)
        broker.declare_queue("a_queue", ensure=True)
        for _ in range(3):
            consumer = broker.consume("a_queue", prefetch=1, timeout=500)
            began, outcomes = threading.Event(), []
            consumer.iterator = _announced(consumer.iterator, began)

            def consume(consumer: Any = consumer, outcomes: list[Any] = outcomes) -> None:
                try:
                    outcomes.append(next(consumer))
                except Exception as error:
                    outcomes.append(error)

            consuming = threading.Thread(target=consume, daemon=True)
            consuming.start()
            assert began.wait(10)
            closing = threading.Thread(target=consumer.close, daemon=True)
            closing.start()
            closing.join(10)
            assert not closing.is_alive(), "closing ends"
            consuming.join(10)
            assert outcomes == [None], "the thread was not disturbed: nothing came"
            assert consumer.connection.is_closed
            assert next(consumer, "nothing more") == "nothing more"
        broker.close()


def test_a_broker_is_closed_although_threads_are_still_at_work() -> None:
    class Opening:
        """A connection of a thread that opens another one meanwhile."""

        def close(self) -> None:
            broker.connections.add(Opening())

    class Stuck:
        """A connection that never closes."""

        def close(self) -> None:
            threading.Event().wait()

    with rabbitmq_vhost() as url:
        broker = Rabbit(url=url)
        broker.declare_queue("a_queue", ensure=True)
        connection = broker.connection
        broker.connections.add(Opening())
        broker.close()
        assert connection.is_closed
        broker.connections.add(Stuck())
        began = time.monotonic()
        broker.close()
        assert time.monotonic() - began < 2 * CLOSE_SECONDS


def _announced(iterator: Iterator[Any], began: threading.Event) -> Iterator[Any]:
    """The same, and *began* is set when somebody waits for the first."""
    began.set()
    yield from iterator
