"""Killmails made by hand for tests of what readers see: a fight of hundreds, containers, numbers beyond 32 bits."""

from __future__ import annotations

import random
import time
from typing import Any

from killsync.killmails import ledger
from killsync.killmails.store import save_killmail
from models import connection
from simulator.universe import Universe
from tests.support.web_server import name_all

#: The damage of the top attacker and the quantity of one stack: both need more than 32 bits.
TOP_DAMAGE, STACK = 5_423_000_111, 6_000_000_001

#: (flag, type, dropped, destroyed): out of order on purpose.
_FIT = (
    (5, 44992, 0, STACK), (87, 2486, 7, 3), (11, 2048, 0, 1), (27, 2929, 0, 1), (28, 2929, 1, 0), (27, 12614, 240, 0),
    (19, 448, 0, 1), (92, 31358, 0, 1), (125, 34, 0, 1), (164, 35, 0, 1), (158, 2488, 0, 3), (155, 40520, 0, 2),
    (89, 16272, 0, 1), (250, 209, 1, 0),
)  # fmt: skip


def fight(universe: Universe, killmail_id: int, attackers: int = 300, victim_name: str = "<script>") -> dict[str, Any]:
    """Store a killmail of this moment with a loss of the first pilot whose name begins so; its body."""
    rng = random.Random(3)
    pilots = list(universe.characters.values())
    victim = next(pilot for pilot in pilots if pilot.name.startswith(victim_name))
    body: dict[str, Any] = {
        "killmail_id": killmail_id,
        "killmail_time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "solar_system_id": 30004759,
        "war_id": 734455,
        "moon_id": 40_000_001,
        "victim": {
            "character_id": victim.character_id, "corporation_id": 98_000_003, "ship_type_id": 23919,
            "faction_id": 500004, "items": _items(), "damage_taken": 0,
        },
        "attackers": [_attacker(universe, rng.choice(pilots), rng) for _ in range(attackers)],
    }  # fmt: skip
    body["attackers"][3]["damage_done"] = TOP_DAMAGE
    body["attackers"][7].update(final_blow=True, damage_done=77)
    body["victim"]["damage_taken"] = sum(attacker["damage_done"] for attacker in body["attackers"])
    store(universe, body)
    return body


def store(universe: Universe, body: dict[str, Any]) -> None:
    """Store a killmail, with its names."""
    with connection():
        ledger.add_submitted(body["killmail_id"], "a" * 40)
        save_killmail(body, "a" * 40)
        name_all(universe)


def _attacker(universe: Universe, pilot: Any, rng: random.Random) -> dict[str, Any]:
    alliance = universe.corporations[pilot.corporation_id][1]
    return {
        "character_id": pilot.character_id, "corporation_id": pilot.corporation_id,
        "damage_done": int(rng.paretovariate(0.9) * 900), "final_blow": False, "security_status": 0.5,
        "ship_type_id": rng.choice((587, 11969, 12005, 24690)), "weapon_type_id": 3178,
        **({"alliance_id": alliance} if alliance else {}),
    }  # fmt: skip


def _items() -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = [
        {"flag": flag, "item_type_id": kind, "singleton": 0, **({"quantity_dropped": dropped} if dropped else {}),
         **({"quantity_destroyed": destroyed} if destroyed else {})}
        for flag, kind, dropped, destroyed in _FIT
    ]  # fmt: skip
    inside = [
        {"flag": 5, "item_type_id": 34, "singleton": 0, "quantity_dropped": 1_200_000},
        {"flag": 5, "item_type_id": 28668, "singleton": 2, "quantity_dropped": 1},
        {"flag": 5, "item_type_id": 35, "singleton": 0},
    ]
    items.append({"flag": 5, "item_type_id": 3465, "singleton": 0, "quantity_dropped": 1, "items": inside})
    return items
