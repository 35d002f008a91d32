"""The export of stored killmails: each as ESI gave it, with its hash beside ESI's own fields, newest first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import msgspec

from killsync.bulk.writers import beside, writing
from killsync.killmails import queries
from killsync.killmails.cursors import Place
from killsync.killmails.esi_body import body_of
from killsync.killmails.filter import KillmailFilter
from killsync.killmails.killmail import Killmail
from killsync.killmails.selection import page_ids
from models import connection
from models.expressions import one_of
from models.killmails import KillmailBody

#: Killmails that are read at a time.
BATCH = 200


def export_file(
    path: Path,
    chosen: KillmailFilter,
    progress: Callable[[int], None] = lambda done: None,
    is_stopped: Callable[[], bool] = lambda: False,
) -> int | None:
    """Write the killmails that *chosen* wants to *path*, which becomes whole or does not come to be; how many, None if stopped.

    Raises:
        OSError: it cannot be written.
    """
    unfinished = beside(path)
    try:
        with unfinished.open("wb") as file:
            done = export(file, path.name, chosen, progress, is_stopped)
        if done is not None:
            unfinished.rename(path)
        return done
    finally:
        unfinished.unlink(missing_ok=True)


def export(
    file: IO[bytes],
    name: str,
    chosen: KillmailFilter,
    progress: Callable[[int], None] = lambda done: None,
    is_stopped: Callable[[], bool] = lambda: False,
) -> int | None:
    """Write the killmails that *chosen* wants into *file*, in the format of *name*; how many, None if stopped."""
    done = 0
    with writing(name, file) as write:
        for page in _pages(chosen):
            for killmail, text in page:
                write(killmail.killmail_id, killmail.killmail_time.timestamp(), text)
            done += len(page)
            progress(done)
            if is_stopped():
                return None
    return done


def _pages(chosen: KillmailFilter) -> Iterator[list[tuple[Killmail, bytes]]]:
    after: Place | None = None
    while True:
        with connection():
            ids = page_ids(chosen, BATCH, after)
            killmails = queries.killmails(ids)
            kept = _kept_texts(ids)
        if not killmails:
            return
        yield [(each, text_of(each, kept.get(each.killmail_id))) for each in killmails]
        after = Place(killmails[-1].killmail_time, killmails[-1].killmail_id)


def _kept_texts(ids: list[int]) -> dict[int, str]:
    table: Any = KillmailBody
    rows = table.select(table.killmail_id, table.body).where(one_of(table.killmail_id, ids)).tuples() if ids else ()
    return dict(rows)


def text_of(killmail: Killmail, kept: str | None) -> bytes:
    """The JSON of a killmail; *kept* is ESI's own text, where the tables do not say all of it."""
    body: dict[str, Any] = body_of(killmail) if kept is None else msgspec.json.decode(kept, type=dict[str, msgspec.Raw])
    return msgspec.json.encode({**body, "killmail_hash": killmail.killmail_hash})
