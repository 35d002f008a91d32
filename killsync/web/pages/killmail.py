"""The page of one killmail: what was lost, where, by whom, and what it carried."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from killsync.fitting import fits
from killsync.fitting.values import Fitting
from killsync.killmails import queries
from killsync.killmails.filter import KillmailFilter
from killsync.killmails.filter_forms import to_address
from killsync.killmails.fitting_slots import Section, section
from killsync.killmails.killmail import Entity, Item, Killmail
from killsync.web import sessions
from killsync.web.filter_address import read_id
from killsync.web.pages import elsewhere, fitting_panel
from killsync.web.pages.messages import message_page
from killsync.web.pages.sides import share, sides
from killsync.web.render import page
from killsync.web.security import SETTINGS, check_rate, client_ip, network_of
from killsync.web.turns import Turns
from models.threads import Busy, in_service, read_db

#: Attackers that are shown at once; the others open on request.
FIRST_ATTACKERS = 20
#: Sides that are named.
MOST_SIDES = 12
#: Lines of what was carried that are marked as the most valuable.
MOST_DEAR = 3
#: A page waits so long for the fit, seconds; then it is shown without.
FIT_SECONDS = 3.0
#: Pages that are at work, of one caller and of all, callers in turn: each holds a killmail, which may be a battle of a thousand.
OF_ONE, IN_ALL = 2, 8
TURNS = web.AppKey("killmail_pages", Turns)


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
    value: float = 0.0
    is_dear: bool = False
    inside: list[Line] = field(default_factory=list)


async def killmail(request: web.Request) -> web.Response:
    """GET /killmails/{id}."""
    check_rate(request, "page")
    number = read_id(request.match_info["id"], "killmail")
    async with request.app[TURNS].turn(network_of(client_ip(request))):
        return await _killmail(request, number)


async def _killmail(request: web.Request, number: int) -> web.Response:
    found = await read_db(queries.killmail, number)
    if found is None:
        if await read_db(queries.first_listed, number) is None:
            viewer = await sessions.viewer_of(request)
            text = "Killsync has not stored it. It knows killmails of players who logged in, of the last 90 days and since."
            return message_page(request, 404, f"Killmail {number} is not here", text, login=viewer is None)
        text = "It is on a player's list and is being fetched from ESI. Load this page again in a moment."
        return message_page(request, 404, f"Killmail {number} is on its way", text, login=False)
    settings = request.app[SETTINGS]
    fit = await _fit(found)
    lines_of = sections(found.items)
    mark_dearest(lines_of)
    return await page(
        request,
        "killmail.html",
        kill=found,
        esi=f"{settings.esi_url}/killmails/{found.killmail_id}/{found.killmail_hash}",
        zkillboard=elsewhere.killmail(found.killmail_id),
        sections=lines_of,
        fit=fit,
        racks=fitting_panel.racks(fit) if fit is not None else [],
        figures=fitting_panel.figures(fit.stats) if fit is not None and fit.stats is not None else [],
        defences=fitting_panel.defences(fit.stats) if fit is not None and fit.stats is not None else [],
        around=nearby(found),
        **attackers(found),
    )


async def _fit(killmail: Killmail) -> Fitting | None:
    """The fit; None where there is no time for it."""
    try:
        return await asyncio.wait_for(in_service(fits.fitting, killmail), FIT_SECONDS)
    except (TimeoutError, Busy):
        return None


def nearby(killmail: Killmail) -> str:
    """The query string of the killmails of the same system within half an hour before and after."""
    half = timedelta(minutes=30)
    chosen = KillmailFilter(
        system_id=killmail.solar_system.id, start=killmail.killmail_time - half, end=killmail.killmail_time + half
    )
    return urlencode(to_address(chosen))


def mark_dearest(sections: list[tuple[Section, list[Line]]]) -> None:
    """Mark the lines that were worth most."""
    every = [line for _, top in sections for each in top for line in (each, *each.inside) if line.value > 0]
    for line in sorted(every, key=lambda line: -line.value)[:MOST_DEAR]:
        line.is_dear = True


def attackers(killmail: Killmail) -> dict[str, Any]:
    """The attackers as the page shows them: most damage first, with the ones to mark and the groups they came in."""
    ordered = sorted(killmail.attackers, key=lambda attacker: -attacker.damage_done)
    total = sum(attacker.damage_done for attacker in ordered)
    found = sides(ordered)
    top = ordered[0] if ordered and ordered[0].damage_done > 0 else None
    return {
        "attackers": [(attacker, share(attacker.damage_done, total)) for attacker in ordered],
        "first_attackers": FIRST_ATTACKERS,
        "top": top,
        "sides": found[:MOST_SIDES],
        "more_sides": max(0, len(found) - MOST_SIDES),
        "total_damage": total,
    }


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
        line.value += item.value or 0.0
        line.inside.extend(lines(item.items))
    return list(made.values())
