"""The clauses of a list's filter as its page shows them: in words, each with a way to take it away."""

from __future__ import annotations

from dataclasses import dataclass

from killsync.killmails.amounts import isk
from killsync.names.entities import ENTITY_KINDS
from killsync.names.wanted import names_of
from killsync.web.filter_address import Chosen
from killsync.webhooks.fields import FIELDS, TITLES, Field
from models.threads import read_db

#: Names of one clause that are written out.
_MOST_NAMES = 3
_Names = dict[tuple[str, int], str]


@dataclass(frozen=True)
class Chip:
    """One clause: what it is about, what it says, and the list without it."""

    label: str
    text: str
    without: Chosen


async def chips_of(chosen: Chosen) -> list[Chip]:
    """A chip for each clause but for what the page itself is about."""
    ids = [(word, number) for word, number in chosen.ids.items() if word != chosen.about]
    wanted = [(ENTITY_KINDS[word].table_name, number) for word, number in ids]
    wanted += [each for word, text in chosen.more for each in _named(FIELDS[word], text)]
    names: _Names = await read_db(names_of, wanted) if wanted else {}
    return [
        *(
            Chip(
                ENTITY_KINDS[word].noun,
                names.get((ENTITY_KINDS[word].table_name, number)) or f"{ENTITY_KINDS[word].noun} {number}",
                chosen.without(word),
            )
            for word, number in ids
        ),
        *(
            Chip(TITLES[word].removesuffix(", ISK"), _said(FIELDS[word], text, names), chosen.without(word))
            for word, text in chosen.more
        ),
    ]


def _named(of: Field, text: str) -> list[tuple[str, int]]:
    """What an address names by ids, as (table, id): of organizations each table that may know it."""
    ids = text.split(",")[:_MOST_NAMES] if of.kind == "names" else []
    return [(table, int(number)) for number in ids for table in of.tables]


def _said(of: Field, text: str, names: _Names) -> str:
    """The value of a clause of an address, in words."""
    if of.kind == "own":
        return ""
    if of.kind == "amount":
        return isk(float(text))
    if of.kind == "names":
        return _listed(of, text.split(","), names)
    labels = dict(of.choices)
    said = ", ".join(labels.get(part, part) for part in text.split(","))
    return f"{said} seconds" if of.kind == "age" and text not in labels else said


def _listed(of: Field, ids: list[str], names: _Names) -> str:
    shown = [
        next((names[table, int(number)] for table in of.tables if (table, int(number)) in names), number)
        for number in ids[:_MOST_NAMES]
    ]
    more = len(ids) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
