"""RabbitMQ as Killsync uses it: Dramatiq's broker, but nothing that lies in a queue can stop a worker.

What cannot be read, names an unknown actor or failed for good is parked in the queue's dead-letter queue with the reason.
Nothing is sent anywhere else, and no work depends on what is parked: the tables know what is still to be done.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pika
import pika.exceptions
from dramatiq.brokers.rabbitmq import RabbitmqBroker, _RabbitmqConsumer
from dramatiq.common import q_name, xq_name
from dramatiq.errors import ConnectionClosed

from killsync.logging import get_logger, redact

#: How long a dead letter is kept, and how many of a queue: evidence for an operator who was away, not an archive.
KEEP_DEAD_MS = 30 * 86_400_000
MOST_DEAD = 10_000
#: Whoever waits for a message leaves the connection after Dramatiq's timeout; it is closed so much later at most, seconds.
LEAVE_SECONDS = 2.0
#: How long is waited for all connections to close, seconds.
CLOSE_SECONDS = 3.0
#: Headers of a parked message: why it was parked, when, and from which queue.
REASON, PARKED_AT, CAME_FROM = "x-killsync-reason", "x-killsync-parked-at", "x-killsync-queue"

_SHAPE: dict[str, type] = {
    "queue_name": str, "actor_name": str, "args": list, "kwargs": dict, "options": dict, "message_id": str,
    "message_timestamp": int,
}  # fmt: skip

log = get_logger("broker")


def unreadable(body: bytes, queue_name: str) -> str | None:
    """Why *body* is no message of *queue_name* that a worker could take; None when it is one."""
    try:
        fields = json.loads(body)
    except ValueError:
        return "it is not JSON"
    if not isinstance(fields, dict):
        return "it is not a message of Dramatiq"
    for name, kind in _SHAPE.items():
        if not isinstance(fields.get(name), kind):
            return f"its {name} is missing or of another type"
    if unknown := sorted(set(fields) - set(_SHAPE)):
        return f"it has an unknown field, {unknown[0][:40]}"
    if fields["queue_name"] != queue_name:
        return f"it belongs into another queue, {fields['queue_name'][:80]}"
    return None


class Rabbit(RabbitmqBroker):
    """Dramatiq's broker, with consumers that park what no worker can take."""

    @property
    def consumer_class(self) -> type[_RabbitmqConsumer]:
        return _ParkingConsumer

    def park(self, queue_name: str, body: bytes, reason: str) -> None:
        """Put *body* into the dead-letter queue of *queue_name*, with *reason*; confirmed when this returns.

        Raises:
            ConnectionClosed: the broker broke off; nothing is known of the message.
        """
        headers = {
            REASON: redact(reason)[:500],
            PARKED_AT: datetime.now(UTC).isoformat(timespec="seconds"),
            CAME_FROM: queue_name,
        }
        properties = pika.BasicProperties(delivery_mode=2, headers=headers)
        try:
            self.channel.basic_publish("", xq_name(queue_name), body, properties, mandatory=True)
        except (pika.exceptions.AMQPError, OSError) as error:
            del self.connection
            self.queues_pending.add(q_name(queue_name))  # should it be gone, the next to consume makes it again
            raise ConnectionClosed(error) from None
        log.warning("message parked", queue=queue_name, reason=headers[REASON])

    def close(self) -> None:
        """Close the connections of all threads. What a thread is still at ends with the process: nothing is waited for long."""
        self._ignore_pika_logs()
        closing = threading.Thread(target=self._close_all, name="broker closing", daemon=True)
        closing.start()
        closing.join(CLOSE_SECONDS)

    def _close_all(self) -> None:
        # Those of now: a thread that is still at work may be opening another one.
        for each in [*list(self.channels), *list(self.connections)]:
            try:
                each.close()
            except Exception as error:
                log.debug("connection not closed", reason=type(error).__name__)

    def _declare_xq_queue(self, queue_name: str) -> Any:
        """A queue that exists keeps its limits: RabbitMQ refuses to declare it anew with others."""
        name = xq_name(queue_name)
        try:
            return self.channel.queue_declare(queue=name, passive=True)
        except pika.exceptions.ChannelClosedByBroker as error:
            del self.channel
            if error.reply_code != 404:
                raise
        limits = {"x-message-ttl": KEEP_DEAD_MS, "x-max-length": MOST_DEAD}
        return self.channel.queue_declare(queue=name, durable=True, arguments=limits)


class _ParkingConsumer(_RabbitmqConsumer):
    """Parks instead of rejecting, since a rejected message loses its reason, and before Dramatiq trips over a message.

    A worker that is told to stop closes its consumers although a thread may still wait for a message here. A connection of
    pika bears one thread at a time: closed under another one it may wait for ever, and the process never ends.
    """

    broker: Rabbit

    def __init__(self, broker: Rabbit, queue_name: str, prefetch: int, timeout: int) -> None:
        super().__init__(broker, queue_name, prefetch, timeout)
        self.iterator = self._readable(self.iterator)
        self._in_use = threading.Lock()
        self._leave_seconds = timeout / 1000 + LEAVE_SECONDS

    def __next__(self) -> Any:
        with self._in_use:
            return super().__next__()

    def close(self) -> None:
        """Close the connection once nobody waits at it; where somebody stays too long, it ends with the process."""
        if not self._in_use.acquire(timeout=self._leave_seconds):
            log.warning("connection left open: a message is still being taken from it", queue=self.queue_name)
            return
        try:
            super().close()
        finally:
            self._in_use.release()

    def _readable(self, deliveries: Iterator[Any]) -> Iterator[Any]:
        for method, properties, body in deliveries:
            reason = unreadable(body, self.queue_name) if method is not None else None
            if reason is None:
                yield method, properties, body
            else:
                self.broker.park(self.queue_name, body, f"cannot be read: {reason}")
                self.channel.basic_ack(method.delivery_tag)
                yield None, None, None

    def nack(self, message: Any) -> None:
        """Park a message that failed for good; should that fail, RabbitMQ parks it itself, without the reason."""
        error = message._exception
        reason = f"{type(error).__name__}: {error}" if error is not None else "failed for good"
        try:
            self.broker.park(self.queue_name, message.encode(), reason)
        except ConnectionClosed:
            super().nack(message)
        else:
            super().ack(message)
