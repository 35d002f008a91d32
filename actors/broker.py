"""The message broker of this process: RabbitMQ, or Dramatiq's in-memory broker when everything runs in one process.

Queues are durable, messages persistent, each send is confirmed. A message carries ids, never a token.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import dramatiq
import pika
import pika.exceptions
from dramatiq.broker import Broker
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.brokers.stub import StubBroker
from dramatiq.common import dq_name, xq_name
from dramatiq.middleware import AsyncIO, CurrentMessage, Middleware, ShutdownNotifications, TimeLimit

import logs
from actors.boot import WorkerBoot
from actors.exposition import WorkerMetrics
from actors.patience import Patience
from actors.rabbit import Rabbit
from models.base import database, discard, is_away
from settings import Settings

ENQUEUE = "esi_enqueue_queue"
USER_KILLMAILS = "esi_user_killmails_queue"
KILLMAIL_DETAILS = "esi_killmail_details_queue"
ENRICHMENT = "esi_enrichment_queue"
NOTIFICATIONS = "notifications_queue"
QUEUES = (ENQUEUE, USER_KILLMAILS, KILLMAIL_DETAILS, ENRICHMENT, NOTIFICATIONS)

#: RabbitMQ priorities of the sync queue: a person waits for a manual sync, nobody for a routine poll.
ROUTINE, PRIORITY, PERSON = 0, 1, 2

log = logs.get("broker")


class BrokerAway(Exception):
    """The broker does not answer; the text names its host, never its password."""


class DatabaseConnection(Middleware):
    """Gives the database connection a message used back to the pool; a broken one is thrown away."""

    def after_process_message(
        self, broker: Broker, message: Any, *, result: Any = None, exception: BaseException | None = None
    ) -> None:
        if exception is not None and is_away(exception):
            discard()
        elif not database.obj.is_closed():
            database.obj.close()

    after_skip_message = after_process_message


@functools.cache
def _parameters(function: Any) -> tuple[str, ...]:
    return tuple(inspect.signature(function).parameters)


class LogContext(Middleware):
    """Binds a message's id, its actor and the ids it carries to every line that is logged while it is processed."""

    def before_process_message(self, broker: Broker, message: Any) -> None:
        actor = broker.actors.get(message.actor_name)
        names = _parameters(actor.fn) if actor is not None else ()
        carried = {**dict(zip(names, message.args, strict=False)), **message.kwargs}
        ids = {name: carried[name] for name in logs.CONTEXT if isinstance(carried.get(name), int)}
        logs.about(message_id=message.message_id, actor=message.actor_name, **ids)

    def after_process_message(
        self, broker: Broker, message: Any, *, result: Any = None, exception: BaseException | None = None
    ) -> None:
        logs.about_nothing()

    after_skip_message = after_process_message


def make_broker(settings: Settings) -> Broker:
    """The broker of *settings*, with Killsync's middleware; it becomes Dramatiq's global broker."""
    middleware: list[Middleware] = [
        TimeLimit(time_limit=600_000),
        ShutdownNotifications(notify_shutdown=False),
        CurrentMessage(),
        AsyncIO(),
        Patience(max_retries=20, min_backoff=1_000, max_backoff=60_000),
        DatabaseConnection(),
        LogContext(),
        # Last, since hooks after a shutdown run from the end: it closes what lives on AsyncIO's loop.
        WorkerBoot(),
    ]
    broker: Broker
    if settings.worker_metrics_port and not settings.uses_memory_broker:
        middleware.insert(0, WorkerMetrics())
    if settings.uses_memory_broker:
        broker = StubBroker(middleware=middleware)
    else:
        broker = Rabbit(url=settings.broker_url, middleware=middleware, confirm_delivery=True, max_priority=3)
        # A broker that stopped answering is noticed within half a minute instead of never.
        for each in [broker.parameters] if not isinstance(broker.parameters, list) else broker.parameters:
            each.heartbeat = 30
            each.blocked_connection_timeout = 30
            each.socket_timeout = 10
            each.stack_timeout = 15
    for queue in QUEUES:
        # Declared even where no actor uses it yet, so that every queue exists and has its consumers from the start.
        broker.declare_queue(queue)
    dramatiq.set_broker(broker)
    return broker


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
        with _connection(broker) as connection:
            depth = _Depths(connection)
            return [
                QueueStat(name, *depth.of(name), depth.of(dq_name(name))[0], depth.of(xq_name(name))[0])
                for name in QUEUES
            ]
    return [_memory_stat(broker, name) for name in QUEUES]


def queue_depth(queue: str) -> int:
    """Messages ready in one queue; 0 when it does not exist yet."""
    broker = dramatiq.get_broker()
    if isinstance(broker, RabbitmqBroker):
        with _connection(broker) as connection:
            return _Depths(connection).of(queue)[0]
    return _memory_stat(broker, queue).message_count


#: Worker threads of this process on each in-memory queue; the embedded mode fills it in.
memory_consumers: dict[str, int] = {}


def _memory_stat(broker: Any, name: str) -> QueueStat:
    def size(queue: str) -> int:
        return int(broker.queues[queue].qsize()) if queue in broker.queues else 0

    dead = len(broker.dead_letters_by_queue.get(name, ()))
    return QueueStat(name, size(name), memory_consumers.get(name, 0), size(dq_name(name)), dead)


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


@contextmanager
def connected() -> Iterator[pika.BlockingConnection]:
    """A connection to RabbitMQ for the block.

    Raises:
        BrokerAway: it does not answer, or broke off.
    """
    broker = dramatiq.get_broker()
    assert isinstance(broker, RabbitmqBroker)
    with _connection(broker) as connection:
        yield connection


@contextmanager
def _connection(broker: RabbitmqBroker) -> Iterator[pika.BlockingConnection]:
    try:
        connection = pika.BlockingConnection(broker.parameters)
    except (pika.exceptions.AMQPError, OSError) as error:
        raise BrokerAway(f"RabbitMQ at {where(broker)} does not answer ({type(error).__name__})") from None
    try:
        yield connection
    except (pika.exceptions.AMQPError, OSError) as error:
        raise BrokerAway(f"RabbitMQ at {where(broker)} broke off ({type(error).__name__})") from None
    finally:
        if connection.is_open:
            connection.close()


def where(broker: Broker) -> str:
    """Host, port and vhost of the broker, without credentials."""
    if not isinstance(broker, RabbitmqBroker):
        return "memory"
    parameters = broker.parameters[0] if isinstance(broker.parameters, list) else broker.parameters
    return f"{parameters.host}:{parameters.port}{parameters.virtual_host}"


def ping() -> None:
    """Make sure that the broker answers.

    Raises:
        BrokerAway: it does not.
    """
    broker = dramatiq.get_broker()
    if isinstance(broker, RabbitmqBroker):
        with _connection(broker):
            pass
