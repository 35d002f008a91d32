"""The labels of killmails that other killboards know, and how they are stored: a bit for each. Pure.

Bits stand in the database: a label keeps its place in `WORDS` for ever, new ones are added at the end. `cat:<category id>` has no
bit, since the category of what was lost is a column of its own.
"""

from __future__ import annotations

from collections.abc import Iterable

CATEGORY = "cat:"
WORDS = (
    "npc", "solo", "awox", "pvp", "capital", "war",
    "#:1", "#:2+", "#:5+", "#:10+", "#:25+", "#:50+", "#:100+", "#:1000+",
    "loc:highsec", "loc:lowsec", "loc:nullsec", "loc:w-space", "loc:abyssal", "loc:drifter",
    "tz:use", "tz:usw", "tz:au", "tz:ru", "tz:eu",
    "isk:1b+", "isk:5b+", "isk:10b+", "isk:100b+", "isk:1t+",
)  # fmt: skip
BITS = {word: 1 << place for place, word in enumerate(WORDS)}
#: The bits of labels that a value gives: the others are of what the killmail is about.
VALUE_BITS = sum(bit for word, bit in BITS.items() if word.startswith("isk:"))


def is_label(word: str) -> bool:
    """Whether a killmail can have the label *word*."""
    return word in BITS or category_of(word) is not None


def category_of(word: str) -> int | None:
    """The category of a label `cat:<category id>`; None for every other."""
    number = word.removeprefix(CATEGORY)
    is_category = number != word and number.isascii() and number.isdigit() and len(number) <= 9
    return int(number) if is_category else None


def bits_of(words: Iterable[str]) -> int:
    """The bits of labels; those without one count nothing."""
    bits = 0
    for word in words:
        bits |= BITS.get(word, 0)
    return bits


def labels_of(bits: int, category_id: int | None) -> tuple[str, ...]:
    """The labels of a killmail, sorted.

    Args:
        bits: as stored.
        category_id: of what was lost; None where the build does not know it.
    """
    words = [word for word, bit in BITS.items() if bits & bit]
    return tuple(sorted([*words, *([f"{CATEGORY}{category_id}"] if category_id is not None else [])]))
