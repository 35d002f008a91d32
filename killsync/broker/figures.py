"""How many messages wait in each queue, and who consumes it."""

from __future__ import annotations

from dataclasses import dataclass

import dramatiq
import pika
import pika.exceptions
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.common import dq_name, xq_name

from killsync.broker.connection import connected
from killsync.broker.memory import MemoryBroker
from killsync.broker.queues import QUEUES


@dataclass(frozen=True)
class QueueStat:
    """Messages that wait in a queue (ready and delayed), those given up on, and who consumes it."""

    queue_name: str
    message_count: int
    consumer_count: int
    delayed_count: int = 0
    dead_count: int = 0


def queue_stats() -> list[QueueStat]:
    """How every queue stands. Blocking: a few milliseconds on RabbitMQ, by passive declare.

    Raises:
        BrokerAway: RabbitMQ does not answer.
    """
    broker = dramatiq.get_broker()
    if isinstance(broker, RabbitmqBroker):
        with connected() as connection:
            depth = _Depths(connection)
            return [
                QueueStat(name, *depth.of(name), depth.of(dq_name(name))[0], depth.of(xq_name(name))[0])
                for name in QUEUES
            ]
    assert isinstance(broker, MemoryBroker)
    return [_memory_stat(broker, name) for name in QUEUES]


def queue_depth(queue: str) -> int:
    """Messages ready in one queue; 0 when it does not exist yet."""
    broker = dramatiq.get_broker()
    if isinstance(broker, RabbitmqBroker):
        with connected() as connection:
            return _Depths(connection).of(queue)[0]
    assert isinstance(broker, MemoryBroker)
    return _memory_stat(broker, queue).message_count


def _memory_stat(broker: MemoryBroker, name: str) -> QueueStat:
    def size(queue: str) -> int:
        return int(broker.queues[queue].qsize()) if queue in broker.queues else 0

    dead = len(broker.dead_letters_by_queue.get(name, ()))
    return QueueStat(name, size(name), broker.worker_threads, size(dq_name(name)), dead)


class _Depths:
    """Asks for queues one after the other; a queue that does not exist closes the channel it was asked on."""

    def __init__(self, connection: pika.BlockingConnection) -> None:
        self._connection = connection
        self._channel = connection.channel()

    def of(self, queue: str) -> tuple[int, int]:
        """(messages ready, consumers) of *queue*; zeros when it does not exist yet."""
        if not self._channel.is_open:
            self._channel = self._connection.channel()
        try:
            method = self._channel.queue_declare(queue=queue, passive=True).method
        except pika.exceptions.ChannelClosedByBroker:
            return 0, 0
        return int(method.message_count), int(method.consumer_count)
