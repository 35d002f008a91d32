"""Bodies of killmails in the shape of GET /killmails/{killmail_id}/{killmail_hash}, with every oddity real ones have."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from simulator import names

if TYPE_CHECKING:
    from simulator.universe import Kill, Universe

HIGH_SLOTS, MID_SLOTS, LOW_SLOTS, RIGS = range(27, 35), range(19, 27), range(11, 19), range(92, 95)
CARGO, DRONE_BAY, FLEET_HANGAR = 5, 87, 155
#: Damage on structures and titans passes 32 bits.
BIG_DAMAGE = 5_000_000_000


def make_body(universe: Universe, kill: Kill) -> dict[str, Any]:
    """The killmail of *kill*."""
    rng = random.Random(f"{universe.config.seed}:{kill.killmail_id}")
    attackers = _attackers(universe, kill, rng)
    body: dict[str, Any] = {
        "attackers": attackers,
        "killmail_id": kill.killmail_id,
        "killmail_time": datetime.fromtimestamp(kill.time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "solar_system_id": rng.choice(list(names.SYSTEMS)),
        "victim": _victim(universe, kill, rng, sum(attacker["damage_done"] for attacker in attackers)),
    }
    if rng.random() < 0.1:
        body["moon_id"] = 40_000_000 + rng.randrange(300_000)
    if rng.random() < 0.15:
        body["war_id"] = 700_000 + rng.randrange(50_000)
    return body


def _party(universe: Universe, character_id: int) -> dict[str, Any]:
    character = universe.characters[character_id]
    party: dict[str, Any] = {"character_id": character_id, "corporation_id": character.corporation_id}
    alliance = universe.corporations[character.corporation_id][1]
    if alliance is not None:
        party["alliance_id"] = alliance
    return party


def _attackers(universe: Universe, kill: Kill, rng: random.Random) -> list[dict[str, Any]]:
    found = []
    for character_id in kill.attackers:
        attacker: dict[str, Any] = {
            **_party(universe, character_id),
            "damage_done": int(rng.paretovariate(0.9) * 300),
            "final_blow": False,
            "security_status": round(rng.uniform(-10, 5), 1),
        }
        if rng.random() < 0.95:
            attacker["ship_type_id"] = rng.choice(list(names.SHIPS))
        if rng.random() < 0.9:
            attacker["weapon_type_id"] = rng.choice(list(names.WEAPONS))
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
                npc["ship_type_id"] = rng.choice(list(names.NPC_SHIPS))
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


def _victim(universe: Universe, kill: Kill, rng: random.Random, damage: int) -> dict[str, Any]:
    victim: dict[str, Any] = {"damage_taken": damage}
    if kill.victim_id is None:
        victim["corporation_id"] = kill.victim_corporation_id
        alliance = universe.corporations[kill.victim_corporation_id][1]
        if alliance is not None:
            victim["alliance_id"] = alliance
        victim["ship_type_id"] = rng.choice(names.STRUCTURES)
    else:
        victim.update(_party(universe, kill.victim_id))
        victim["ship_type_id"] = rng.choice([ship for ship in names.SHIPS if ship not in names.STRUCTURES])
        if rng.random() < 0.08:
            victim["faction_id"] = 500004
    if rng.random() < 0.93:
        victim["position"] = {axis: rng.uniform(-8e12, 8e12) for axis in "xyz"}
    count = int(rng.expovariate(1 / 12)) if universe.config.many_items else rng.choice((0, 2, 5, 9, 14, 22))
    if count or rng.random() < 0.5:
        victim["items"] = [_item(rng, nested=True) for _ in range(count)]
    return victim


def _item(rng: random.Random, *, nested: bool) -> dict[str, Any]:
    item: dict[str, Any] = {
        "flag": rng.choice((*HIGH_SLOTS, *MID_SLOTS, *LOW_SLOTS, *RIGS, CARGO, CARGO, DRONE_BAY, FLEET_HANGAR)),
        "item_type_id": rng.choice(list(names.ITEMS) + list(names.WEAPONS)),
        "singleton": rng.choice((0, 0, 0, 0, 2)),
    }
    amount = rng.choice((1, 1, 1, 2, 37, 340, 6_000_000_000))
    fate = rng.random()
    if fate < 0.45:
        item["quantity_destroyed"] = amount
    elif fate < 0.9:
        item["quantity_dropped"] = amount
    elif fate < 0.97:
        item["quantity_destroyed"], item["quantity_dropped"] = amount, amount + 1
    if nested and rng.random() < 0.05:
        item["item_type_id"] = rng.choice(list(names.CONTAINERS))
        item["flag"] = CARGO
        item["items"] = [_item(rng, nested=False) for _ in range(rng.randrange(1, 5))]
    return item
