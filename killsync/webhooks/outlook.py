"""How a killmail looks from where a tracker stands: whose loss it is, and how far away."""

from __future__ import annotations

from dataclasses import replace

from killsync.killmails.filter import KillmailFilter, Parties
from killsync.killmails.killmail import Killmail
from killsync.names.wanted import names_of
from killsync.static_data import geography
from killsync.webhooks.sentences import Origin
from models.killmails import VICTIM_SIDE


def is_loss(chosen: KillmailFilter, killmail: Killmail) -> bool | None:
    """Whether whom the tracker watches lost the ship; None when it watches nobody in particular."""
    watched = _watched(chosen)
    return watched.matches(killmail) if watched.clauses else _side_asked(chosen)


def _watched(chosen: KillmailFilter) -> KillmailFilter:
    return KillmailFilter(
        character_id=chosen.character_id,
        corporation_id=chosen.corporation_id,
        alliance_id=chosen.alliance_id,
        mine=chosen.mine,
        my_corporation=chosen.my_corporation,
        my_alliance=chosen.my_alliance,
        sides=VICTIM_SIDE,
    )


def _side_asked(chosen: KillmailFilter) -> bool | None:
    """Whether it asks for losses of somebody, or for kills by somebody."""
    lost, did = (_people(parties) != Parties() for parties in (chosen.victim, chosen.attackers))
    return None if lost == did else lost


def _people(parties: Parties) -> Parties:
    return replace(
        parties, ship_type_ids=(), ship_group_ids=(), ship_category_ids=(), weapon_type_ids=(), weapon_group_ids=()
    )


def origin_of(chosen: KillmailFilter, killmail: Killmail) -> Origin | None:
    """How far the killmail is from the system from which the tracker counts; None when it counts from none."""
    if chosen.near is None:
        return None
    origin = chosen.near.system_id
    known = geography.current().get()
    name = names_of([("solar_system", origin)]).get(("solar_system", origin)) or f"System {origin}"
    there = killmail.solar_system_id
    return Origin(name, known.jumps(origin, there), known.light_years(origin, there))
