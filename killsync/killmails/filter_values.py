"""How the values of a filter's clauses are read and written: ids, counts, moments, labels. What is none is refused. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from killsync.killmails.amounts import read_isk
from killsync.killmails.classification import SecurityBand
from killsync.killmails.labels import WORDS, is_label
from models.killmails import ATTACKER_SIDE, VICTIM_SIDE

#: An id is what a BIGINT holds.
MOST_ID = 2**63 - 1
#: The most ids, labels or bands of one clause.
MOST_LISTED = 100
#: New Eden is about a hundred jumps and five hundred light years wide.
MOST_JUMPS, MOST_LIGHT_YEARS = 1_000, 100_000.0
#: The most attackers that can be asked for: what an INTEGER holds.
MOST_ATTACKERS = 2**31 - 1

#: No killmail is worth more, ISK.
MOST_ISK = 10**18
#: The greatest age that can be asked for, seconds: what a first sync brings is 90 days old at most.
MOST_AGE = 3_650 * 86_400

#: A side in GraphQL and in an address.
_SIDES = {"VICTIM": VICTIM_SIDE, "ATTACKER": ATTACKER_SIDE}
_SIDE_WORDS = {"losses": VICTIM_SIDE, "kills": ATTACKER_SIDE}


@dataclass(frozen=True)
class Form:
    """How a kind of value is read from GraphQL and from text, and written to them. Readers raise ValueError with a reason.

    Attributes:
        is_list: several may be given; readers and writers are of one.
    """

    read: Callable[[Any], Any]
    read_text: Callable[[str], Any]
    write: Callable[[Any], Any]
    write_text: Callable[[Any], str]
    is_list: bool = False


def _id(given: Any) -> int:
    text = str(given)
    if text.isascii() and text.isdigit() and len(text) <= 19 and int(text) <= MOST_ID:
        return int(text)
    raise ValueError(f"is a whole number up to {MOST_ID}")


def _whole(least: int, most: int) -> Callable[[Any], int]:
    def read(given: Any) -> int:
        if isinstance(given, str) and (not (given.isascii() and given.isdigit()) or len(given) > 10):
            raise ValueError("is a whole number")
        if isinstance(given, float) and not given.is_integer():
            raise ValueError("is a whole number")
        if not least <= int(given) <= most:
            raise ValueError(f"is from {least} to {most}")
        return int(given)

    return read


def _distance(given: Any) -> float:
    try:
        number = float(given)
    except ValueError:
        number = math.nan
    if not 0 <= number <= MOST_LIGHT_YEARS:
        raise ValueError(f"is a number from 0 to {MOST_LIGHT_YEARS:.0f}")
    return number


def _amount(given: Any) -> Decimal:
    try:
        number = read_isk(str(given))
    except ValueError:
        number = Decimal(-1)
    if not (number.is_finite() and 0 <= number <= MOST_ISK):
        raise ValueError(f"is a number of ISK from 0 to {MOST_ISK}, such as 250m or 1.5b")
    # As many digits as a Float of GraphQL has: what is written is read back.
    return Decimal(f"{number:.15g}").quantize(Decimal("0.01"))


def _flag(given: Any) -> bool:
    if given not in (True, False, "1", "0"):
        raise ValueError("is 1 or 0")
    return given in (True, "1")


def _moment(text: Any) -> datetime:
    if isinstance(text, datetime):
        return text
    try:
        moment = datetime.fromisoformat(text) if len(text) <= 40 else None
    except ValueError:
        moment = None
    if moment is None:
        raise ValueError("is a date or time in ISO 8601")
    try:
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except OverflowError:
        raise ValueError("is a date or time in ISO 8601") from None


def _band(given: str) -> SecurityBand:
    try:
        return SecurityBand(given.lower())
    except ValueError:
        raise ValueError(f"is one of {', '.join(SecurityBand)}") from None


def _label(given: str) -> str:
    if not is_label(given):
        raise ValueError(f"knows no “{given[:40]}”: labels are {', '.join(WORDS)} and cat:<category id>")
    return given


def _side(given: Any) -> int:
    side = {**_SIDES, **_SIDE_WORDS}.get(given)
    if side is None:
        raise ValueError("is kills or losses")
    return side


def _word_of(words: Mapping[str, int]) -> Callable[[int], str | None]:
    return {side: word for word, side in words.items()}.get


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat()


def _same(value: Any) -> Any:
    return value


ID = Form(_id, _id, str, str)
IDS = replace(ID, is_list=True)
COUNT = Form(_whole(0, MOST_ATTACKERS), _whole(0, MOST_ATTACKERS), _same, str)
JUMPS = Form(_whole(0, MOST_JUMPS), _whole(0, MOST_JUMPS), _same, str)
LIGHT_YEARS = Form(_distance, _distance, _same, repr)
FLAG = Form(_flag, _flag, _same, lambda value: "1" if value else "0")
ISK = Form(_amount, _amount, float, lambda value: format(value.normalize(), "f"))
AGE = Form(_whole(0, MOST_AGE), _whole(0, MOST_AGE), _same, str)
MOMENT = Form(_moment, _moment, _iso, _iso)
BANDS = Form(_band, _band, lambda value: value.name, str, is_list=True)
LABELS = Form(_label, _label, _same, str, is_list=True)
SIDE = Form(_side, _side, _word_of(_SIDES), _word_of(_SIDE_WORDS))  # type: ignore[arg-type]
