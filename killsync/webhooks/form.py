"""The form of a tracker: reading what was typed into a filter and a voice, and showing them as typed values again.

What is wrong is said field by field, and everything that was typed stays.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from killsync.killmails.filter import KillmailFilter, Own
from killsync.killmails.filter_forms import BadFilter, from_address, to_address
from killsync.killmails.filter_values import MOST_LISTED
from killsync.killmails.filter_words import Names, named_in
from killsync.names import typeahead
from killsync.names.wanted import find_ids, names_of
from killsync.webhooks import formats, voice
from killsync.webhooks.fields import DEFAULT_AGE, FIELDS, TITLES, Field
from killsync.webhooks.voice import BadVoice, Voice

MOST_NAME = 60
#: Names of kinds that a typed name may stand over several parts between commas: “Foo, Bar & Sons”.
_MOST_PARTS = 4
#: Fields with a name that is none for which the nearest names are looked up: each looks through whole tables.
_MOST_HELPED = 3


@dataclass
class Form:
    """What the form shows: the values as they were typed, and what is wrong with them, by field."""

    values: dict[str, str] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)

    def get(self, name: str, default: str = "") -> str:
        return self.values.get(name, default)


def new_form() -> Form:
    """The form of a tracker that is to be made."""
    return Form({"mine": "1", "age": str(DEFAULT_AGE)})


def read_filter(form: Form, own: Own) -> KillmailFilter:
    """The filter of what was typed; names are looked up. What is wrong is noted in the form's problems, and left out."""
    query: dict[str, str] = {}
    for word, of in FIELDS.items():
        if of.kind == "bands":
            query[word] = ",".join(value for value, _ in of.choices if form.get(f"{word}.{value}"))
        elif of.kind == "names":
            query[word] = ",".join(str(number) for number in _ids(form, of))
        elif of.kind == "labels":
            query[word] = ",".join(part for part in re.split(r"[,\s]+", form.get(word)) if part)
        elif of.kind == "number":
            query[word] = form.get(word).replace(" ", "").replace("_", "")
        else:
            query[word] = form.get(word)
    while True:
        try:
            # What is near is found once, when all else is right.
            from_address({word: text for word, text in query.items() if text}, own, located=False)
            return from_address({word: text for word, text in query.items() if text}, own)
        except BadFilter as error:
            form.problems.setdefault(error.clause, _in_words(str(error)))
            if not query.pop(error.clause, ""):
                return KillmailFilter()


def _in_words(reason: str) -> str:
    """A reason with the labels of the form in the place of the words of an address."""
    words = sorted(TITLES, key=len, reverse=True)
    # "from 0 to 9" is no clause.
    pattern = "|".join(rf"(?<![\w-]){re.escape(word)}(?![\w-]| \d)" for word in words)
    head, colon, tail = reason.partition(":")
    return re.sub(pattern, lambda found: f"“{TITLES[found[0]]}”", head) + colon + tail + "."


def _ids(form: Form, of: Field) -> list[int]:
    """The ids of the names that were typed into a field, separated by commas or lines."""
    text = form.get(of.word)
    parts = [part for each in re.split(r"[,\n]", text) if (part := formats.one_line(each))]
    if len(parts) > MOST_LISTED:
        form.problems[of.word] = f"“{TITLES[of.word]}” takes at most {MOST_LISTED} names."
        return []
    known = _known(of, [text for place in range(len(parts)) for text in _spans(parts, place)])
    found: list[int] = []
    place = 0
    while place < len(parts):
        spans = _spans(parts, place)
        meant = next((text for text in spans if text in known), None)
        if meant is not None:
            found.append(known[meant])
            place += len(spans) - spans.index(meant)
            continue
        if of.word not in form.problems:
            is_helped = len(form.problems) < _MOST_HELPED
            form.problems[of.word] = _unknown(of, parts[place], is_helped=is_helped)
        place += 1
    return found


def _spans(parts: Sequence[str], place: int) -> list[str]:
    """What may be one name from *place* on, the longest first."""
    longest = min(_MOST_PARTS, len(parts) - place)
    return [", ".join(parts[place : place + size]) for size in range(longest, 0, -1)]


def _known(of: Field, texts: Sequence[str]) -> dict[str, int]:
    """The ids of those of *texts* that are a name or an id, by text: a statement for each table, however many there are."""
    known: dict[str, int] = {}
    for table in of.tables:
        known = find_ids(table, [text for text in texts if text not in known]) | known
    return known


def _unknown(of: Field, text: str, *, is_helped: bool) -> str:
    near = [each.name for each in typeahead.find(of.tables, text, 3, of.categories)] if is_helped else []
    more = f" Did you mean {' or '.join(near)}?" if near else " Check the name, or enter its id."
    return f"“{TITLES[of.word]}”: nothing called “{text[:60]}” is known here.{more}"


def read_voice(form: Form) -> Voice:
    """How the tracker is to speak; what is wrong is noted in the form's problems."""
    name = formats.one_line(form.get("name"))[:MOST_NAME]
    if not name:
        form.problems["name"] = "Give it a name."
    title = formats.one_line(form.get("title"))[: voice.MOST_TITLE]
    try:
        color = voice.read_color(form.get("color") if form.get("with_color") else "")
        ping = voice.read_ping(form.get("ping"), form.get("role"))
        thread_id = voice.read_thread(form.get("thread"))
    except BadVoice as error:
        form.problems["voice"] = str(error)
        return Voice(name, title)
    return Voice(name, title, color, ping, thread_id)


def names_in(filters: Sequence[KillmailFilter]) -> dict[tuple[str, int], str]:
    """The names of all that the filters are about, by (table, id)."""
    return names_of([each for chosen in filters for each in named_in(chosen)])


def form_of(said: Voice, chosen: KillmailFilter, names: Names) -> Form:
    """The values that the form of a tracker begins with."""
    values = {"name": said.name, "title": said.title, "thread": said.thread_id}
    values |= {"color": voice.written_color(said.color), "with_color": "1" if said.color is not None else ""}
    values |= {"ping": "role", "role": said.role_id} if said.role_id else {"ping": said.ping}
    return Form(values | typed(chosen, names))


def typed(chosen: KillmailFilter, names: Names) -> dict[str, str]:
    """A filter as it would be typed into the form."""
    values: dict[str, str] = {}
    for word, text in to_address(chosen):
        of = FIELDS[word]
        if of.kind == "bands":
            values |= {f"{word}.{value}": "1" for value in text.split(",")}
        elif of.kind == "names":
            values[word] = ", ".join(_typed(of, [int(number) for number in text.split(",")], names))
        else:
            values[word] = text.replace(",", ", ")
    return values


def _typed(of: Field, numbers: Sequence[int], names: Names) -> list[str]:
    """Ids as they would be typed: as names, but for those that would be looked up as another's, which several have."""
    called = {
        number: names[table, number] for number in numbers for table in reversed(of.tables) if (table, number) in names
    }
    known = _known(of, list(called.values()))
    return [
        called[number] if number in called and known.get(called[number]) == number else str(number)
        for number in numbers
    ]
