"""The page of one killmail: what was lost, where, by whom, and what it carried."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from killsync.killmails import queries
from killsync.killmails.fitting_slots import Section, section
from killsync.killmails.killmail import Attacker, Entity, Item, Killmail
from killsync.web import sessions
from killsync.web.filter_address import read_id
from killsync.web.pages import elsewhere
from killsync.web.pages.messages import message_page
from killsync.web.render import page
from killsync.web.security import SETTINGS, check_rate
from models.threads import read_db

#: Attackers that are shown at once; the others open on request.
FIRST_ATTACKERS = 20
#: Groups of attackers that are named.
MOST_GROUPS = 6


@dataclass
class Line:
    """One line of what was carried: the same things of one section, and what lay in them.

    `is_vague`: ESI does not say how many there were or what became of some.
    """

    item_type: Entity
    is_copy: bool
    dropped: int = 0
    destroyed: int = 0
    is_vague: bool = False
    inside: list[Line] = field(default_factory=list)


async def killmail(request: web.Request) -> web.Response:
    """GET /killmails/{id}."""
    check_rate(request, "page")
    number = read_id(request.match_info["id"], "killmail")
    found = await read_db(queries.killmail, number)
    if found is None:
        if await read_db(queries.first_listed, number) is None:
            viewer = await sessions.viewer_of(request)
            text = "Killsync has not stored it. It knows killmails of players who logged in, of the last 90 days and since."
            return message_page(request, 404, f"Killmail {number} is not here", text, login=viewer is None)
        text = "It is on a player's list and is being fetched from ESI. Load this page again in a moment."
        return message_page(request, 404, f"Killmail {number} is on its way", text, login=False)
    settings = request.app[SETTINGS]
    return await page(
        request,
        "killmail.html",
        kill=found,
        esi=f"{settings.esi_url}/killmails/{found.killmail_id}/{found.killmail_hash}",
        zkillboard=elsewhere.killmail(found.killmail_id),
        sections=sections(found.items),
        **attackers(found),
    )


def attackers(killmail: Killmail) -> dict[str, Any]:
    """The attackers as the page shows them: most damage first, with the ones to mark and the groups they came in."""
    ordered = sorted(killmail.attackers, key=lambda attacker: -attacker.damage_done)
    total = sum(attacker.damage_done for attacker in ordered)
    top = ordered[0] if ordered and ordered[0].damage_done > 0 else None
    return {
        "attackers": [(attacker, _share(attacker.damage_done, total)) for attacker in ordered],
        "first_attackers": FIRST_ATTACKERS,
        "top": top,
        "groups": groups(ordered) if len(ordered) > 3 else [],
    }


def _share(damage: int, total: int) -> str:
    if not total:
        return ""
    share = 100 * damage / total
    return "under 0.1 %" if 0 < share < 0.05 else f"{share:.1f} %"


def groups(attackers: list[Attacker]) -> list[tuple[str, Entity, int]]:
    """(word, who, how many) of the largest groups: alliances, and corporations or factions where there is none."""
    counted: Counter[tuple[str, int]] = Counter()
    entities: dict[tuple[str, int], Entity] = {}
    for attacker in attackers:
        for word in ("alliance", "corporation", "faction"):
            entity: Entity | None = getattr(attacker, word)
            if entity is not None:
                key = (word, entity.id)
                counted[key] += 1
                entities[key] = entity
                break
    return [(key[0], entities[key], number) for key, number in counted.most_common(MOST_GROUPS)]


def sections(items: list[Item]) -> list[tuple[Section, list[Line]]]:
    """What was carried, by place in the order of a fit, and inside a place by slot."""
    places: dict[Section, list[Item]] = {}
    for item in sorted(items, key=lambda item: item.flag):
        places.setdefault(section(item.flag), []).append(item)
    return [(place, lines(places[place])) for place in sorted(places, key=lambda place: place.position)]


def lines(items: list[Item]) -> list[Line]:
    """Items as lines; equal ones are one line. A container is a line of its own, with its lines inside."""
    made: dict[Any, Line] = {}
    for position, item in enumerate(items):
        dropped, destroyed = item.quantity_dropped or 0, item.quantity_destroyed or 0
        key = position if item.items else (item.item_type.id, item.singleton)
        line = made.setdefault(key, Line(item.item_type, item.singleton == 2))
        line.is_vague = line.is_vague or not (dropped or destroyed)
        line.dropped += dropped
        line.destroyed += destroyed
        line.inside.extend(lines(item.items))
    return list(made.values())
