"""How the ledger stands, for operators: how many killmails are in which state, and which one has waited longest."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from peewee import fn

from models.killmails import PENDING, KillmailRef


def counts() -> dict[str, int]:
    """Number of ledger rows by state."""
    by_state: Any = KillmailRef.select(KillmailRef.state, fn.COUNT(KillmailRef.killmail_id).alias("number")).group_by(
        KillmailRef.state
    )
    return {each.state: each.number for each in by_state.namedtuples()}


@dataclass(frozen=True)
class OldestPending:
    """The killmail that has waited longest to be fetched."""

    killmail_id: int
    discovered_at: datetime
    attempts: int
    last_error: str | None


def oldest_pending() -> OldestPending | None:
    """The killmail that has waited longest; None when nothing waits."""
    waiting: Any = KillmailRef.select(
        KillmailRef.killmail_id, KillmailRef.discovered_at, KillmailRef.attempts, KillmailRef.last_error
    ).where(KillmailRef.state == PENDING)
    oldest = waiting.order_by(KillmailRef.discovered_at).dicts().first()
    return OldestPending(**oldest) if oldest else None
