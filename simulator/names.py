"""Names and ids of the simulated universe. Some names are hostile on purpose: who shows them must escape them."""

from __future__ import annotations

import random

SHIPS = {
    587: "Rifter", 603: "Merlin", 593: "Tristan", 597: "Punisher", 670: "Capsule", 17619: "Caldari Navy Hookbill",
    17928: "Daredevil", 17926: "Cruor", 594: "Incursus", 624: "Maller", 621: "Caracal", 627: "Thorax", 622: "Stabber",
    24690: "Hyperion", 24688: "Rokh", 24694: "Maelstrom", 24692: "Abaddon", 11969: "Arazu", 12015: "Muninn",
    11993: "Cerberus", 12005: "Ishtar", 33468: "Astero", 33470: "Stratios", 19720: "Revelation", 19726: "Phoenix",
    23757: "Archon", 23919: "Aeon", 671: "Erebus", 11567: "Avatar", 648: "Badger", 649: "Tayra", 22544: "Hulk",
    35832: "Astrahus", 35833: "Fortizar", 35835: "Athanor",
}  # fmt: skip
STRUCTURES = (35832, 35833, 35835)
WEAPONS = {
    2205: "Acolyte II", 2486: "Hobgoblin II", 3178: "Neutron Blaster Cannon II", 2488: "Warrior II",
    2929: "800mm Repeating Cannon II", 3074: "150mm Railgun II", 2420: "Torpedo Launcher II", 2410: "Heavy Missile Launcher II",
    3520: "Mega Pulse Laser II", 27361: "Scourge Fury Heavy Missile",
}  # fmt: skip
ITEMS = {
    448: "Warp Scrambler II", 527: "Stasis Webifier II", 5839: "IFFA Compact Damage Control", 6001: "5MN Y-T8 Compact",
    31358: "Small Ancillary Current Router I", 33892: "Small Transverse Bulkhead I", 22961: "Void S", 12614: "Barrage S",
    12612: "Hail S", 28668: "Nanite Repair Paste", 2048: "Damage Control II", 1306: "Adaptive Nano Plating II",
    5973: "1MN Y-S8 Compact Afterburner", 10190: "Magnetic Field Stabilizer II", 34: "Tritanium", 35: "Pyerite",
    16272: "Heavy Water", 44992: "PLEX", 40520: "Large Skill Injector", 209: "Scourge Heavy Missile",
}  # fmt: skip
CONTAINERS = {3465: "Large Secure Container", 3467: "Small Secure Container", 33003: "Enormous Freight Container"}
NPC_SHIPS = {23707: "Blood Raider Hunter", 24007: "Angel Outlaw", 32915: "Caldari Navy Sentry", 13536: "Gist Saint"}
SYSTEMS = {
    30000142: "Jita", 30002187: "Amarr", 30002659: "Dodixie", 30002510: "Rens", 30002053: "Hek", 30002813: "Tama",
    30003837: "Aldranette", 30004984: "Abune", 30000157: "Otela", 30002537: "Amamake", 30003704: "GE-8JV",
    30004759: "1DQ1-A", 30002768: "Uedama", 31000005: "Thera", 30005196: "Ahbazon", 31002238: "J120450",
}  # fmt: skip
FACTIONS = {500001: "Caldari State", 500002: "Minmatar Republic", 500003: "Amarr Empire", 500004: "Gallente Federation",
            500010: "Guristas Pirates", 500011: "Angel Cartel", 500012: "Blood Raider Covenant"}  # fmt: skip
NPC_CORPORATIONS = {1000125: "CONCORD", 1000124: "Archangels", 1000134: "Blood Raiders", 1000127: "Guristas"}

HOSTILE = (
    "<script>alert(1)</script>",
    'Bobby "Tables" O\'Drop',
    "**bold** _under_ @everyone",
    "`code` [link](https://evil.example)",
    "Ægir Ünïcode ✨ 龍",
    "<img src=x onerror=alert(2)>",
    "&amp; &lt;b&gt;",
    "<@123456789> <!channel> ||spoiler||",
)
_STARTS = (
    "Kae",
    "Vor",
    "Ael",
    "Tirn",
    "Os",
    "Mer",
    "Ry",
    "Zan",
    "Ith",
    "Bel",
    "Dra",
    "Sel",
    "Hul",
    "Qui",
    "Nor",
    "Fen",
)
_ENDS = ("dric", "lan", "moth", "vyn", "kar", "ssa", "thil", "rune", "dane", "wick", "mir", "zeth", "lora", "tain")
_SURNAMES = ("Ashvale", "Korr", "Tenma", "Valkor", "Drey", "Solari", "Umbra", "Kestrane", "Holt", "Varn", "Ilmari")
_CORPORATIONS = (
    "Iron Tide",
    "Vanta Salvage",
    "Lowsec Legal",
    "Glass Lantern",
    "Third Moon",
    "Quiet Works",
    "Red Meridian",
)
_ALLIANCES = ("Hollow Crown Pact", "Ember Concord", "Northlight Accord", "Salt and Static")


def character_name(rng: random.Random, number: int) -> str:
    """A pilot's name; every eleventh is hostile."""
    if number % 11 == 9:
        return f"{HOSTILE[number // 11 % len(HOSTILE)]} {number}"
    return f"{rng.choice(_STARTS)}{rng.choice(_ENDS)} {rng.choice(_SURNAMES)} {number}"


def corporation_name(number: int) -> str:
    """A corporation's name; the third is hostile."""
    return f"{HOSTILE[1]} Corp" if number == 3 else f"{_CORPORATIONS[number % len(_CORPORATIONS)]} {number}"


def alliance_name(number: int) -> str:
    """An alliance's name."""
    return f"{_ALLIANCES[number % len(_ALLIANCES)]} {number}"
