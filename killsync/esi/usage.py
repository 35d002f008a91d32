"""The record of what was spent at ESI by all processes: by the hour for ever, by the minute for the operator's charts."""

from __future__ import annotations

from typing import Any

from killsync.observability import counters
from models.db import in_transaction
from models.fields import to_text, utcnow
from models.sql import insert_rows


def _write(values: list[tuple[Any, ...]]) -> None:
    in_transaction(
        lambda: insert_rows(
            "esi_usage",
            ("hour", "route", "outcome", "requests", "tokens"),
            values,
            "ON CONFLICT (hour, route, outcome) DO UPDATE SET requests = esi_usage.requests + "
            "excluded.requests, tokens = esi_usage.tokens + excluded.tokens",
        )
    )


class Usage:
    """Adds up what this process spends; it is in the tables a few seconds later."""

    def __init__(self) -> None:
        self._later = counters.BufferedSums(_write)

    def add(self, route: str, outcome: str, tokens: int) -> None:
        """Count one request."""
        hour = to_text(utcnow().replace(minute=0, second=0, microsecond=0))
        self._later.add((hour, route, outcome), 1, tokens)
        counters.add(counters.REQUESTS, f"{route}|{outcome}")
        if tokens:
            counters.add(counters.TOKENS, route, tokens)

    def flush(self) -> None:
        """Write what has been counted since the last time."""
        self._later.flush()
        counters.flush()
