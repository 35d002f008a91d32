"""How the worker's queues stand, as one process last counted them: many readers cost RabbitMQ one question."""

from __future__ import annotations

import asyncio
import time

from aiohttp import web

from graphql_api.errors import Unavailable
from killsync.broker.connection import BrokerAway
from killsync.broker.figures import QueueStat, queue_stats
from models.threads import in_service

#: RabbitMQ is asked for its queues at most this often by one process, seconds.
KEEP_SECONDS = 2.0


class QueueStatus:
    """The queues as RabbitMQ counted them a moment ago."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._stats: list[QueueStat] = []
        self._read_at = float("-inf")

    async def read(self) -> list[QueueStat]:
        """How each queue stands.

        Raises:
            Unavailable: RabbitMQ does not answer.
            Busy: too many calls wait for it already.
        """
        async with self._lock:
            if time.monotonic() - self._read_at >= KEEP_SECONDS:
                try:
                    self._stats = await in_service(queue_stats)
                except BrokerAway as error:
                    raise Unavailable(str(error)) from None
                self._read_at = time.monotonic()
            return self._stats


QUEUE_STATUS = web.AppKey("queue_status", QueueStatus)


def setup(app: web.Application) -> None:
    """Make the one that this process's operations share."""
    app[QUEUE_STATUS] = QueueStatus()
