"""The record of what was spent at ESI by all processes: by the hour for ever, by the minute for the operator's charts."""

from __future__ import annotations

import time
from typing import Any

from peewee import EXCLUDED

from killsync.observability import counters
from models.esi import EsiUsage
from models.exactly_once import in_transaction_once
from models.fields import span_text


def _write(values: list[tuple[Any, ...]]) -> None:
    fields = [EsiUsage.hour, EsiUsage.route, EsiUsage.outcome, EsiUsage.requests, EsiUsage.tokens]
    added = {each: each + EXCLUDED[each.name] for each in (EsiUsage.requests, EsiUsage.tokens)}
    query = EsiUsage.insert_many(values, fields).on_conflict(conflict_target=fields[:3], update=added)
    in_transaction_once(query.execute)


class Usage:
    """Adds up what this process spends; it is in the tables a few seconds later."""

    def __init__(self) -> None:
        self._later = counters.BufferedSums(_write)

    def add(self, route: str, outcome: str, tokens: int) -> None:
        """Count one request."""
        self._later.add((span_text(int(time.time() // 3600), 3600), route, outcome), 1, tokens)
        counters.add(counters.REQUESTS, f"{route}|{outcome}")
        if tokens:
            counters.add(counters.TOKENS, route, tokens)

    def flush(self) -> None:
        """Write what has been counted since the last time."""
        self._later.flush()
        counters.flush()
