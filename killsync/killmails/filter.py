"""Which killmails a reader wants: one value for pages, GraphQL, subscriptions and webhooks. Pure.

`killsync.killmails.queries` asks the database for what fits; `Filter.matches` gives the same answer for a killmail that
is in memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from killsync.killmails.killmail import Killmail, Party
from models.killmails import ALLIANCE, ATTACKER_SIDE, CHARACTER, CORPORATION, SHIP_TYPE, VICTIM_SIDE

BOTH_SIDES = VICTIM_SIDE | ATTACKER_SIDE
#: The attribute of a `Party` by kind of involvement.
_ATTRIBUTES = {CHARACTER: "character", CORPORATION: "corporation", ALLIANCE: "alliance", SHIP_TYPE: "ship_type"}


@dataclass(frozen=True)
class Filter:
    """Which killmails: all conditions hold, each on its own; `end` is the last moment that counts.

    `sides` limits where the named party (or the reader's own) stands. A character and a ship type need not have been
    the same pilot.
    """

    character_id: int | None = None
    corporation_id: int | None = None
    alliance_id: int | None = None
    ship_type_id: int | None = None
    system_id: int | None = None
    sides: int = BOTH_SIDES
    start: datetime | None = None
    end: datetime | None = None
    mine: tuple[int, ...] | None = None

    @property
    def parties(self) -> list[tuple[int, tuple[int, ...]]]:
        """(kind of involvement, ids) of each party that must be involved, the rarest kind first."""
        named = (
            (CHARACTER, self.character_id),
            (CORPORATION, self.corporation_id),
            (SHIP_TYPE, self.ship_type_id),
            (ALLIANCE, self.alliance_id),
        )
        found = [(kind, (entity,)) for kind, entity in named if entity is not None]
        return [*([(CHARACTER, self.mine)] if self.mine is not None else []), *found]

    def matches(self, killmail: Killmail) -> bool:
        """Whether *killmail* fits: the same answer as the database gives."""
        if self.system_id is not None and killmail.solar_system.id != self.system_id:
            return False
        if self.start is not None and killmail.killmail_time < self.start:
            return False
        if self.end is not None and killmail.killmail_time > self.end:
            return False
        wanted = self.parties
        if not wanted:
            return True
        present: list[Party] = [
            *([killmail.victim] if self.sides & VICTIM_SIDE else []),
            *(killmail.attackers if self.sides & ATTACKER_SIDE else []),
        ]
        return all(_is_among(present, _ATTRIBUTES[kind], ids) for kind, ids in wanted)


def _is_among(parties: list[Party], attribute: str, ids: tuple[int, ...]) -> bool:
    entities = (getattr(party, attribute) for party in parties)
    return any(entity is not None and entity.id in ids for entity in entities)
