"""What kind of kill a killmail is: by NPCs, solo, awox, where it happened, and the labels that other killboards know. Pure.

The rules are those of the ecosystem, as zKillboard applies them, so that tools find here what they find there.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from killsync.killmails.labels import BITS, labels_of
from killsync.static_data.catalog import Catalog, TypeFacts

SHIP, STRUCTURE = 6, 65
CAPSULE, SHUTTLE, ROOKIE_SHIP = 29, 31, 237
#: Corporations that the game itself runs.
NPC_CORPORATIONS = range(1_000_000, 2_000_000)
WORMHOLE_REGIONS, ABYSSAL_REGIONS = range(11_000_001, 11_000_034), range(12_000_000, 13_000_000)
DRIFTER_REGION, POCHVEN = 11_000_033, 10_000_070
#: Labels of how many attackers there were, besides `#:1` for one alone.
ATTACKER_STEPS = (2, 5, 10, 25, 50, 100, 1000)
#: Labels of the total value, hundredths of an ISK.
VALUE_STEPS = ((10**11, "1b+"), (5 * 10**11, "5b+"), (10**12, "10b+"), (10**13, "100b+"), (10**14, "1t+"))
#: Who plays most in each hour of EVE's day (UTC).
TIME_ZONES = (*["use"] * 4, *["usw"] * 4, *["au"] * 6, *["ru"] * 3, *["eu"] * 7)


class SecurityBand(StrEnum):
    """The kind of space, by its rules of engagement."""

    HIGH = "high"
    LOW = "low"
    NULL = "null"
    WORMHOLE = "wormhole"
    ABYSSAL = "abyssal"
    POCHVEN = "pochven"


@dataclass(frozen=True)
class Classification:
    """What can be said of a killmail when it is stored. What the build does not know is None.

    Attributes:
        npc: nobody but NPCs killed it, or it was an NPC.
        solo: one pilot alone killed another's ship.
        awox: the final blow was dealt by a member of the victim's own corporation.
        label_bits: its labels (`killsync.killmails.labels`); those of its value are added where that is known.
    """

    npc: bool
    solo: bool
    awox: bool
    victim_group_id: int | None
    victim_category_id: int | None
    constellation_id: int | None
    region_id: int | None
    security: SecurityBand | None
    label_bits: int

    @property
    def labels(self) -> tuple[str, ...]:
        """Its labels, sorted."""
        return labels_of(self.label_bits, self.victim_category_id)


def classify(body: Mapping[str, Any], moment: datetime, catalog: Catalog) -> Classification:
    """The classification of a killmail.

    Args:
        body: a checked answer of GET /killmails/{killmail_id}/{killmail_hash}. Items are not looked at.
        moment: its time, UTC.
        catalog: types and systems.
    """
    victim, attackers = body["victim"], body["attackers"]
    ship = catalog.type(victim["ship_type_id"])
    system = catalog.system(body["solar_system_id"])
    npc = is_npc(victim, attackers)
    solo = not npc and is_solo(ship, attackers, catalog)
    awox = is_awox(victim, attackers, ship)
    bits = _OF_COUNTS[bisect_right(ATTACKER_STEPS, len(attackers))] if len(attackers) != 1 else BITS["#:1"]
    bits |= BITS["npc" if npc else "pvp"] | BITS[f"tz:{TIME_ZONES[moment.hour]}"]
    if solo:
        bits |= BITS["solo"]
    if awox:
        bits |= BITS["awox"]
    if body.get("war_id"):
        bits |= BITS["war"]
    if ship is not None and ship.is_capital:
        bits |= BITS["capital"]
    security = None
    if system is not None:
        security = band(system.security_status, system.region_id)
        bits |= BITS[f"loc:{place(security, system.region_id)}"]
    return Classification(
        npc, solo, awox, ship.group_id if ship else None, ship.category_id if ship else None,
        system.constellation_id if system else None, system.region_id if system else None, security, bits,
    )  # fmt: skip


#: The bits of "so many attackers or more" by the number of steps that are reached.
_OF_COUNTS = tuple(
    sum(BITS[f"#:{step}+"] for step in ATTACKER_STEPS[:reached]) for reached in range(len(ATTACKER_STEPS) + 1)
)


def is_npc(victim: Mapping[str, Any], attackers: Sequence[Mapping[str, Any]]) -> bool:
    """Whether only NPCs killed it, or the victim was one.

    A structure that shoots alone has no pilot but a corporation of players: that is no kill by NPCs.
    """
    if victim.get("character_id") is None and is_npc_corporation(victim.get("corporation_id")):
        return True
    return not any(
        attacker.get("character_id") is not None or _is_player_corporation(attacker.get("corporation_id"))
        for attacker in attackers
    )


def is_solo(ship: TypeFacts | None, attackers: Sequence[Mapping[str, Any]], catalog: Catalog) -> bool:
    """Whether one pilot alone killed a ship worth the word: no capsule, shuttle or rookie ship. NPCs beside do not count."""
    if ship is None or ship.category_id != SHIP or ship.group_id in (CAPSULE, SHUTTLE, ROOKIE_SHIP):
        return False
    if sum(attacker.get("character_id") is not None for attacker in attackers) != 1:
        return False
    return not any(_is_structure(catalog.type(attacker.get("ship_type_id"))) for attacker in attackers)


def is_awox(victim: Mapping[str, Any], attackers: Sequence[Mapping[str, Any]], ship: TypeFacts | None) -> bool:
    """Whether the final blow came from the victim's own corporation of players, but not from the victim."""
    if ship is None or ship.group_id in (CAPSULE, ROOKIE_SHIP):
        return False
    blow = next((attacker for attacker in attackers if attacker.get("final_blow")), None)
    corporation_id = victim.get("corporation_id")
    if blow is None or not _is_player_corporation(corporation_id) or blow.get("corporation_id") != corporation_id:
        return False
    return blow.get("character_id") is None or blow.get("character_id") != victim.get("character_id")


def is_npc_corporation(corporation_id: int | None) -> bool:
    """Whether a corporation is one that the game runs."""
    return corporation_id is not None and corporation_id in NPC_CORPORATIONS


def _is_player_corporation(corporation_id: int | None) -> bool:
    return corporation_id is not None and corporation_id >= NPC_CORPORATIONS.stop


def _is_structure(facts: TypeFacts | None) -> bool:
    return facts is not None and facts.category_id == STRUCTURE


def band(security_status: float, region_id: int) -> SecurityBand:
    """The kind of space of a system, by its true security status and its region."""
    if region_id in WORMHOLE_REGIONS:
        return SecurityBand.WORMHOLE
    if region_id in ABYSSAL_REGIONS:
        return SecurityBand.ABYSSAL
    if region_id == POCHVEN:
        return SecurityBand.POCHVEN
    if security_status >= 0.45:
        return SecurityBand.HIGH
    return SecurityBand.LOW if security_status > 0.0 else SecurityBand.NULL


def shown_security(security_status: float) -> float:
    """The security status as the game shows it: one decimal, half up, but nothing above 0.0 shows as 0.0."""
    if 0.0 < security_status < 0.05:
        return 0.1
    return math.floor(security_status * 10 + 0.5) / 10 or 0.0


def place(security: SecurityBand, region_id: int) -> str:
    """The kind of space in the words of labels. Pochven has none of its own and counts as null."""
    if region_id == DRIFTER_REGION:
        return "drifter"
    words = {SecurityBand.HIGH: "highsec", SecurityBand.LOW: "lowsec", SecurityBand.WORMHOLE: "w-space",
             SecurityBand.ABYSSAL: "abyssal"}  # fmt: skip
    return words.get(security, "nullsec")


def value_bits(total: int) -> int:
    """The bits of the labels of a killmail's total value, hundredths of an ISK."""
    return sum(BITS[f"isk:{word}"] for least, word in VALUE_STEPS if total >= least)
