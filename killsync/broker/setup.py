"""The message broker of this process: RabbitMQ, or Dramatiq's in-memory broker when everything runs in one process.

Queues are durable, messages persistent, each send is confirmed. A message carries ids, never a token.
"""

from __future__ import annotations

import dramatiq
from dramatiq.broker import Broker
from dramatiq.middleware import AsyncIO, CurrentMessage, Middleware, ShutdownNotifications, TimeLimit

from killsync.broker.memory import MemoryBroker
from killsync.broker.middleware import DatabaseConnection, LogContext, WorkerStart
from killsync.broker.queues import QUEUES
from killsync.broker.rabbitmq import Rabbit
from killsync.broker.retries import WaitingRetries
from killsync.observability.metrics_server import WorkerMetrics
from killsync.settings import Settings


def make_broker(settings: Settings) -> Broker:
    """The broker of *settings*, with Killsync's middleware; it becomes Dramatiq's global broker."""
    middleware: list[Middleware] = [
        TimeLimit(time_limit=600_000),
        ShutdownNotifications(notify_shutdown=False),
        CurrentMessage(),
        AsyncIO(),
        WaitingRetries(max_retries=20, min_backoff=1_000, max_backoff=60_000),
        DatabaseConnection(),
        LogContext(),
        # Last, since hooks after a shutdown run from the end: it closes what lives on AsyncIO's loop.
        WorkerStart(),
    ]
    broker: Broker
    if settings.worker_metrics_port and not settings.uses_memory_broker:
        middleware.insert(0, WorkerMetrics())
    if settings.uses_memory_broker:
        broker = MemoryBroker(middleware=middleware)
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
