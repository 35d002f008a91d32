"""A filter as a sentence in plain English, and why a killmail does not fit it. Pure; names are given."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from killsync.killmails.amounts import isk
from killsync.killmails.clauses import BOTH_SIDES
from killsync.killmails.filter import KillmailFilter
from killsync.killmails.filter_forms import BY_ATTRIBUTE, CLAUSES, value_of
from killsync.killmails.killmail import Killmail
from models.killmails import VICTIM_SIDE

#: What is called how, by (table, id).
Names = Mapping[tuple[str, int], str]
ORGANIZATIONS = ("corporation", "alliance", "faction")

_KINDS = {"character_ids": "pilot", "corporation_ids": "corporation", "alliance_ids": "alliance", "faction_ids": "faction",
          "ship_type_ids": "", "ship_group_ids": "class", "ship_category_ids": "category", "weapon_type_ids": "",
          "weapon_group_ids": "class"}  # fmt: skip
_SINGLE = {"character_id": "pilot", "corporation_id": "corporation", "alliance_id": "alliance", "ship_type_id": "ship",
           "ship_group_id": "ship class"}  # fmt: skip
_OWN = {"mine": "one of my characters", "my_corporation": "my corporation", "my_alliance": "my alliance"}
_BANDS = {"high": "high security", "low": "low security", "null": "null security", "wormhole": "wormhole space",
          "abyssal": "abyssal space", "pochven": "Pochven"}  # fmt: skip
_FLAGS = {"npc": "a kill by NPCs", "solo": "a solo kill", "awox": "a kill by the victim’s own corporation",
          "war": "part of a war"}  # fmt: skip


def named_in(chosen: KillmailFilter) -> list[tuple[str, int]]:
    """(table, id) of all whose names the sentence needs."""
    found: list[tuple[str, int]] = []
    for clause in CLAUSES:
        value = value_of(chosen, clause.attribute)
        if clause.table is None or value is None:
            continue
        ids = value if isinstance(value, tuple) else (value,)
        tables = ORGANIZATIONS if clause.table == "organization" else (clause.table,)
        found += [(table, number) for table in tables for number in ids]
    return found


def sentence(chosen: KillmailFilter, names: Names) -> str:
    """The filter as one sentence."""
    parts = list(_parts(chosen, names))
    if not parts:
        return "Every killmail."
    text = "; ".join(parts)
    return f"Killmails: {text}."


def _parts(chosen: KillmailFilter, names: Names) -> Iterator[str]:
    yield from _involved(chosen, names)
    yield from _side(chosen, names, "victim", "the victim is", "the victim is not")
    yield from _side(chosen, names, "attackers", "an attacker is", "no attacker is")
    if chosen.final_blow_ids:
        yield f"the final blow is by {_any(_organization(each, names) for each in chosen.final_blow_ids)}"
    yield from _where(chosen, names)
    yield from _how_many(chosen)
    yield from _worth(chosen)
    for name, words in _FLAGS.items():
        if (wanted := getattr(chosen, name)) is not None:
            yield f"it is {'' if wanted else 'not '}{words}"
    if chosen.labels:
        yield f"labelled {_all(chosen.labels)}"
    if chosen.not_labels:
        yield f"not labelled {_any(chosen.not_labels)}"
    yield from _when(chosen)
    if chosen.unknown:
        yield f"and, which this version cannot use, {_all(name for name, _ in chosen.unknown)}"


def _involved(chosen: KillmailFilter, names: Names) -> Iterator[str]:
    stands = {BOTH_SIDES: "takes part", VICTIM_SIDE: "is the victim"}.get(chosen.sides, "is among the attackers")
    for own, words in _OWN.items():
        if getattr(chosen, own) is not None:
            yield f"{words} {stands}"
    for attribute, noun in _SINGLE.items():
        if (number := getattr(chosen, attribute)) is not None:
            yield f"the {noun} {_name(BY_ATTRIBUTE[attribute].table, number, names)} {stands}"
    is_alone = chosen.sides != BOTH_SIDES and not chosen.needs_own
    if is_alone and all(getattr(chosen, attribute) is None for attribute in _SINGLE):
        yield "losses or kills of anybody"


def _side(chosen: KillmailFilter, names: Names, of: str, is_so: str, is_not: str) -> Iterator[str]:
    for prefix, words in (("", is_so), ("not_", is_not)):
        for field, noun in _KINDS.items():
            ids = value_of(chosen, f"{prefix}{of}.{field}") or ()
            if not ids:
                continue
            table = BY_ATTRIBUTE[f"{of}.{field}"].table
            said = _any(_name(table, number, names) for number in ids)
            yield f"{words} {_verb(field, of)}{f'the {noun} ' if noun else ''}{said}"


def _verb(field: str, of: str) -> str:
    if field.startswith("ship"):
        return "" if of == "victim" else "flying "
    if field.startswith("weapon"):
        return "using "
    return "" if field == "character_ids" else "of "


def _where(chosen: KillmailFilter, names: Names) -> Iterator[str]:
    for one, several in (
        ("system_id", "system_ids"),
        ("constellation_id", "constellation_ids"),
        ("region_id", "region_ids"),
    ):
        table = BY_ATTRIBUTE[one].table
        if (place := getattr(chosen, one)) is not None:
            yield f"in {_name(table, place, names)}"
        for attribute, word in ((several, "in"), (f"not_{several}", "not in")):
            if places := getattr(chosen, attribute):
                yield f"{word} {_any(_name(table, each, names) for each in places)}"
    for attribute, word in (("security", "in"), ("not_security", "not in")):
        if bands := getattr(chosen, attribute):
            yield f"{word} {_any(_BANDS[each] for each in bands)}"
    near = chosen.near
    if near is not None:
        ways = [f"{near.max_jumps} jump{'' if near.max_jumps == 1 else 's'}"] if near.max_jumps is not None else []
        ways += [f"{near.max_light_years:g} light years"] if near.max_light_years is not None else []
        yield f"within {_all(ways)} of {_name('solar_system', near.system_id, names)}"


def _how_many(chosen: KillmailFilter) -> Iterator[str]:
    low, high = chosen.min_attackers, chosen.max_attackers
    if low is not None and low == high:
        yield f"exactly {_attackers(low)}"
    elif low is not None:
        yield f"at least {_attackers(low)}{f' and at most {high:,}' if high is not None else ''}"
    elif high is not None:
        yield f"at most {_attackers(high)}"


def _worth(chosen: KillmailFilter) -> Iterator[str]:
    low, high = chosen.min_value, chosen.max_value
    if low is not None:
        yield f"worth at least {isk(float(low))}{f' and at most {isk(float(high))}' if high is not None else ''}"
    elif high is not None:
        yield f"worth at most {isk(float(high))}"


def _attackers(count: int) -> str:
    return f"{count:,} attacker{'' if count == 1 else 's'}"


def _when(chosen: KillmailFilter) -> Iterator[str]:
    if chosen.start is not None:
        yield f"not before {_moment(chosen.start)}"
    if chosen.end is not None:
        yield f"not after {_moment(chosen.end)}"
    if chosen.max_age is not None:
        yield f"stored within {duration(chosen.max_age)}"


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} EVE time"


def duration(seconds: int) -> str:
    """Seconds in the largest unit that says them whole."""
    for size, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds // size} {unit}{'' if seconds == size else 's'}"
    return f"{seconds} second{'' if seconds == 1 else 's'}"


def _name(table: str | None, number: int, names: Names) -> str:
    return names.get((table or "", number)) or str(number)


def _organization(number: int, names: Names) -> str:
    return next((names[table, number] for table in ORGANIZATIONS if (table, number) in names), str(number))


def _any(words: Iterable[str]) -> str:
    return _listed(words, "or")


def _all(words: Iterable[str]) -> str:
    return _listed(words, "and")


def _listed(words: Iterable[str], last: str) -> str:
    found = [str(word) for word in words]
    return found[0] if len(found) == 1 else f"{', '.join(found[:-1])} {last} {found[-1]}"


def why_not(chosen: KillmailFilter, killmail: Killmail, names: Names) -> list[str]:
    """Why a killmail does not fit, one reason for each clause; empty when it does."""
    return list(dict.fromkeys(_reason(name, chosen, killmail, names) for name, _ in chosen.missed(killmail)))


def _reason(name: str, chosen: KillmailFilter, killmail: Killmail, names: Names) -> str:
    count = killmail.attacker_count
    if name == "max_age":
        return f"older than {duration(chosen.max_age or 0)} when stored"
    if name in ("min_attackers", "max_attackers"):
        return f"{'only ' if name == 'min_attackers' else ''}{_attackers(count)}"
    if name in ("min_value", "max_value"):
        return f"worth {isk(float(killmail.total_value))}" if killmail.value is not None else "its value is not known"
    if name in _FLAGS:
        return f"it is {'not ' if getattr(chosen, name) else ''}{_FLAGS[name]}"
    if name == "start":
        return "before the first moment that counts"
    if name == "end":
        return "after the last moment that counts"
    of, _, field = name.partition(".")
    alone = KillmailFilter(sides=chosen.sides, **_only(chosen, of))
    if of in ("victim", "attackers", "not_victim", "not_attackers"):
        parties = getattr(chosen, of)
        alone = KillmailFilter(**{of: type(parties)(**{field: getattr(parties, field)})})
    said = "; ".join(_parts(alone, names))
    return f"not so: {said}"


def _only(chosen: KillmailFilter, attribute: str) -> dict[str, Any]:
    return {attribute: getattr(chosen, attribute)} if attribute not in ("sides",) else {}
