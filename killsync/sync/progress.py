"""Keeps the counters of sync runs true while their killmails arrive, and ends a run when nothing of it is open."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Mapping

from killsync.accounts.people import name_of
from killsync.logging import get_logger
from killsync.observability import metrics
from killsync.sync import runs
from models import in_transaction

log = get_logger("sync")

#: Recount a running sync at most this often in one process, seconds; its end is never delayed by it.
_EVERY = 1.0
#: A sync that takes long is told of this often by one process, seconds.
TOLD_EVERY = 10.0

_lock = threading.Lock()
_last: dict[int, float] = {}
_told: dict[int, float] = {}


def touch(spent: Mapping[int, tuple[int, int]]) -> None:
    """Killmails of runs were answered: add the (requests, tokens) spent for each run, recount now and then, and end the
    runs of which they were the last."""
    if not spent:
        return
    now = time.monotonic()
    with _lock:
        turns = {run_id for run_id in spent if now - _last.get(run_id, 0.0) >= _EVERY}
        _last.update(dict.fromkeys(turns, now))

    def work() -> tuple[set[int], list[int]]:
        runs.add_costs(spent)
        due = turns.union(runs.settled([run_id for run_id in spent if run_id not in turns]))
        return due, runs.recount(list(due)) if due else []

    _report(*in_transaction(work))


def _tell(run_id: int) -> None:
    """Tell how far a long sync has come, now and then."""
    now = time.monotonic()
    with _lock:
        if now - _told.setdefault(run_id, now) < TOLD_EVERY:
            return
        _told[run_id] = now
    row = runs.run_row(run_id)
    if row and row["finished_at"] is None and row["found"]:
        done = row["saved"] + row["skipped"] + row["errors"]
        log.info("progress", done=done, **{name: row[name] for name in ("found", "saved", "skipped", "errors")},
                 run_id=run_id, user_id=row["user_id"], character=name_of(row["user_id"]))  # fmt: skip


def settle(run_ids: Collection[int]) -> None:
    """Recount the runs; for those that this ends, tell the story's end in the log."""
    if not run_ids:
        return
    _report(set(run_ids), runs.recount(list(run_ids)))


def _report(recounted: set[int], ended: list[int]) -> None:
    for run_id in ended:
        _ended(run_id)
    for run_id in recounted.difference(ended):
        _tell(run_id)


def _ended(run_id: int) -> None:
    with _lock:
        _last.pop(run_id, None)
        _told.pop(run_id, None)
    row = runs.run_row(run_id)
    if row:
        metrics.sync_ended(row["status"])
        log.info(
            "sync completed",
            run_id=run_id,
            user_id=row["user_id"],
            character=name_of(row["user_id"]),
            found=row["found"],
            saved=row["saved"],
            skipped=row["skipped"],
            errors=row["errors"],
            pages=row["pages"],
            esi_requests=row["esi_requests"],
            esi_tokens=row["esi_tokens"],
        )
