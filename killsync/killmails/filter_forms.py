"""A filter as others write it: GraphQL's input, the query string of an address, JSON. What is wrong is refused with a reason.

Each clause is one line of `CLAUSES`: how each calls it, and how its value is read and written. Every form is read back as it was
written. JSON is GraphQL's input, as it is stored; what a newer version wrote into it is kept. Whom a reader calls "mine", only
the caller knows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from killsync.killmails.clauses import BOTH_SIDES
from killsync.killmails.filter import KillmailFilter, Near, Own, Parties
from killsync.killmails.filter_contradictions import contradiction
from killsync.killmails.filter_values import (
    AGE,
    BANDS,
    COUNT,
    FLAG,
    ID,
    IDS,
    ISK,
    JUMPS,
    LABELS,
    LIGHT_YEARS,
    MOMENT,
    MOST_LISTED,
    SIDE,
    Form,
)
from killsync.static_data import geography


class BadFilter(ValueError):
    """A clause cannot be used; the text says which and why, `clause` how the reader calls it."""

    def __init__(self, reason: str, clause: str) -> None:
        super().__init__(reason)
        self.clause = clause


@dataclass(frozen=True)
class ClauseForm:
    """A clause: the attribute of `KillmailFilter`, GraphQL's name, the word of an address, and the form of its value.

    `table` is the table of names that its ids are of, where they are of one.
    """

    attribute: str
    graphql: str
    word: str
    form: Form
    table: str | None = None


#: What parties are told by: field of `Parties`, GraphQL's word, an address's word, table of names.
_KINDS = (
    ("character_ids", "Character", "character", "character"),
    ("corporation_ids", "Corporation", "corporation", "corporation"),
    ("alliance_ids", "Alliance", "alliance", "alliance"),
    ("faction_ids", "Faction", "faction", "faction"),
    ("ship_type_ids", "ShipType", "ship", "item_type"),
    ("ship_group_ids", "ShipGroup", "group", "item_group"),
    ("ship_category_ids", "ShipCategory", "category", "item_category"),
)
_WEAPONS = (
    ("weapon_type_ids", "WeaponType", "weapon", "item_type"),
    ("weapon_group_ids", "WeaponGroup", "weapon-group", "item_group"),
)


def _of_parties() -> Iterable[ClauseForm]:
    for attribute, name, word, kinds in (
        ("victim", "victim", "victim", _KINDS),
        ("attackers", "attacker", "attacker", _KINDS + _WEAPONS),
        ("not_victim", "excludeVictim", "not-victim", _KINDS),
        ("not_attackers", "excludeAttacker", "not-attacker", _KINDS + _WEAPONS),
    ):
        for field, kind, of, table in kinds:
            yield ClauseForm(f"{attribute}.{field}", f"{name}{kind}Ids", f"{word}-{of}", IDS, table)


CLAUSES = (
    ClauseForm("character_id", "characterId", "character", ID, "character"),
    ClauseForm("corporation_id", "corporationId", "corporation", ID, "corporation"),
    ClauseForm("alliance_id", "allianceId", "alliance", ID, "alliance"),
    ClauseForm("ship_type_id", "shipTypeId", "ship", ID, "item_type"),
    ClauseForm("ship_group_id", "shipGroupId", "group", ID, "item_group"),
    ClauseForm("sides", "side", "side", SIDE),
    *_of_parties(),
    ClauseForm("final_blow_ids", "finalBlowOrganizationIds", "final-blow", IDS, "organization"),
    ClauseForm("system_id", "systemId", "system", ID, "solar_system"),
    ClauseForm("constellation_id", "constellationId", "constellation", ID, "constellation"),
    ClauseForm("region_id", "regionId", "region", ID, "region"),
    ClauseForm("system_ids", "systemIds", "systems", IDS, "solar_system"),
    ClauseForm("constellation_ids", "constellationIds", "constellations", IDS, "constellation"),
    ClauseForm("region_ids", "regionIds", "regions", IDS, "region"),
    ClauseForm("security", "security", "security", BANDS),
    ClauseForm("not_system_ids", "excludeSystemIds", "not-systems", IDS, "solar_system"),
    ClauseForm("not_constellation_ids", "excludeConstellationIds", "not-constellations", IDS, "constellation"),
    ClauseForm("not_region_ids", "excludeRegionIds", "not-regions", IDS, "region"),
    ClauseForm("not_security", "excludeSecurity", "not-security", BANDS),
    ClauseForm("near.system_id", "nearSystemId", "near", ID, "solar_system"),
    ClauseForm("near.max_jumps", "maxJumps", "jumps", JUMPS),
    ClauseForm("near.max_light_years", "maxLightYears", "light-years", LIGHT_YEARS),
    ClauseForm("start", "startDate", "from", MOMENT),
    ClauseForm("end", "endDate", "to", MOMENT),
    ClauseForm("max_age", "maxAgeSeconds", "age", AGE),
    ClauseForm("min_attackers", "minAttackers", "attackers-from", COUNT),
    ClauseForm("max_attackers", "maxAttackers", "attackers-to", COUNT),
    ClauseForm("min_value", "minValue", "value-from", ISK),
    ClauseForm("max_value", "maxValue", "value-to", ISK),
    ClauseForm("npc", "npc", "npc", FLAG),
    ClauseForm("solo", "solo", "solo", FLAG),
    ClauseForm("awox", "awox", "awox", FLAG),
    ClauseForm("war", "war", "war", FLAG),
    ClauseForm("labels", "labels", "labels", LABELS),
    ClauseForm("not_labels", "excludeLabels", "not-labels", LABELS),
)
#: Whom a reader calls theirs: attribute of `KillmailFilter`, GraphQL's name, an address's word, attribute of `Own`.
OWN = (
    ("mine", "mine", "mine", "characters"),
    ("my_corporation", "myCorporation", "my-corporation", "corporations"),
    ("my_alliance", "myAlliance", "my-alliance", "alliances"),
)
BY_ATTRIBUTE = {clause.attribute: clause for clause in CLAUSES}
#: What clauses were called when webhooks had filters of their own, and what they are called now.
_FORMER = {"corporation_id": "corporationId", "alliance_id": "allianceId", "system_id": "systemId",
           "ship_type_ids": "victimShipTypeIds", "min_attackers": "minAttackers", "max_age": "maxAgeSeconds"}  # fmt: skip


def from_graphql(given: Mapping[str, Any], own: Own | None = None) -> KillmailFilter:
    """The filter of GraphQL's input; *own* is whom the caller calls theirs, where it asks for that.

    Raises:
        BadFilter: a value is none, or two clauses contradict each other.
    """
    values = {
        clause.attribute: _read(clause.form.read, value, clause.graphql, clause.form.is_list)
        for clause in CLAUSES
        if (value := given.get(clause.graphql)) is not None
    }
    values |= _own({name for name, word, *_ in OWN if given.get(word)}, own)
    return _filter(values, {clause.attribute: clause.graphql for clause in CLAUSES} | {a: g for a, g, *_ in OWN})


def to_graphql(chosen: KillmailFilter) -> dict[str, Any]:
    """The same as GraphQL's input, as JSON has it."""
    return {clause.graphql: _written(clause.form.write, value) for clause, value in _given(chosen)} | {
        word: True for attribute, word, *_ in OWN if getattr(chosen, attribute) is not None
    }


def from_address(query: Mapping[str, str], own: Own | None = None, *, located: bool = True) -> KillmailFilter:
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
    values |= _own({name for name, _, word, _ in OWN if query.get(word) == "1"}, own)
    names = {clause.attribute: clause.word for clause in CLAUSES} | {a: w for a, _, w, _ in OWN}
    return _filter(values, names, located=located)


def to_address(chosen: KillmailFilter) -> list[tuple[str, str]]:
    """The same as parts of a query string."""
    pairs = []
    for clause, value in _given(chosen):
        text = _written(clause.form.write_text, value)
        pairs.append((clause.word, ",".join(text) if isinstance(text, list) else text))
    return pairs + [(word, "1") for attribute, _, word, _ in OWN if getattr(chosen, attribute) is not None]


def from_json(text: str, own: Own | None = None, *, located: bool = True) -> KillmailFilter:
    """The filter that `to_json` wrote, here, in a newer version, or for a webhook of an older one.

    Raises:
        BadFilter: it is no filter, a value is none, or two clauses contradict each other.
    """
    try:
        stored = json.loads(text)
    except (ValueError, RecursionError):
        raise BadFilter("the filter is not readable", "filter") from None
    if not isinstance(stored, dict):
        raise BadFilter("the filter is not readable", "filter")
    stored = _renamed(stored)
    values, unknown = {}, []
    by_name = {clause.graphql: clause for clause in CLAUSES}
    flags = {word for _, word, *_ in OWN}
    for name, value in stored.items():
        clause = by_name.get(name)
        if clause is not None:
            values[clause.attribute] = _read(_scalar(clause.form), value, name, clause.form.is_list)
        elif name not in flags:
            unknown.append((name, json.dumps(value, separators=(",", ":"), sort_keys=True)))
        elif not isinstance(value, bool):
            raise BadFilter(f"{name} is true or false", name)
    values |= _own({name for name, word, *_ in OWN if stored.get(word)}, own)
    names = {clause.attribute: clause.graphql for clause in CLAUSES} | {a: g for a, g, *_ in OWN}
    return replace(_filter(values, names, located=located), unknown=tuple(sorted(unknown)))


def to_json(chosen: KillmailFilter) -> str:
    """The same as text that `from_json` reads."""
    given = to_graphql(chosen) | {name: json.loads(value) for name, value in chosen.unknown}
    return json.dumps(given, separators=(",", ":"), sort_keys=True)


def _renamed(stored: Mapping[str, Any]) -> dict[str, Any]:
    """What is stored, by the names that clauses have now; what says nothing is left out."""
    found = {_FORMER.get(name, name): value for name, value in stored.items() if value is not None}
    if found.get("side") == "both":
        del found["side"]
    if "min_attackers" in stored and found.get("minAttackers") in (0, 1):
        found.pop("minAttackers", None)
    if "ship_type_ids" in stored and found.get("victimShipTypeIds") == []:
        del found["victimShipTypeIds"]
    return found


def _scalar(form: Form) -> Callable[[Any], Any]:
    """The reader of a value of JSON, where anything may stand."""

    def read(given: Any) -> Any:
        if isinstance(given, bool) != (form is FLAG) or not isinstance(given, bool | int | float | str):
            raise ValueError("has a value of another kind")
        return form.read(given)

    return read


def _own(wanted: set[str], own: Own | None) -> dict[str, tuple[int, ...]]:
    return {name: getattr(own or Own(), of) for name, _, _, of in OWN if name in wanted}


def _given(chosen: KillmailFilter) -> Iterable[tuple[ClauseForm, Any]]:
    """The clauses that *chosen* has, with their values."""
    for clause in CLAUSES:
        value = value_of(chosen, clause.attribute)
        if value is not None and value != () and not (clause.attribute == "sides" and value == BOTH_SIDES):
            yield clause, value


def value_of(chosen: KillmailFilter, attribute: str) -> Any:
    """The value of a clause by the name that `CLAUSES` has for it."""
    of, _, name = attribute.rpartition(".")
    return getattr(getattr(chosen, of) if of else chosen, name, None)


def _written(write: Callable[[Any], Any], value: Any) -> Any:
    return [write(each) for each in value] if isinstance(value, tuple) else write(value)


def _read(read: Callable[[Any], Any], given: Any, name: str, is_list: bool) -> Any:
    try:
        if not is_list:
            return read(given)
        if not isinstance(given, list | tuple):
            raise ValueError("is no list")
        if not given:
            raise ValueError("is an empty list: leave it out, or name at least one")
        if len(given) > MOST_LISTED:
            raise ValueError(f"has more than {MOST_LISTED} entries")
        return tuple(dict.fromkeys(read(each) for each in given))
    except (ValueError, TypeError, AttributeError, OverflowError) as error:
        reason = str(error) if type(error) is ValueError else "has no value that can be read"
        raise BadFilter(f"{name} {reason}", name) from None


def _filter(values: dict[str, Any], names: Mapping[str, str], *, located: bool = True) -> KillmailFilter:
    """The filter of these values by attribute; *names* is how the reader calls each."""
    parts: dict[str, Any] = {}
    for attribute in tuple(values):
        of, _, name = attribute.rpartition(".")
        if of:
            parts.setdefault(of, {})[name] = values.pop(attribute)
    near = parts.pop("near", None)
    parties: dict[str, Any] = {of: Parties(**ids) for of, ids in parts.items()}
    chosen = KillmailFilter(
        **values,
        **parties,
        near=_near(near, names, located) if near else None,
    )
    if (found := contradiction(chosen, names)) is not None:
        reason, attribute = found
        raise BadFilter(reason, names[attribute])
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
