"""A filter as others write it: GraphQL's input, and the query string of an address. What is wrong is refused with a reason.

Each clause is one line of `CLAUSES`: how each of the two calls it, and how its value is read and written. Both forms are read
back as they were written. Whose characters `mine` means, only the caller knows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from killsync.killmails.classification import SecurityBand
from killsync.killmails.filter import BOTH_SIDES, KillmailFilter, Near
from killsync.killmails.labels import WORDS, is_label
from killsync.static_data import geography
from models.killmails import ATTACKER_SIDE, VICTIM_SIDE

#: An id is what a BIGINT holds.
MOST_ID = 2**63 - 1
#: The most ids, labels or bands of one clause.
MOST_LISTED = 100
#: New Eden is about a hundred jumps and five hundred light years wide.
MOST_JUMPS, MOST_LIGHT_YEARS = 1_000, 100_000.0
#: The most attackers that can be asked for: what an INTEGER holds.
MOST_ATTACKERS = 2**31 - 1
#: No killmail is worth more.
MOST_ISK = 10**18

#: A side in GraphQL and in an address.
_SIDES = {"VICTIM": VICTIM_SIDE, "ATTACKER": ATTACKER_SIDE}
_SIDE_WORDS = {"losses": VICTIM_SIDE, "kills": ATTACKER_SIDE}


class BadFilter(ValueError):
    """A clause cannot be used; the text says which and why, `clause` how the reader calls it."""

    def __init__(self, reason: str, clause: str) -> None:
        super().__init__(reason)
        self.clause = clause


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


@dataclass(frozen=True)
class ClauseForm:
    """A clause: the attribute of `KillmailFilter`, GraphQL's name, the word of an address, and the form of its value."""

    attribute: str
    graphql: str
    word: str
    form: Form


def _id(given: Any) -> int:
    text = str(given)
    if text.isascii() and text.isdigit() and len(text) <= 19 and int(text) <= MOST_ID:
        return int(text)
    raise ValueError(f"is a whole number up to {MOST_ID}")


def _whole(least: int, most: int) -> Callable[[Any], int]:
    def read(given: Any) -> int:
        if isinstance(given, str) and (not (given.isascii() and given.isdigit()) or len(given) > 10):
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
        number = Decimal(str(given)) if len(str(given)) <= 40 else Decimal(-1)
    except InvalidOperation:
        number = Decimal(-1)
    if not (number.is_finite() and 0 <= number <= MOST_ISK):
        raise ValueError(f"is a number of ISK from 0 to {MOST_ISK}")
    return number.quantize(Decimal("0.01"))


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
MOMENT = Form(_moment, _moment, _iso, _iso)
BANDS = Form(_band, _band, lambda value: value.name, str, is_list=True)
LABELS = Form(_label, _label, _same, str, is_list=True)
SIDE = Form(_side, _side, _word_of(_SIDES), _word_of(_SIDE_WORDS))  # type: ignore[arg-type]

CLAUSES = (
    ClauseForm("character_id", "characterId", "character", ID),
    ClauseForm("corporation_id", "corporationId", "corporation", ID),
    ClauseForm("alliance_id", "allianceId", "alliance", ID),
    ClauseForm("ship_type_id", "shipTypeId", "ship", ID),
    ClauseForm("ship_group_id", "shipGroupId", "group", ID),
    ClauseForm("sides", "side", "side", SIDE),
    ClauseForm("system_id", "systemId", "system", ID),
    ClauseForm("constellation_id", "constellationId", "constellation", ID),
    ClauseForm("region_id", "regionId", "region", ID),
    ClauseForm("security", "security", "security", BANDS),
    ClauseForm("near.system_id", "nearSystemId", "near", ID),
    ClauseForm("near.max_jumps", "maxJumps", "jumps", JUMPS),
    ClauseForm("near.max_light_years", "maxLightYears", "light-years", LIGHT_YEARS),
    ClauseForm("start", "startDate", "from", MOMENT),
    ClauseForm("end", "endDate", "to", MOMENT),
    ClauseForm("victim_ship_group_ids", "victimShipGroupIds", "victim-group", IDS),
    ClauseForm("victim_ship_category_ids", "victimShipCategoryIds", "victim-category", IDS),
    ClauseForm("attacker_ship_group_ids", "attackerShipGroupIds", "attacker-group", IDS),
    ClauseForm("attacker_ship_category_ids", "attackerShipCategoryIds", "attacker-category", IDS),
    ClauseForm("min_attackers", "minAttackers", "attackers-from", COUNT),
    ClauseForm("max_attackers", "maxAttackers", "attackers-to", COUNT),
    ClauseForm("min_value", "minValue", "value-from", ISK),
    ClauseForm("max_value", "maxValue", "value-to", ISK),
    ClauseForm("npc", "npc", "npc", FLAG),
    ClauseForm("solo", "solo", "solo", FLAG),
    ClauseForm("awox", "awox", "awox", FLAG),
    ClauseForm("labels", "labels", "labels", LABELS),
)


def from_graphql(given: Mapping[str, Any], mine: tuple[int, ...] | None = None) -> KillmailFilter:
    """The filter of GraphQL's input; *mine* are the caller's characters where it asks for `mine`.

    Raises:
        BadFilter: a value is none, or two clauses contradict each other.
    """
    values = {}
    for clause in CLAUSES:
        value = given.get(clause.graphql)
        if value is not None:
            values[clause.attribute] = _read(clause.form.read, value, clause.graphql, clause.form.is_list)
    return _filter(values, mine, {clause.attribute: clause.graphql for clause in CLAUSES})


def to_graphql(chosen: KillmailFilter) -> dict[str, Any]:
    """The same as GraphQL's input, as JSON has it."""
    return {clause.graphql: _written(clause.form.write, value) for clause, value in _given(chosen)} | (
        {"mine": True} if chosen.mine is not None else {}
    )


def from_address(
    query: Mapping[str, str], mine: tuple[int, ...] | None = None, *, located: bool = True
) -> KillmailFilter:
    """The filter of a query string; lists are separated by commas, other words are passed over.

    Without *located* nothing is read to find out which systems are near: enough to see that it makes sense, and to write it.

    Raises:
        BadFilter: a value is none, or two clauses contradict each other.
    """
    values = {}
    for clause in CLAUSES:
        text = query.get(clause.word)
        if text:
            given = text.split(",") if clause.form.is_list else text
            values[clause.attribute] = _read(clause.form.read_text, given, clause.word, clause.form.is_list)
    return _filter(values, mine, {clause.attribute: clause.word for clause in CLAUSES}, located=located)


def to_address(chosen: KillmailFilter) -> list[tuple[str, str]]:
    """The same as parts of a query string."""
    pairs = []
    for clause, value in _given(chosen):
        text = _written(clause.form.write_text, value)
        pairs.append((clause.word, ",".join(text) if isinstance(text, list) else text))
    return pairs + ([("mine", "1")] if chosen.mine is not None else [])


def _given(chosen: KillmailFilter) -> Iterable[tuple[ClauseForm, Any]]:
    """The clauses that *chosen* has, with their values."""
    for clause in CLAUSES:
        of, _, attribute = clause.attribute.rpartition(".")
        holder = getattr(chosen, of) if of else chosen
        value = getattr(holder, attribute, None)
        if value is not None and value != () and not (attribute == "sides" and value == BOTH_SIDES):
            yield clause, value


def _written(write: Callable[[Any], Any], value: Any) -> Any:
    return [write(each) for each in value] if isinstance(value, tuple) else write(value)


def _read(read: Callable[[Any], Any], given: Any, name: str, is_list: bool) -> Any:
    try:
        if not is_list:
            return read(given)
        if not given:
            raise ValueError("is an empty list: leave it out, or name at least one")
        if len(given) > MOST_LISTED:
            raise ValueError(f"has more than {MOST_LISTED} entries")
        return tuple(dict.fromkeys(read(each) for each in given))
    except ValueError as error:
        raise BadFilter(f"{name} {error}", name) from None


def _filter(
    values: dict[str, Any], mine: tuple[int, ...] | None, names: Mapping[str, str], *, located: bool = True
) -> KillmailFilter:
    """The filter of these values by attribute; *names* is how the reader calls each."""
    near = {name.removeprefix("near."): values.pop(name) for name in tuple(values) if name.startswith("near.")}
    chosen = KillmailFilter(**values, mine=mine, near=_near(near, names, located) if near else None)
    for least, most in (("min_attackers", "max_attackers"), ("min_value", "max_value"), ("start", "end")):
        low, high = getattr(chosen, least), getattr(chosen, most)
        if low is not None and high is not None and low > high:
            raise BadFilter(f"{names[least]} is above {names[most]}: nothing can be both", names[least])
    if chosen.npc and chosen.solo:
        raise BadFilter(
            f"{names['npc']} and {names['solo']} contradict each other: a kill by NPCs is never solo", names["npc"]
        )
    return chosen


def _near(given: dict[str, Any], names: Mapping[str, str], located: bool) -> Near:
    origin = given.get("system_id")
    jumps, light_years = given.get("max_jumps"), given.get("max_light_years")
    if origin is None:
        name = names["near.max_light_years" if jumps is None else "near.max_jumps"]
        raise BadFilter(f"{name} needs {names['near.system_id']}", name)
    if jumps is None and light_years is None:
        name = names["near.system_id"]
        raise BadFilter(f"{name} needs {names['near.max_jumps']} or {names['near.max_light_years']}", name)
    if not located:
        return Near(origin, jumps, light_years)
    known = geography.current().get()
    found = [set(known.within(origin, jumps))] if jumps is not None else []
    found += [known.around(origin, light_years)] if light_years is not None else []
    return Near(origin, jumps, light_years, frozenset(set.intersection(*found)))
