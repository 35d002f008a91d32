"""Keeps the counters of sync runs true while their killmails arrive, and ends a run when nothing of it is open."""

from __future__ import annotations

import threading
import time

import logs
import meters
from models import runs
from models.people import name_of

log = logs.get("sync")

#: Recount a running sync at most this often in one process, seconds; its end is never delayed by it.
_EVERY = 1.0
#: A sync that takes long is told of this often by one process, seconds.
TOLD_EVERY = 10.0

_lock = threading.Lock()
_last: dict[int, float] = {}
_told: dict[int, float] = {}


def touch(run_id: int | None) -> None:
    """A killmail of the run was answered: recount now and then, and end the run when that was the last."""
    if run_id is None:
        return
    now = time.monotonic()
    with _lock:
        is_turn = now - _last.get(run_id, 0.0) >= _EVERY
        if is_turn:
            _last[run_id] = now
    if is_turn or runs.is_settled(run_id):
        settle(run_id)


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


def settle(run_id: int) -> None:
    """Recount the run; when this ends it, tell the story's end in the log."""
    if not runs.refresh(run_id):
        _tell(run_id)
        return
    with _lock:
        _last.pop(run_id, None)
        _told.pop(run_id, None)
    row = runs.run_row(run_id)
    if row:
        meters.sync_ended(row["status"])
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
