"""Bodies of killmails in the shape of GET /killmails/{killmail_id}/{killmail_hash}, with every oddity real ones have."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from simulator import catalog, fits, names

if TYPE_CHECKING:
    from simulator.universe import Kill, Universe

#: Damage on structures and titans passes 32 bits.
BIG_DAMAGE = 5_000_000_000
PLEX = 44992
_SYSTEMS = list(catalog.SYSTEMS)
#: Where most fights are: trade hubs, gates that pirates watch, the space of large alliances, a wormhole.
_BUSY = (30000142, 30002187, 30002659, 30002510, 30002053, 30002813, 30003837, 30004984, 30002537, 30003704, 30004759,
         30002768, 31000005, 30005196, 31002238)  # fmt: skip
_HIGH_SECURITY = 0.45
_CONTAINERS = catalog.types_of("Secure Cargo Container", "Freight Container")
_NPCS = [type_id for type_id, (_, group, *_rest) in catalog.TYPES.items() if catalog.GROUPS[group][1] == 11]


def make_body(universe: Universe, kill: Kill) -> dict[str, Any]:
    """The killmail of *kill*."""
    rng = random.Random(f"{universe.config.seed}:{kill.killmail_id}")
    ship = rng.choice(fits.STRUCTURES) if kill.victim_id is None else fits.lost_ship(rng)
    attackers = _attackers(universe, kill, ship, rng)
    body: dict[str, Any] = {
        "attackers": attackers,
        "killmail_id": kill.killmail_id,
        "killmail_time": datetime.fromtimestamp(kill.time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "solar_system_id": _place(ship, rng),
        "victim": _victim(universe, kill, ship, rng, sum(attacker["damage_done"] for attacker in attackers)),
    }
    if rng.random() < 0.1:
        body["moon_id"] = 40_000_000 + rng.randrange(300_000)
    if rng.random() < 0.15:
        body["war_id"] = 700_000 + rng.randrange(50_000)
    return body


def _place(ship: int, rng: random.Random) -> int:
    """Where it was lost. Capital ships and structures are lost outside of high security space."""
    chosen = rng.choice(_BUSY if rng.random() < 0.75 else _SYSTEMS)
    if catalog.SYSTEMS[chosen][3] >= _HIGH_SECURITY and (ship in fits.STRUCTURES or ship in fits.CAPITALS):
        return rng.choice([system for system in _BUSY if catalog.SYSTEMS[system][3] < _HIGH_SECURITY])
    return chosen


def _party(universe: Universe, character_id: int) -> dict[str, Any]:
    character = universe.characters[character_id]
    party: dict[str, Any] = {"character_id": character_id, "corporation_id": character.corporation_id}
    alliance = universe.corporations[character.corporation_id][1]
    if alliance is not None:
        party["alliance_id"] = alliance
    return party


def _attackers(universe: Universe, kill: Kill, prey: int, rng: random.Random) -> list[dict[str, Any]]:
    found = []
    for character_id in kill.attackers:
        attacker: dict[str, Any] = {
            **_party(universe, character_id),
            "damage_done": int(rng.paretovariate(0.9) * 300),
            "final_blow": False,
            "security_status": round(rng.uniform(-10, 5), 1),
        }
        ship, weapon = fits.hunter(rng, prey)
        if rng.random() < 0.95:
            attacker["ship_type_id"] = ship
            if rng.random() < 0.92:
                # ESI names the ship itself where it cannot tell the weapon.
                attacker["weapon_type_id"] = weapon if rng.random() < 0.85 else ship
        if rng.random() < 0.1:
            attacker["faction_id"] = rng.choice((500001, 500002, 500003, 500004))
        found.append(attacker)
    if universe.config.many_items:
        crowd = min(500 - len(found), int(rng.paretovariate(1.1)) - 1)
        pilots = list(universe.characters)
        found.extend(
            {**_party(universe, rng.choice(pilots)), "damage_done": rng.randrange(5000), "final_blow": False,
             "security_status": 0.5, "ship_type_id": 587, "weapon_type_id": 3178}
            for _ in range(crowd)
        )  # fmt: skip
    if kill.kind == "npc loss" or not found or rng.random() < 0.06:
        corporation = rng.choice(list(names.NPC_CORPORATIONS))
        for _ in range(rng.randrange(1, 5)):
            npc: dict[str, Any] = {"damage_done": rng.randrange(900), "final_blow": False, "security_status": 0}
            if rng.random() < 0.7:
                npc["corporation_id"] = corporation
                npc["ship_type_id"] = rng.choice(_NPCS)
            else:
                npc["faction_id"] = rng.choice((500010, 500011, 500012))
            found.append(npc)
    if kill.kind == "structure":
        found[0]["damage_done"] += BIG_DAMAGE + rng.randrange(10**9)
    _final_blow(kill, found, rng)["final_blow"] = True
    found.sort(key=lambda attacker: -attacker["damage_done"])
    return found


def _final_blow(kill: Kill, found: list[dict[str, Any]], rng: random.Random) -> dict[str, Any]:
    """Who has the final blow: whom the kill is credited to, or now and then an NPC that was there."""
    npcs = [attacker for attacker in found if "character_id" not in attacker]
    if kill.credited_id is None or (npcs and rng.random() < 0.3):
        return rng.choice(npcs)
    return next(attacker for attacker in found if attacker.get("character_id") == kill.credited_id)


def _victim(universe: Universe, kill: Kill, ship: int, rng: random.Random, damage: int) -> dict[str, Any]:
    victim: dict[str, Any] = {"damage_taken": damage, "ship_type_id": ship}
    if kill.victim_id is None:
        victim["corporation_id"] = kill.victim_corporation_id
        alliance = universe.corporations[kill.victim_corporation_id][1]
        if alliance is not None:
            victim["alliance_id"] = alliance
    else:
        victim.update(_party(universe, kill.victim_id))
        if rng.random() < 0.08:
            victim["faction_id"] = 500004
    if rng.random() < 0.93:
        victim["position"] = {axis: rng.uniform(-8e12, 8e12) for axis in "xyz"}
    carried = fits.fit(rng, ship)
    if universe.config.many_items:
        count = int(rng.expovariate(1 / 12))
        carried = [*carried, *[(fits.CARGO, 34, 100, 0)] * max(0, count - len(carried))][:count]
    items = [_item(rng, *each) for each in carried]
    if kill.victim_id is not None and rng.random() < 0.15:
        items.append(_container(rng))
    if items or rng.random() < 0.5:
        victim["items"] = items
    return victim


def _item(rng: random.Random, flag: int, type_id: int, quantity: int, singleton: int) -> dict[str, Any]:
    """What became of something that was carried: destroyed, dropped, a part of each, or ESI does not say."""
    item: dict[str, Any] = {"flag": flag, "item_type_id": type_id, "singleton": 2 if singleton == 2 else 0}
    if type_id == PLEX and rng.random() < 0.2:
        quantity = 6_000_000_000
    fate = rng.random()
    if fate < 0.5:
        item["quantity_destroyed"] = quantity
    elif fate < 0.93 or quantity == 1:
        item["quantity_dropped"] = quantity
    elif fate < 0.98:
        item["quantity_destroyed"], item["quantity_dropped"] = quantity - quantity // 3, quantity // 3 or 1
    return item


def _container(rng: random.Random) -> dict[str, Any]:
    """A container in the cargo; what lies in it has its own fate."""
    box = _item(rng, fits.CARGO, rng.choice(_CONTAINERS), 1, 1)
    inside = rng.sample(((34, 9000), (28668, 40), (448, 1), (40520, 1), (691, 1), (PLEX, 50)), rng.randrange(1, 5))
    box["items"] = [
        _item(rng, fits.CARGO, type_id, amount, 2 if type_id in fits.BLUEPRINTS else 0) for type_id, amount in inside
    ]
    return box
