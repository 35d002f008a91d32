"""Keeps the counters of sync runs true while their killmails arrive, and ends a run when nothing of it is open."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Mapping
from functools import cache

from killsync.logging import get_logger
from killsync.observability import metrics
from killsync.sync import run_queries, runs, store
from models import in_transaction

log = get_logger("sync")

#: Recount a running sync at most this often in one process, seconds; its end is never delayed by it.
RECOUNT_SECONDS = 1.0
#: The progress of a sync that takes long is logged this often by one process, seconds.
LOG_SECONDS = 10.0


class RunProgress:
    """What one process knows of runs under way: when it last recounted each, and when it last logged its progress."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._recounted: dict[int, float] = {}
        self._logged: dict[int, float] = {}

    def add(self, spent: Mapping[int, tuple[int, int]]) -> None:
        """Killmails of runs were answered: add the (requests, tokens) spent for each run, recount now and then, and end the
        runs of which they were the last."""
        if not spent:
            return
        now = time.monotonic()
        with self._lock:
            turns = {run_id for run_id in spent if now - self._recounted.get(run_id, 0.0) >= RECOUNT_SECONDS}
            self._recounted.update(dict.fromkeys(turns, now))

        def work() -> tuple[set[int], list[int]]:
            store.add_costs(spent)
            due = turns.union(store.settled([run_id for run_id in spent if run_id not in turns]))
            return due, runs.recount(list(due)) if due else []

        self._report(*in_transaction(work))

    def settle(self, run_ids: Collection[int]) -> None:
        """Recount the runs; those that this ends are logged as completed."""
        if run_ids:
            self._report(set(run_ids), runs.recount(list(run_ids)))

    def _report(self, recounted: set[int], ended: list[int]) -> None:
        for run_id in ended:
            self._log_end(run_id)
        for run_id in recounted.difference(ended):
            self._log_progress(run_id)

    def _log_progress(self, run_id: int) -> None:
        """Log how far a long sync has come, now and then."""
        now = time.monotonic()
        with self._lock:
            if now - self._logged.setdefault(run_id, now) < LOG_SECONDS:
                return
            self._logged[run_id] = now
        row = run_queries.run_row(run_id)
        if row and row["finished_at"] is None and row["found"]:
            done = row["saved"] + row["skipped"] + row["errors"]
            log.info("progress", done=done, **{name: row[name] for name in ("found", "saved", "skipped", "errors")},
                     run_id=run_id, user_id=row["user_id"], character=row["character_name"])  # fmt: skip

    def _log_end(self, run_id: int) -> None:
        with self._lock:
            self._recounted.pop(run_id, None)
            self._logged.pop(run_id, None)
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


@cache
def shared() -> RunProgress:
    """The one of this process."""
    return RunProgress()
