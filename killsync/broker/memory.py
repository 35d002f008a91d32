"""Dramatiq's in-memory broker, for everything in one process. What is in it ends with the process; the ledger stays."""

from __future__ import annotations

from dramatiq.brokers.stub import StubBroker


class MemoryBroker(StubBroker):
    """The in-memory broker, and how many worker threads of this process take from each of its queues."""

    worker_threads = 0
