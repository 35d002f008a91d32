"""A connection to RabbitMQ apart from Dramatiq's own: for questions about queues and dead letters."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import dramatiq
import pika
import pika.exceptions
from dramatiq.broker import Broker
from dramatiq.brokers.rabbitmq import RabbitmqBroker


class BrokerAway(Exception):
    """The broker does not answer; the text names its host, never its password."""


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
