"""Whom a reader calls "mine": their characters, and the corporations and alliances that these are in. Reads only.

A corporation is the one that ESI named last, else that of the character's newest killmail; an alliance is that of the newest
killmail on which the character was in this corporation.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from killsync.killmails.filter import Own
from models import Attacker, Involvement, Victim
from models.access import Affiliation
from models.killmails import VICTIM_SIDE
from models.sync import Membership
from models.users import User

#: Killmails of a character that are looked at.
_NEWEST = 3


def own_of(character_ids: Sequence[int]) -> Own:
    """What belongs to the owner of these characters."""
    asked: Any = Affiliation.select().where(Affiliation.character_id.in_(list(character_ids)))
    said = {
        each.character_id: (each.corporation_id, each.alliance_id) for each in asked if each.corporation_id is not None
    }
    members: Any = Membership.select(User.character_id, Membership.corporation_id).join(
        User, on=(User.id == Membership.user_id)
    )
    named = {
        row.character_id: row.corporation_id
        for row in members.where(User.character_id.in_(list(character_ids))).namedtuples()
    }
    corporations, alliances = [], []
    for character_id in character_ids:
        corporation_id, alliance_id = said.get(character_id, (named.get(character_id), None))
        for of, seen in _seen(character_id) if character_id not in said else ():
            corporation_id = corporation_id or of
            if of == corporation_id:
                alliance_id = seen
                break
        corporations.append(corporation_id)
        alliances.append(alliance_id)
    return Own(tuple(character_ids), _unique(corporations), _unique(alliances))


def _seen(character_id: int) -> list[tuple[int | None, int | None]]:
    """(corporation, alliance) of a character on its newest killmails, the newest first."""
    of_character = Involvement.character_id == character_id
    newest = Involvement.select(Involvement.killmail_id, Involvement.sides).where(of_character)
    found = []
    order = (Involvement.killmail_time.desc(), Involvement.killmail_id.desc())
    for place in newest.order_by(*order).limit(_NEWEST).namedtuples():
        table: Any = Victim if place.sides & VICTIM_SIDE else Attacker
        is_it = (table.killmail_id == place.killmail_id) & (table.character_id == character_id)
        row = table.select(table.corporation_id, table.alliance_id).where(is_it).namedtuples().first()
        if row is not None:
            found.append((row.corporation_id, row.alliance_id))
    return found


def _unique(ids: Iterable[int | None]) -> tuple[int, ...]:
    return tuple(dict.fromkeys(number for number in ids if number is not None))
