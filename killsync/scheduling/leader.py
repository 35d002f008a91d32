"""Which of several schedulers ticks: a lease in the database that each tick renews."""

from __future__ import annotations

from killsync import leases

#: A scheduler that has not renewed its lease for this long is taken to be dead, seconds.
LEASE_SECONDS = 15.0
_NAME = "scheduler"


def acquire(holder: str) -> bool:
    """Become or stay the scheduler that ticks; False while another one is."""
    return leases.acquire(_NAME, holder, LEASE_SECONDS)


def resign(holder: str) -> None:
    """Let another scheduler take over at once."""
    leases.acquire(_NAME, holder, 0.0)


def seconds_since_tick() -> float | None:
    """Seconds since a scheduler last renewed the lease, as each tick does; None when none ever did."""
    left = leases.seconds_left(_NAME)
    return None if left is None else max(0.0, LEASE_SECONDS - left)
