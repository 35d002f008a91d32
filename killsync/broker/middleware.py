"""What surrounds the processing of each message: its log context, its database connection, the start of a worker."""

from __future__ import annotations

import functools
import inspect
import signal
from typing import Any

from dramatiq.broker import Broker
from dramatiq.middleware import Middleware

from killsync import http_session, supervision
from killsync.logging import CONTEXT, bind_context, clear_context, get_logger
from killsync.startup import spare_garbage_collection, start
from killsync.version import version
from models.db import database, discard
from models.errors import is_away


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
        ids = {name: carried[name] for name in CONTEXT if isinstance(carried.get(name), int)}
        bind_context(message_id=message.message_id, actor=message.actor_name, **ids)

    def after_process_message(
        self, broker: Broker, message: Any, *, result: Any = None, exception: BaseException | None = None
    ) -> None:
        clear_context()

    after_skip_message = after_process_message


log = get_logger("worker")


class WorkerStart(Middleware):
    """Runs `start` when a `dramatiq` worker process boots, before its threads take messages; tells the manager of the process."""

    def __init__(self) -> None:
        self._worker: Any = None

    def after_process_boot(self, broker: Broker) -> None:
        supervision.take_once(signal.SIGTERM, self._take_no_more)
        # Dramatiq's main process, when it is killed, leaves its workers behind.
        supervision.end_with_manager(with_parent=True)
        start("database", "broker", "esi", "sso", "secrets")
        spare_garbage_collection()

    def _take_no_more(self) -> None:
        """Have the threads end after the message they are at; Dramatiq asks them to only when it has woken up, a second later."""
        for thread in self._worker.workers if self._worker is not None else ():
            thread.running = False

    def after_worker_boot(self, broker: Broker, worker: Any) -> None:
        self._worker = worker
        log.info("worker started", version=version(), queues=sorted(broker.get_declared_queues()))
        supervision.notify("READY=1")

    def before_worker_shutdown(self, broker: Broker, worker: Any) -> None:
        supervision.notify("STOPPING=1")

    def after_worker_shutdown(self, broker: Broker, worker: Any) -> None:
        http_session.run(http_session.close_session())
