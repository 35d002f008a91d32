"""The worker of production that also counts what it asks of its services: `dramatiq bench.counted`.

Counts go into the table `bench_count` when a worker process ends. Nothing else differs from `dramatiq actors`.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

import dramatiq
import psycopg2.extensions

import actors  # noqa: F401 - makes the broker and declares the actors
from models import connection
from models.sql import run

counts: Counter[str] = Counter()


class _Cursor(psycopg2.extensions.cursor):
    def execute(self, query: Any, parameters: Any = None) -> None:
        counts["statements"] += 1
        return super().execute(query, parameters)

    def copy_expert(self, *arguments: Any, **keywords: Any) -> None:
        counts["statements"] += 1
        return super().copy_expert(*arguments, **keywords)


class Counting(dramatiq.Middleware):
    """Counts messages, and stores all counts at the end of the process."""

    def after_enqueue(self, broker: Any, message: Any, delay: Any) -> None:
        counts[f"sent {message.queue_name}"] += 1

    def after_process_message(self, broker: Any, message: Any, *, result: Any = None, exception: Any = None) -> None:
        counts["messages"] += 1
        counts[f"done {message.actor_name}"] += 1

    def before_worker_shutdown(self, broker: Any, worker: Any) -> None:
        with connection():
            run("CREATE TABLE IF NOT EXISTS bench_count (process INTEGER, name TEXT, number BIGINT)")
            for name, number in list(counts.items()):
                run("INSERT INTO bench_count VALUES (%s, %s, %s)", (os.getpid(), name, number))


_connect = psycopg2.connect
psycopg2.connect = lambda *arguments, **keywords: _connect(*arguments, **{"cursor_factory": _Cursor, **keywords})
dramatiq.get_broker().add_middleware(Counting())
