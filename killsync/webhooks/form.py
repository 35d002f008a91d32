"""The form of a webhook: reading what was typed into a filter, and showing a filter as words and as values again."""

from __future__ import annotations

from dataclasses import dataclass, field

from killsync.names.wanted import find_id, names_of
from killsync.webhooks import formats
from killsync.webhooks.filter import (
    BOTH,
    DEFAULT_AGE,
    KILLS,
    LOSSES,
    MOST_AGE,
    MOST_ATTACKERS,
    MOST_SHIPS,
    WebhookFilter,
)
from killsync.webhooks.queries import Row
from models.webhooks import DISCORD, JSON, SLACK

MOST_NAME = 60
AGES = ((900, "15 minutes"), (3_600, "1 hour"), (21_600, "6 hours"), (86_400, "1 day"), (604_800, "7 days"))
KIND_NAMES = {DISCORD: "Discord", SLACK: "Slack", JSON: "JSON, signed"}
SIDE_NAMES = {BOTH: "Kills and losses", KILLS: "Kills only", LOSSES: "Losses only"}
#: Field of the form, table of names, what to call it.
_NAMED = (
    ("corporation_id", "corporation", "corporation"),
    ("alliance_id", "alliance", "alliance"),
    ("system_id", "solar_system", "solar system"),
)


class BadForm(ValueError):
    """What was entered cannot be a webhook; the text says what to mend."""


@dataclass
class Form:
    """What the form shows: the values as they were typed."""

    values: dict[str, str] = field(default_factory=dict)

    def get(self, name: str, default: str = "") -> str:
        return self.values.get(name, default)


def read_form(form: Form) -> tuple[str, WebhookFilter]:
    """(name, filter) of what was typed; looks names up in the database.

    Raises:
        BadForm: it cannot be a webhook; the text says what to mend.
    """
    name = formats.one_line(form.get("name"))[:MOST_NAME]
    if not name:
        raise BadForm("Give the webhook a name.")
    if form.get("side", BOTH) not in SIDE_NAMES:
        raise BadForm("Choose kills, losses or both.")
    found = {each: _one(table, form.get(each), what) for each, table, what in _NAMED}
    typed = [part.strip() for part in form.get("ships").split(",") if part.strip()]
    if len(typed) > MOST_SHIPS:
        raise BadForm(f"Name at most {MOST_SHIPS} ships.")
    ships = [_one("item_type", part, "ship") for part in typed]
    return name, WebhookFilter(
        mine=bool(form.get("mine")),
        side=form.get("side", BOTH),
        ship_type_ids=tuple(ship for ship in ships if ship is not None),
        min_attackers=_number(form.get("min_attackers", "1"), "Attackers", 1, MOST_ATTACKERS),
        max_age=_number(form.get("max_age", str(DEFAULT_AGE)), "Age", 60, MOST_AGE),
        **found,
    )


def _one(table: str, text: str, what: str) -> int | None:
    # Marks that no name has, and that a database does not take, are left out.
    text = formats.one_line(text)
    if not text:
        return None
    found = find_id(table, text)
    if found is None:
        raise BadForm(f"Killsync has seen no {what} called “{text[:60]}” yet: check the name, or enter its id.")
    return found


def _number(text: str, what: str, least: int, most: int) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 12 or not least <= int(text) <= most:
        raise BadForm(f"{what}: enter a number from {least} to {most}.")
    return int(text)


def names_in(listed: list[Row]) -> dict[tuple[str, int], str]:
    """The names of what the filters are about, by (table, id)."""
    wanted = [(table, getattr(row.filter, each)) for row in listed for each, table, _ in _NAMED]
    wanted += [("item_type", ship) for row in listed for ship in row.filter.ship_type_ids]
    return names_of([(table, number) for table, number in wanted if number is not None])


def describe(row: Row, names: dict[tuple[str, int], str]) -> list[str]:
    """The filter in words, one condition each."""
    chosen = row.filter
    if row.problem is not None:
        return [f"conditions that cannot be used: {row.problem}"]

    def name(table: str, number: int) -> str:
        return names.get((table, number)) or str(number)

    said = [SIDE_NAMES[chosen.side] + (" of my characters" if chosen.mine else "")]
    if chosen.corporation_id is not None:
        said.append(f"corporation {name('corporation', chosen.corporation_id)}")
    if chosen.alliance_id is not None:
        said.append(f"alliance {name('alliance', chosen.alliance_id)}")
    if chosen.ship_type_ids:
        said.append("lost ship " + " or ".join(name("item_type", ship) for ship in chosen.ship_type_ids))
    if chosen.system_id is not None:
        said.append(f"in {name('solar_system', chosen.system_id)}")
    if chosen.min_attackers > 1:
        said.append(f"{chosen.min_attackers} attackers or more")
    said.append(f"at most {dict(AGES).get(chosen.max_age, f'{chosen.max_age} seconds')} old")
    return said


def form_of(row: Row, names: dict[tuple[str, int], str]) -> Form:
    """The values that the form of a webhook begins with."""
    chosen = row.filter
    values = {"name": row.name, "kind": row.kind, "side": chosen.side, "mine": "1" if chosen.mine else "",
              "min_attackers": str(chosen.min_attackers), "max_age": str(chosen.max_age)}  # fmt: skip
    for each, table, _ in _NAMED:
        number = getattr(chosen, each)
        values[each] = "" if number is None else names.get((table, number)) or str(number)
    values["ships"] = ", ".join(names.get(("item_type", ship)) or str(ship) for ship in chosen.ship_type_ids)
    return Form(values)
