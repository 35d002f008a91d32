"""The operator's own prices: a file of lines such as `11567, 75000000000`, a type and its price in ISK. They come before ESI's.

For what has no market (prizes of tournaments, titans), or where the market is wrong. What follows a `#` is a remark.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from killsync.prices.valuation import to_micros

#: The file is read to so many bytes: a price for every type there is has a third of it.
MOST_BYTES = 4_000_000


@dataclass(frozen=True)
class FixedPrices:
    """What the file says. Its bad lines count for nothing, and `problems` says which they are and why.

    Attributes:
        prices: millionths of an ISK by type.
    """

    prices: dict[int, int] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


def parse(text: str) -> FixedPrices:
    """The prices of a file's text."""
    prices: dict[int, int] = {}
    problems: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].replace(",", " ").replace(";", " ").split()
        if not words or (number == 1 and words[0].lower() == "type_id"):
            continue
        if len(words) != 2 or not (words[0].isascii() and words[0].isdigit() and len(words[0]) < 19):
            problems.append(f"line {number}: write a type id and a price in ISK, such as `11567, 75000000000`")
            continue
        price = to_micros(words[1].replace("_", ""))
        if price is None:
            problems.append(f"line {number}: the price has to be a number above 0, such as 75000000000 or 0.01")
            continue
        prices[int(words[0])] = price
    return FixedPrices(prices, tuple(problems))


def read(path: Path | None) -> FixedPrices:
    """The prices of the file *path*; none without one. A file that cannot be read is a problem, no error."""
    if path is None:
        return FixedPrices()
    try:
        with path.open("rb") as file:
            text = file.read(MOST_BYTES).decode("utf-8-sig")
    except OSError as error:
        return FixedPrices(problems=(f"it cannot be read ({error.strerror})",))
    except UnicodeDecodeError:
        return FixedPrices(problems=("it is no text in UTF-8",))
    return parse(text)
