"""What R2Z2's addresses mean and what is said to them, whichever way an answer goes. Pure."""

from __future__ import annotations

#: An entry never changes.
FOR_EVER = "public, max-age=604800, immutable"
NOT_THERE = "not there yet"
GONE = "no longer kept: older killmails are in /api/history/"
_MOST_DIGITS = 18


def number_of(digits: str) -> int:
    """The number that an address names; 0, which nothing has, for what is written as no number is."""
    return int(digits) if len(digits) <= _MOST_DIGITS and not digits.startswith("0") else 0


def sequence_body(newest: int) -> bytes:
    """What says which number is the newest."""
    return b'{"sequence":%d}' % newest
