"""The fields of the form of a tracker: one for each clause of a filter, in groups that people think in. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from killsync.killmails.classification import SecurityBand
from killsync.killmails.filter_forms import CLAUSES, OWN
from killsync.killmails.filter_values import BANDS, COUNT, FLAG, ISK, JUMPS, LABELS, LIGHT_YEARS, MOMENT, SIDE
from killsync.killmails.filter_words import ORGANIZATIONS
from killsync.names.typeahead import SHIPS, WEAPONS

#: Killmails older than this when they were stored are not told of, seconds: a first sync brings 90 days of them.
DEFAULT_AGE = 3_600
AGES = ((900, "15 minutes"), (3_600, "1 hour"), (21_600, "6 hours"), (86_400, "1 day"), (604_800, "7 days"))
_BAND_NAMES = {SecurityBand.HIGH: "High", SecurityBand.LOW: "Low", SecurityBand.NULL: "Null",
               SecurityBand.WORMHOLE: "Wormhole", SecurityBand.ABYSSAL: "Abyssal", SecurityBand.POCHVEN: "Pochven"}  # fmt: skip


@dataclass(frozen=True)
class Field:
    """One field.

    Attributes:
        word: its name in the form, and that of the clause in an address.
        label: what people call it.
        kind: names, number, amount, flag, bands, labels, moment, age, side or own.
        tables: of the names that it takes.
        categories: of the types that are suggested; empty for all.
        choices: (value, label) of what can be chosen.
    """

    word: str
    label: str
    kind: str
    tables: tuple[str, ...] = ()
    categories: tuple[int, ...] = ()
    choices: tuple[tuple[str, str], ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its controls in the form."""
        return tuple(f"{self.word}.{value}" for value, _ in self.choices) if self.kind == "bands" else (self.word,)


@dataclass(frozen=True)
class Group:
    """Fields that stand together; those of a group that is not open at first are used less often."""

    legend: str
    fields: tuple[Field, ...]
    is_open: bool = False

    def is_used(self, values: dict[str, str]) -> bool:
        """Whether any of its fields was filled in."""
        return any(values.get(name) for field in self.fields for name in field.names)


_BY_WORD = {clause.word: clause for clause in CLAUSES}
_KINDS = {id(FLAG): "flag", id(BANDS): "bands", id(LABELS): "labels", id(MOMENT): "moment", id(SIDE): "side",
          id(COUNT): "number", id(JUMPS): "number", id(ISK): "amount", id(LIGHT_YEARS): "number"}  # fmt: skip


def _field(word: str, label: str) -> Field:
    clause = _BY_WORD[word]
    if clause.table is not None:
        tables = ORGANIZATIONS if clause.table == "organization" else (clause.table,)
        categories = WEAPONS if "weapon" in word else SHIPS
        return Field(word, label, "names", tables, categories if clause.table in ("item_type", "item_group") else ())
    kind = "age" if word == "age" else _KINDS[id(clause.form)]
    choices: tuple[tuple[str, str], ...] = ()
    if kind == "flag":
        choices = (("", "does not matter"), ("1", "only those"), ("0", "none of those"))
    elif kind == "bands":
        choices = tuple((str(band), name) for band, name in _BAND_NAMES.items())
    elif kind == "side":
        choices = (("", "Kills and losses"), ("kills", "Kills only"), ("losses", "Losses only"))
    elif kind == "age":
        choices = (*((str(seconds), text) for seconds, text in AGES), ("", "any age"))
    return Field(word, label, kind, (), (), choices)


def _of_party(before: str, *, weapons: bool) -> tuple[Field, ...]:
    kinds = [("character", "Pilots"), ("corporation", "Corporations"), ("alliance", "Alliances"), ("faction", "Factions"),
             ("ship", "Ships"), ("group", "Ship classes"), ("category", "Ship categories")]  # fmt: skip
    kinds += [("weapon", "Weapons"), ("weapon-group", "Weapon classes")] if weapons else []
    return tuple(_field(f"{before}-{word}", label) for word, label in kinds)


def _own() -> tuple[Field, ...]:
    labels = {"mine": "One of my characters", "my-corporation": "My corporation", "my-alliance": "My alliance"}
    return tuple(Field(word, labels[word], "own") for _, _, word, _ in OWN)


GROUPS = (
    Group(
        "Who takes part",
        (
            *_own(),
            _field("side", "Which side"),
            _field("character", "Pilot"),
            _field("corporation", "Corporation"),
            _field("alliance", "Alliance"),
            _field("ship", "Ship"),
            _field("group", "Ship class"),
        ),
        is_open=True,
    ),
    Group("Who was lost", _of_party("victim", weapons=False)),
    Group("Who was lost, none of", _of_party("not-victim", weapons=False)),
    Group("Who did it", (*_of_party("attacker", weapons=True), _field("final-blow", "Final blow by"))),
    Group("Who did it, none of", _of_party("not-attacker", weapons=True)),
    Group(
        "Where",
        (
            _field("systems", "Systems"),
            _field("constellations", "Constellations"),
            _field("regions", "Regions"),
            _field("security", "Kinds of space"),
            _field("near", "Near the system"),
            _field("jumps", "Jumps, at most"),
            _field("light-years", "Light years, at most"),
        ),
        is_open=True,
    ),
    Group(
        "Where not",
        (
            _field("not-systems", "Systems"),
            _field("not-constellations", "Constellations"),
            _field("not-regions", "Regions"),
            _field("not-security", "Kinds of space"),
        ),
    ),
    Group(
        "What kind",
        (
            _field("value-from", "Worth at least, ISK"),
            _field("value-to", "Worth at most, ISK"),
            _field("attackers-from", "Attackers, at least"),
            _field("attackers-to", "Attackers, at most"),
            _field("npc", "By NPCs"),
            _field("solo", "Solo"),
            _field("awox", "By their own corporation"),
            _field("war", "Of a war"),
            _field("labels", "With all labels"),
            _field("not-labels", "Without labels"),
            _field("age", "Not older than, when stored"),
        ),
        is_open=True,
    ),
    Group(
        "One place, or a time",
        (
            _field("system", "System"),
            _field("constellation", "Constellation"),
            _field("region", "Region"),
            _field("from", "Not before"),
            _field("to", "Not after"),
        ),
    ),
)
FIELDS = {field.word: field for group in GROUPS for field in group.fields}
#: A field by the name that a page says of it: where two have the same label, the group tells them apart.
TITLES = {
    field.word: f"{group.legend}: {field.label}" if not group.is_open else field.label
    for group in GROUPS
    for field in group.fields
}
