"""R2Z2's entries: what is served under each number of the log, made once and kept ready in memory, packed too.

Everybody who polls asks for the same few numbers, and an entry never changes: so most of what is asked costs no statement.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from contextvars import Context
from dataclasses import dataclass
from typing import Any

import msgspec

from killsync.events import store
from killsync.events.hub import Hub
from killsync.events.store import Span
from killsync.feed import queries
from killsync.feed.zkb import zkb_of
from killsync.killmails import queries as killmails
from killsync.killmails.esi_body import body_of
from models.fields import moment
from models.threads import read_db

#: What is kept, bytes.
MOST_BYTES = 48 * 2**20
#: Entries that are made at a time: who reads one reads the next ones.
BATCH = 25
#: How long a request waits for the first look at the log, seconds.
FIRST_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Packed:
    """One entry, ready to be sent."""

    sequence: int
    body: bytes
    gzipped: bytes
    etag: str


class NotThere(LookupError):
    """Nothing has this number yet."""


class Gone(LookupError):
    """The log does not go back to this number any more."""


class Unknown(Exception):
    """This process has not seen the log yet."""


class Entries:
    """The entries of this process; *esi_url* is what their links to ESI begin with."""

    def __init__(self, hub: Hub, esi_url: str) -> None:
        self._hub = hub
        self._esi_url = esi_url
        self._kept: OrderedDict[int, Packed] = OrderedDict()
        self._bytes = 0
        self._making = asyncio.Lock()

    async def newest(self) -> int:
        """The newest number, 1 while the log is empty.

        Raises:
            Unknown: this process has not seen the log yet.
        """
        return max(1, (await self._span()).newest)

    def newest_known(self) -> int | None:
        """The same without waiting: None where it is not known yet."""
        span = self._hub.span
        return None if span is None else max(1, span.newest)

    async def _span(self) -> Span:
        span = self._hub.span
        if span is not None:
            return span
        try:
            return await asyncio.wait_for(self._hub.known_span(), FIRST_SECONDS)
        except TimeoutError:
            raise Unknown from None

    async def get(self, sequence: int) -> Packed:
        """The entry of a number.

        Raises:
            NotThere, Gone: there is none.
            Unknown: this process has not seen the log yet.
            Busy, peewee.OperationalError: the database cannot be asked now.
        """
        await self._span()
        if (found := self.known(sequence)) is not None:
            return found
        async with self._making:
            if (found := self._ready(sequence)) is None:
                made = await asyncio.get_running_loop().create_task(
                    read_db(_make, sequence, self._esi_url), context=Context()
                )
                for each in made:
                    self._keep(each)
                found = made[0] if made and made[0].sequence == sequence else None
        if found is None:
            raise Gone
        return found

    def known(self, sequence: int) -> Packed | None:
        """The entry of a number, where it is at hand; None where it has to be read.

        Raises:
            NotThere, Gone: there is none.
        """
        span = self._hub.span
        if span is None:
            return None
        if not 1 <= sequence <= span.newest:
            raise NotThere
        if sequence < span.oldest:
            raise Gone
        return self._ready(sequence)

    def _ready(self, sequence: int) -> Packed | None:
        found = self._kept.get(sequence)
        if found is not None:
            self._kept.move_to_end(sequence)
        return found

    def _keep(self, entry: Packed) -> None:
        if entry.sequence in self._kept:
            return
        self._kept[entry.sequence] = entry
        self._bytes += len(entry.body) + len(entry.gzipped)
        while self._bytes > MOST_BYTES and len(self._kept) > 1:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= len(oldest.body) + len(oldest.gzipped)


def _make(sequence: int, esi_url: str) -> list[Packed]:
    """The entries from *sequence* on, some at a time."""
    numbered = store.after(sequence - 1, BATCH)
    ids = [entry.killmail_id for entry in numbered]
    whole = {killmail.killmail_id: killmail for killmail in killmails.killmails(ids)}
    made = []
    for entry, row in zip(numbered, queries.summaries(ids), strict=True):
        text = row["body"]
        body = body_of(whole[entry.killmail_id]) if text is None else msgspec.Raw(text.encode())
        made.append(_packed(entry.sequence, row, body, esi_url))
    return made


def _packed(sequence: int, row: Mapping[str, Any], body: Any, esi_url: str) -> Packed:
    content = msgspec.json.encode({
        "killmail_id": row["killmail_id"],
        "hash": row["killmail_hash"],
        "esi": body,
        "zkb": zkb_of(row, esi_url),
        "uploaded_at": int(moment(row["created_at"]).timestamp()),
        "sequence_id": sequence,
    })  # fmt: skip
    etag = hashlib.blake2b(content, digest_size=12).hexdigest()
    return Packed(sequence, content, gzip.compress(content, 5, mtime=0), etag)
