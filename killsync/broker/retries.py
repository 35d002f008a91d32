"""Retries of messages. A message that waits is retried without limit; one that fails is parked after a few tries."""

from __future__ import annotations

import logging
from typing import Any

from dramatiq.broker import Broker
from dramatiq.brokers.stub import StubBroker
from dramatiq.errors import BrokerConnectionError, Retry
from dramatiq.middleware import Retries, Shutdown

from killsync.broker import queues
from killsync.logging import get_logger, redact
from models.errors import is_away, is_transient

log = get_logger("broker")


def only_waits(error: BaseException) -> bool:
    """Whether *error* says that the message has to wait: for the budget, a service that is away, a worker that shuts down."""
    if isinstance(error, Retry | Shutdown | BrokerConnectionError):
        return True
    return is_away(error) or (isinstance(error, Exception) and is_transient(error))


def _is_no_shutdown(record: logging.LogRecord) -> bool:
    return not (record.exc_info and isinstance(record.exc_info[1], Shutdown))


# Dramatiq logs the end of a message at a shutdown as a failure; it is none, and `WaitingRetries` says what it is.
logging.getLogger("dramatiq.worker.WorkerThread").addFilter(_is_no_shutdown)


class WaitingRetries(Retries):
    """Dramatiq's Retries, except that a wait does not count against `max_retries`.

    Dramatiq counts every return of a message in its option `retries`, so a wait raises the limit by one. An actor that bounds
    its waits counts them itself. A message of an actor with `max_retries=0`, a tick or a sweep, is dropped when it would have
    to wait: the next one does its work.
    """

    def after_process_message(
        self, broker: Broker, message: Any, *, result: Any = None, exception: BaseException | None = None
    ) -> None:
        if isinstance(exception, Shutdown):
            log.info("message given back: this worker stops", actor=message.actor_name)
        if exception is not None and only_waits(exception):
            actor = broker.get_actor(message.actor_name)
            limit = message.options.get("max_retries", actor.options.get("max_retries", self.max_retries))
            if limit == 0:
                log.warning(
                    "message dropped until the next one",
                    actor=message.actor_name,
                    reason=type(exception).__name__,
                )
                return
            message.options["max_retries"] = limit + 1
            if isinstance(exception, Retry) and exception.delay is not None and not isinstance(broker, StubBroker):
                # Who has to wait for longer finds that out when the message comes back.
                exception.delay = min(exception.delay, int(queues.MOST_DELAY_SECONDS * 1000))
        super().after_process_message(broker, message, result=result, exception=exception)

    def before_enqueue(self, broker: Broker, message: Any, delay: int | None) -> None:
        if "traceback" in message.options:
            message.options["traceback"] = redact(message.options["traceback"])
