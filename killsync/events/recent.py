"""The killmails that the log came to last, in memory: thousands of subscribers read each of them, and one statement loads it.

Bounded by what killmails hold: a fight of a thousand pilots counts for as much as a thousand lone losses.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextvars import Context, copy_context
from typing import Any
from weakref import WeakValueDictionary

from killsync.events import store
from killsync.killmails import queries
from killsync.killmails.killmail import Killmail
from models.expressions import one_of
from models.killmails import Killmail as Stored
from models.threads import read_db
from models.work import CALLER, CURRENT

#: Attackers and items of all killmails that are kept.
MOST_PARTS = 40_000
#: Killmails that are loaded by one page of statements, and the attackers of all of them but the first.
BATCH, BATCH_ATTACKERS = 50, 2_000
#: Readers that are far behind, each of whom holds what it alone reads until it has handed it on: of one caller, and of all.
MOST_BEHIND_OF_ONE, MOST_BEHIND = 4, 64

Numbered = tuple[int, Killmail]


class Recent:
    """The newest killmails of the log by their numbers; older ones are read for whoever asks, and not kept."""

    def __init__(self) -> None:
        self._kept: OrderedDict[int, Killmail] = OrderedDict()
        self._parts = 0
        self._loading = asyncio.Lock()
        self._behind = asyncio.Semaphore(MOST_BEHIND)
        #: By caller, as long as one of theirs is there.
        self._behind_of: WeakValueDictionary[str | None, asyncio.Semaphore] = WeakValueDictionary()

    @contextlib.asynccontextmanager
    async def place(self, sequence: int, newest: int) -> AsyncIterator[None]:
        """Read what follows *sequence*, and hand it on, in the block. Who is far behind waits until few others are."""
        if not self._is_far(sequence, newest):
            yield
            return
        caller = CALLER.get()
        of_caller = self._behind_of.get(caller) or asyncio.Semaphore(MOST_BEHIND_OF_ONE)
        self._behind_of[caller] = of_caller
        async with of_caller, self._behind:
            yield

    async def after(self, sequence: int, newest: int) -> list[Numbered]:
        """Some of the killmails with numbers above *sequence*, up to *newest*, ascending and without a gap.

        Empty when the log does not hold the next one any more.

        Raises:
            Busy, peewee.OperationalError: the database cannot be asked now.
        """
        if found := self._run_from(sequence + 1):
            return found
        if self._is_far(sequence, newest):
            # Nobody else is there.
            return await _load(sequence, copy_context())
        async with self._loading:
            if found := self._run_from(sequence + 1):
                return found
            loaded = await _load(sequence, Context())
            for number, killmail in loaded:
                self._keep(number, killmail)
            return loaded

    def _is_far(self, sequence: int, newest: int) -> bool:
        is_kept = sequence + 1 in self._kept
        return not is_kept and newest - sequence > 2 * BATCH and not self._is_near(sequence)

    def _is_near(self, sequence: int) -> bool:
        """Whether what follows *sequence* is what is kept, or is about to be."""
        return bool(self._kept) and sequence + BATCH >= next(iter(self._kept))

    def _run_from(self, sequence: int) -> list[Numbered]:
        found: list[Numbered] = []
        while len(found) < BATCH and (killmail := self._kept.get(sequence)) is not None:
            found.append((sequence, killmail))
            sequence += 1
        return found

    def _keep(self, sequence: int, killmail: Killmail) -> None:
        self._kept[sequence] = killmail
        self._parts += _parts(killmail)
        while self._parts > MOST_PARTS and len(self._kept) > 1:
            _, oldest = self._kept.popitem(last=False)
            self._parts -= _parts(oldest)


def _parts(killmail: Killmail) -> int:
    return 1 + len(killmail.attackers) + len(killmail.items)


async def _load(sequence: int, context: Context) -> list[Numbered]:
    """The next killmails, read on behalf of nobody's operation: many readers share them, and one may skip all of them."""
    context.run(CURRENT.set, None)
    found: list[Numbered] = await asyncio.get_running_loop().create_task(read_db(_read, sequence), context=context)
    return found


def _read(sequence: int) -> list[Numbered]:
    entries = store.after(sequence, BATCH)
    # Numbers have no gaps: one that is missing here is no longer in the log.
    entries = _bounded([entry for place, entry in enumerate(entries, sequence + 1) if entry.sequence == place])
    killmails = {
        killmail.killmail_id: killmail for killmail in queries.killmails([entry.killmail_id for entry in entries])
    }
    return [(entry.sequence, killmails[entry.killmail_id]) for entry in entries]


def _bounded(entries: list[store.Entry]) -> list[store.Entry]:
    """The first of them, as far as they have no more than BATCH_ATTACKERS together; the first one in any case."""
    if len(entries) < 2:
        return entries
    counted: Any = Stored.select(Stored.killmail_id, Stored.attacker_count)
    rows = counted.where(one_of(Stored.killmail_id, [entry.killmail_id for entry in entries])).namedtuples()
    attackers = {row.killmail_id: row.attacker_count for row in rows}
    sums = itertools.accumulate(attackers[entry.killmail_id] for entry in entries)
    return [
        entry
        for at, (entry, so_far) in enumerate(zip(entries, sums, strict=True))
        if not at or so_far <= BATCH_ATTACKERS
    ]
