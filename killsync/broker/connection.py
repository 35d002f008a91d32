"""A connection to RabbitMQ apart from Dramatiq's own: for questions about queues and dead letters."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import dramatiq
import pika
import pika.exceptions
from dramatiq.broker import Broker
from dramatiq.brokers.rabbitmq import RabbitmqBroker

from killsync.causes import cause


class BrokerAway(Exception):
    """The broker cannot be used; the text names its host, never its password.

    Attributes:
        is_refusal: it answers, and does not let us in: user, password or vhost are wrong.
    """

    is_refusal = False


class BrokerRefused(BrokerAway):
    """The broker answers and does not let us in."""

    is_refusal = True


#: What RabbitMQ's refusals are in pika: it closes the connection of who may not come in, with or without a word.
_REFUSALS = (
    pika.exceptions.AuthenticationError, pika.exceptions.ProbableAuthenticationError,
    pika.exceptions.ProbableAccessDeniedError,
)  # fmt: skip
#: AMQP reply codes of a vhost that does not exist or is not for this user: access-refused, not-found, not-allowed.
_REFUSING_CODES = {403, 404, 530}


def _cause(error: BaseException) -> str:
    is_login = isinstance(error, pika.exceptions.AuthenticationError | pika.exceptions.ProbableAuthenticationError)
    return "wrong user or password" if is_login else "its vhost does not exist, or is not for this user"


def _is_refusal(error: BaseException) -> bool:
    return isinstance(error, _REFUSALS) or (
        isinstance(error, pika.exceptions.ConnectionClosedByBroker) and error.reply_code in _REFUSING_CODES
    )


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
        if _is_refusal(error):
            raise BrokerRefused(f"RabbitMQ at {where(broker)} does not let us in: {_cause(error)}") from None
        raise BrokerAway(f"RabbitMQ at {where(broker)} does not answer ({cause(error)})") from None
    try:
        yield connection
    except (pika.exceptions.AMQPError, OSError) as error:
        raise BrokerAway(f"RabbitMQ at {where(broker)} broke off ({cause(error)})") from None
    finally:
        if connection.is_open:
            connection.close()


def where(broker: Broker) -> str:
    """Host, port and vhost of the broker, without credentials."""
    if not isinstance(broker, RabbitmqBroker):
        return "memory"
    parameters = broker.parameters[0] if isinstance(broker.parameters, list) else broker.parameters
    return f"{parameters.host}:{parameters.port}/{parameters.virtual_host.removeprefix('/')}"


def ping() -> None:
    """Make sure that the broker answers.

    Raises:
        BrokerAway: it does not.
    """
    broker = dramatiq.get_broker()
    if isinstance(broker, RabbitmqBroker):
        with _connection(broker):
            pass
