"""Keeps the counters of sync runs true while their killmails arrive, and ends a run when nothing of it is open."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from killsync.logging import get_logger
from killsync.observability import metrics
from killsync.process import OnePerProcess
from killsync.sync import run_queries, runs, store
from models.exactly_once import in_transaction_once

log = get_logger("sync")

#: Recount a running sync at most this often in one process, seconds; its end is never delayed by it.
RECOUNT_SECONDS = 1.0
#: The progress of a sync that takes long is logged this often by one process, seconds.
LOG_SECONDS = 10.0
#: A run of which a process has heard nothing for this long is forgotten there, seconds: another may have ended it.
FORGET_SECONDS = 300.0


@dataclass
class _Watched:
    """A run under way: when this process last recounted it, last logged its progress, and last heard of it."""

    recounted: float
    logged: float
    heard: float


class RunProgress:
    """What one process knows of the runs under way that it has lately heard of."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watched: dict[int, _Watched] = {}
        self._forgot = time.monotonic()

    def add(self, spent: Mapping[int, tuple[int, int]]) -> None:
        """Killmails of runs were answered: add the (requests, tokens) spent for each run, recount now and then, and end the
        runs of which they were the last."""
        if not spent:
            return
        now = time.monotonic()
        with self._lock:
            self._forget(now)
            turns = set()
            for run_id in spent:
                watched = self._watched.setdefault(run_id, _Watched(now - RECOUNT_SECONDS, now, now))
                watched.heard = now
                if now - watched.recounted >= RECOUNT_SECONDS:
                    watched.recounted = now
                    turns.add(run_id)

        def work() -> tuple[set[int], list[int]]:
            store.add_costs(spent)
            due = turns.union(store.settled([run_id for run_id in spent if run_id not in turns]))
            return due, runs.recount(list(due)) if due else []

        self._report(*in_transaction_once(work))

    def settle(self, run_ids: Collection[int]) -> None:
        """Recount the runs; those that this ends are logged as completed."""
        if run_ids:
            self._report(set(run_ids), runs.recount(list(run_ids)))

    def _forget(self, now: float) -> None:
        if now - self._forgot >= FORGET_SECONDS:
            self._forgot = now
            self._watched = {
                run_id: each for run_id, each in self._watched.items() if now - each.heard < FORGET_SECONDS
            }

    def _report(self, recounted: set[int], ended: list[int]) -> None:
        for run_id in ended:
            self._log_end(run_id)
        for run_id in recounted.difference(ended):
            self._log_progress(run_id)

    def _log_progress(self, run_id: int) -> None:
        """Log how far a long sync has come, now and then."""
        now = time.monotonic()
        with self._lock:
            watched = self._watched.get(run_id)
            if watched is None or now - watched.logged < LOG_SECONDS:
                return
            watched.logged = now
        row = run_queries.run_row(run_id)
        if row and row["finished_at"] is None and row["found"]:
            done = row["saved"] + row["skipped"] + row["errors"]
            log.info("progress", done=done, **{name: row[name] for name in ("found", "saved", "skipped", "errors")},
                     run_id=run_id, user_id=row["user_id"], character=row["character_name"])  # fmt: skip

    def _log_end(self, run_id: int) -> None:
        with self._lock:
            self._watched.pop(run_id, None)
        row = run_queries.run_row(run_id)
        if row:
            metrics.sync_ended(row["status"])
            log.info(
                "sync completed",
                run_id=run_id,
                user_id=row["user_id"],
                character=row["character_name"],
                found=row["found"],
                saved=row["saved"],
                skipped=row["skipped"],
                errors=row["errors"],
                pages=row["pages"],
                esi_requests=row["esi_requests"],
                esi_tokens=row["esi_tokens"],
            )


#: The one of this process.
shared = OnePerProcess(RunProgress)
