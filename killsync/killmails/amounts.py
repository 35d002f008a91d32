"""Amounts of ISK as people read them. Pure."""

from __future__ import annotations

import re
from contextlib import suppress
from decimal import Decimal, InvalidOperation

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


#: `5b`, `1.5 bn`, `250m ISK`, `1,000,000`.
_AMOUNT = re.compile(
    r"(\d+(?:[ _]\d+)*|\d{1,3}(?:,\d{3})+)?(\.\d+)? ?(k|m|mil|mio|b|bn|bil|t|tn)?(?: ?isk)?", re.IGNORECASE | re.ASCII
)
_ZEROS = {"k": 3, "m": 6, "b": 9, "t": 12}
_MOST_CHARACTERS = 40


def read_isk(text: str) -> Decimal:
    """The amount that *text* says, in ISK, as players write it, `5b` is 5,000,000,000, or as programs do.

    Raises:
        ValueError: it says none.
    """
    if len(text) > _MOST_CHARACTERS:
        raise ValueError("too long for an amount of ISK")
    with suppress(InvalidOperation):
        return Decimal(text)
    found = _AMOUNT.fullmatch(text.strip())
    if found is None or (found[1] is None and found[2] is None):
        raise ValueError("no amount of ISK")
    number = Decimal(re.sub(r"[ _,]", "", found[1] or "0") + (found[2] or ""))
    return number.scaleb(_ZEROS[found[3][0].lower()] if found[3] else 0)
