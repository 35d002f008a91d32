"""Amounts of ISK as people read them. Pure."""

from __future__ import annotations

_UNITS = ((1e12, "t"), (1e9, "b"), (1e6, "m"), (1e3, "k"))


def isk(amount: float) -> str:
    """An amount with three digits and the unit that players use, such as `1.24b ISK`."""
    for size, unit in _UNITS:
        # What rounds up to the next unit is written in that.
        if amount >= size * 0.9995:
            value = amount / size
            digits = 2 if value < 9.995 else 1 if value < 99.95 else 0
            return f"{value:,.{digits}f}{unit} ISK"
    return f"{amount:.2f} ISK" if amount < 10 else f"{amount:.0f} ISK"
