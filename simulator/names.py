"""Names and ids of the simulated universe. Some names are hostile on purpose: who shows them must escape them."""

from __future__ import annotations

import random

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


def character_name(rng: random.Random, number: int, *, hostile: bool) -> str:
    """A pilot's name such as players have; with *hostile* every eleventh is one that tries to do harm."""
    if hostile and number % 11 == 9:
        return f"{HOSTILE[number // 11 % len(HOSTILE)]} {number}"
    given, surname = f"{rng.choice(_STARTS)}{rng.choice(_ENDS)}", rng.choice(_SURNAMES)
    if number < 8:
        return f"{given} {surname}"
    # Names are unique in the game: those that come later carry a middle name, and after the last of those a number.
    again, place = divmod(number, len(_STARTS) * len(_ENDS))
    middle = f"{_STARTS[place % len(_STARTS)]}{_ENDS[place // len(_STARTS)]}"
    return f"{given} {middle} {surname}{f' {again + 1}' if again else ''}"


def corporation_name(number: int, *, hostile: bool) -> str:
    """A corporation's name; with *hostile* the third is one that tries to do harm."""
    if hostile and number == 3:
        return f"{HOSTILE[1]} Corp"
    return f"{_CORPORATIONS[number % len(_CORPORATIONS)]} {('Logistics', 'Industries', 'Holdings')[number % 3]}"


def alliance_name(number: int) -> str:
    """An alliance's name."""
    return _ALLIANCES[number % len(_ALLIANCES)]
