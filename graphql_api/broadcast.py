"""Equal selections of subscriptions, executed once for all: what an event gives is the same text for whoever selects the same.

The filter of a subscription decides which events it gets, and is no part of what one gives. The resolvers below an event
know nothing of who asks (`graphql_api.subscriptions.as_it_is`), or this would not be allowed.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import msgspec

#: Texts that are kept for those who come to the event a little later, bytes in all.
MOST_KEPT = 8_388_608
#: And how many, since each also keeps its event.
MOST_EVENTS = 500


@dataclass(frozen=True)
class Text:
    """The JSON of a result, and what kept it from being executed at all, if anything did."""

    body: bytes
    refusal: list[dict[str, Any]] | None = None


def is_refusal(result: dict[str, Any]) -> bool:
    """Whether nothing was executed: the protocol has a message of its own for that."""
    return result.get("data") is None and not any(error.get("path") for error in result.get("errors", ()))


class Broadcast:
    """The results of this process's subscriptions, by selection and event."""

    def __init__(self) -> None:
        #: The event is kept with its text: while it is, nothing else has its identity.
        self._texts: dict[tuple[str, int], tuple[Any, asyncio.Task[Text]]] = {}
        #: Those that are there already, the oldest first, with their sizes.
        self._done: deque[tuple[tuple[str, int], int]] = deque()
        self._bytes = 0
        #: Open subscriptions by selection.
        self._subscribers: Counter[str] = Counter()
        self.executed = 0

    def join(self, selection: str) -> bool:
        """Note a subscriber; whether it is the first of its selection."""
        self._subscribers[selection] += 1
        return self._subscribers[selection] == 1

    def leave(self, selection: str) -> None:
        """A subscriber goes."""
        self._subscribers[selection] -= 1
        self._subscribers += Counter()

    async def text(self, selection: str, event: Any, execute: Callable[[], Awaitable[dict[str, Any]]]) -> Text:
        """What *selection* gives of *event*, by *execute* if nobody asked yet."""
        key = (selection, id(event))
        found = self._texts.get(key)
        if found is None:
            found = self._texts[key] = (event, asyncio.create_task(self._execute(key, execute)))
            self.executed += 1
        # A subscriber that goes does not end it for the others.
        return await asyncio.shield(found[1])

    async def _execute(self, key: tuple[str, int], execute: Callable[[], Awaitable[dict[str, Any]]]) -> Text:
        try:
            result = await execute()
            text = Text(msgspec.json.encode(result), result.get("errors", []) if is_refusal(result) else None)
        except BaseException:
            self._texts.pop(key, None)
            raise
        found = self._texts.get(key)
        if found is None or found[1] is not asyncio.current_task():
            return text
        self._bytes += len(text.body)
        self._done.append((key, len(text.body)))
        while len(self._done) > 1 and (self._bytes > MOST_KEPT or len(self._done) > MOST_EVENTS):
            old, size = self._done.popleft()
            self._bytes -= size
            del self._texts[old]
        return text
