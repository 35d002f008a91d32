"""Where many characters belong, though ESI refuses the whole call for one id that it does not know."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from killsync import settings as settings_module
from killsync.esi import errors
from killsync.esi.client import shared
from killsync.esi.schemas import Affiliation

#: ESI takes at most this many ids at a time (POST /characters/affiliation, maxItems).
MOST = 1000
#: So many refused calls are spent on finding an id that ESI does not know, then the rest waits.
MOST_REFUSALS = 8


@dataclass
class Answer:
    """What ESI said. `error`: why it did not say more; who is missing without one is nobody that ESI knows, or was left out."""

    found: dict[int, Affiliation] = field(default_factory=dict)
    error: errors.EsiError | None = None


def look_up(character_ids: Iterable[int], first: int | None = None) -> Answer:
    """Ask for all at once, MOST at the most; where ESI refuses that, for *first* by itself and for the others in halves."""
    answer = Answer()
    try:
        _ask(sorted(set(character_ids)), first, answer.found)
    except errors.EsiError as error:
        answer.error = error
    return answer


def _ask(character_ids: list[int], first: int | None, found: dict[int, Affiliation]) -> None:
    refusals, parts = 0, [character_ids] if character_ids else []
    while parts:
        part = parts.pop()
        try:
            found.update(_asked_for(part, shared(settings_module.current()).affiliations(part)))
        except (errors.BadRequest, errors.NotFound):
            refusals += 1
            if refusals >= MOST_REFUSALS:
                raise
            if len(part) == 1:
                continue
            rest = [number for number in part if number != first]
            middle = (len(rest) + 1) // 2
            parts += [half for half in (rest[middle:], rest[:middle]) if half]
            if first is not None and len(rest) < len(part):
                parts.append([first])


def _asked_for(part: list[int], said: Mapping[int, Affiliation]) -> dict[int, Affiliation]:
    """What was said of those that were asked for: an answer about others is nobody's."""
    return {number: said[number] for number in part if number in said}
