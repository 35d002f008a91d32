"""The import of files: reads documents, has them stored in batches, adds up what became of them.

It may be ended at any moment and begun again: what is stored is passed over, and nothing is stored in part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from killsync.bulk.batches import Named, Outcome
from killsync.bulk.sources import Sources
from killsync.bulk.workers import Alone, Storing, Workers
from killsync.settings import Settings

#: Documents of a batch, and about how many bytes: a great fight counts for many.
BATCH, BATCH_BYTES = 2_000, 6 * 2**20
#: How many names of each sort are kept to be shown.
MOST_NAMES = 1_000


@dataclass
class Names:
    """The first of any number of names, each with a reason or none, and how many there are."""

    count: int = 0
    first: list[tuple[str, str]] = field(default_factory=list)

    def add(self, name: str, reason: str = "") -> None:
        """Count one more."""
        self.count += 1
        if len(self.first) < MOST_NAMES:
            self.first.append((name, reason))


@dataclass
class Report:
    """What an import has done so far; `done` of `total` bytes are read."""

    total: int = 0
    done: int = 0
    new: int = 0
    known: int = 0
    other_hash: Names = field(default_factory=Names)
    no_hash: Names = field(default_factory=Names)
    broken: Names = field(default_factory=Names)
    was_stopped: bool = False

    def add(self, outcome: Outcome) -> None:
        """Add what became of a batch."""
        self.new += outcome.new
        self.known += outcome.known
        for name in outcome.other_hash:
            self.other_hash.add(name)
        for name in outcome.no_hash:
            self.no_hash.add(name)
        for name, reason in outcome.broken:
            self.broken.add(name, reason)


def import_paths(
    settings: Settings,
    paths: Sequence[Path],
    *,
    announce: bool = False,
    processes: int = 1,
    progress: Callable[[Report], None] = lambda report: None,
    is_stopped: Callable[[], bool] = lambda: False,
) -> Report:
    """Import everything in *paths*: files, folders, archives.

    Args:
        settings: of the database, which the models of this process are connected to.
        paths: what is read.
        announce: whether whoever follows the log hears of them.
        processes: how many store beside this one, which reads; with 0, and on SQLite, this one stores too.
        progress: told now and then how far it is.
        is_stopped: asked between two documents whether to end; what was read by then is stored.

    Raises:
        ImportFailed, models.errors.DatabaseAway, peewee.OperationalError: it cannot go on. What was stored is whole, and the
            next import goes on.
    """
    sources = Sources(paths)
    report = Report(total=sources.total)
    storing: Storing = Alone(announce=announce)
    if settings.uses_postgres and processes:
        storing = Workers(settings, processes, announce=announce)
    try:
        for batch in _batches(sources, report, is_stopped):
            for outcome in storing.store(batch):
                report.add(outcome)
            report.done = sources.done
            progress(report)
        for outcome in storing.finish():
            report.add(outcome)
    finally:
        storing.close()
    report.done = sources.done
    progress(report)
    return report


def _batches(sources: Sources, report: Report, is_stopped: Callable[[], bool]) -> Iterator[list[Named]]:
    batch: list[Named] = []
    size = 0
    for found in sources:
        if found.problem is not None:
            report.broken.add(found.name, found.problem)
        else:
            batch.append((found.name, found.text))
            size += len(found.text)
        if is_stopped():
            report.was_stopped = True
            break
        if len(batch) >= BATCH or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
