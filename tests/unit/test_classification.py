"""The rules of what kind of kill a killmail is, one by one, each case with the reason in its name."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from killsync.killmails.classification import SecurityBand, band, classify, shown_security, value_bits
from killsync.killmails.labels import labels_of
from killsync.static_data.catalog import Catalog, SystemFacts

MOMENT = datetime(2026, 8, 18, 19, 5, tzinfo=UTC)
RIFTER, CAPSULE, SHUTTLE, IBIS, FORTIZAR, DREAD, NPC_FRIGATE, TOWER, NEW = (
    587,
    670,
    672,
    601,
    35833,
    19720,
    10275,
    16213,
    999_999,
)
CATALOG = Catalog(
    types=[(RIFTER, 25, 61), (CAPSULE, 29, None), (SHUTTLE, 31, 391), (IBIS, 237, None), (FORTIZAR, 1657, 2202),
           (DREAD, 485, 763), (NPC_FRIGATE, 559, None), (TOWER, 365, 478)],
    categories={25: 6, 29: 6, 31: 6, 237: 6, 1657: 65, 485: 6, 559: 11, 365: 23},
    parents={61: 1361, 1361: 4, 763: 762, 762: 1381, 1381: 4, 4: None, 391: 4, 2202: None, 478: None},
    systems={30000142: SystemFacts(20000020, 10000002, 0.9459), 30002813: SystemFacts(20000389, 10000033, 0.2839),
             31000005: SystemFacts(21000324, 11000031, -0.99), 30000021: SystemFacts(20000787, 10000070, -1.0)},
)  # fmt: skip

PILOT, FRIEND, ENEMY = 90_000_001, 90_000_002, 90_000_003
OURS, THEIRS, NPC_CORPORATION = 98_000_001, 98_000_002, 1_000_125


def attacker(character: int | None = ENEMY, corporation: int | None = THEIRS, ship: int | None = RIFTER, *,
             blow: bool = False, **more: Any) -> dict[str, Any]:  # fmt: skip
    found = {"character_id": character, "corporation_id": corporation, "ship_type_id": ship, "final_blow": blow,
             "damage_done": 10, **more}  # fmt: skip
    return {name: value for name, value in found.items() if value is not None}


NPC = attacker(None, NPC_CORPORATION, NPC_FRIGATE)
FACTION_ONLY = attacker(None, None, None, faction_id=500_010)
STRUCTURE_ALONE = attacker(None, THEIRS, FORTIZAR)


def kind(attackers: list[dict[str, Any]], ship: int = RIFTER, character: int | None = PILOT, corporation: int | None = OURS,
         system: int = 30000142, **more: Any) -> Any:  # fmt: skip
    victim = {"ship_type_id": ship, "damage_taken": 10, "character_id": character, "corporation_id": corporation}
    victim = {name: value for name, value in victim.items() if value is not None}
    body = {"victim": victim, "attackers": attackers, "solar_system_id": system, **more}
    return classify(body, MOMENT, CATALOG)


@pytest.mark.parametrize(
    ("why", "attackers", "victim", "is_npc"),
    [
        ("npcs of a corporation of the game alone", [NPC, NPC], {}, True),
        ("an attacker with nothing but a faction", [FACTION_ONLY], {}, True),
        ("a structure of players that shoots alone is no npc", [STRUCTURE_ALONE], {}, False),
        ("one pilot among npcs", [NPC, attacker()], {}, False),
        ("a pilot who is still in a corporation of the game", [attacker(ENEMY, NPC_CORPORATION)], {}, False),
        ("an old corporation of players, below 98,000,000", [attacker(None, 2_000_123, TOWER)], {}, False),
        ("a victim without a pilot whose corporation is the game's", [attacker()],
         {"character": None, "corporation": NPC_CORPORATION}, True),
        ("a structure of players that was lost", [attacker()], {"character": None, "ship": FORTIZAR}, False),
    ],
)  # fmt: skip
def test_npc(why: str, attackers: list[dict[str, Any]], victim: dict[str, Any], is_npc: bool) -> None:
    found = kind(attackers, **victim)
    assert found.npc is is_npc, why
    assert (("npc" in found.labels), ("pvp" in found.labels)) == (is_npc, not is_npc)


@pytest.mark.parametrize(
    ("why", "attackers", "ship", "is_solo"),
    [
        ("one pilot against a frigate", [attacker()], RIFTER, True),
        ("npcs beside the one pilot do not count", [attacker(), NPC, FACTION_ONLY], RIFTER, True),
        ("two pilots", [attacker(), attacker(FRIEND)], RIFTER, False),
        ("a capsule is no ship worth the word", [attacker()], CAPSULE, False),
        ("a shuttle neither", [attacker()], SHUTTLE, False),
        ("nor a rookie ship", [attacker()], IBIS, False),
        ("a structure that was lost is no ship", [attacker()], FORTIZAR, False),
        ("a structure helped", [attacker(), STRUCTURE_ALONE], RIFTER, False),
        ("npcs alone", [NPC], RIFTER, False),
        ("what the build does not know is not judged", [attacker()], NEW, False),
    ],
)
def test_solo(why: str, attackers: list[dict[str, Any]], ship: int, is_solo: bool) -> None:
    found = kind(attackers, ship=ship)
    assert found.solo is is_solo, why
    assert not (found.solo and found.npc)


@pytest.mark.parametrize(
    ("why", "attackers", "victim", "is_awox"),
    [
        ("the final blow by the same corporation", [attacker(FRIEND, OURS, blow=True)], {}, True),
        ("one of the same corporation helped, another dealt the blow",
         [attacker(FRIEND, OURS), attacker(blow=True)], {}, False),
        ("a capsule", [attacker(FRIEND, OURS, blow=True)], {"ship": CAPSULE}, False),
        ("a rookie ship", [attacker(FRIEND, OURS, blow=True)], {"ship": IBIS}, False),
        ("by the victim's own hand", [attacker(PILOT, OURS, blow=True)], {}, False),
        ("both in a corporation of the game", [attacker(FRIEND, NPC_CORPORATION, blow=True)],
         {"corporation": NPC_CORPORATION}, False),
        ("nobody has the final blow", [attacker(FRIEND, OURS)], {}, False),
    ],
)  # fmt: skip
def test_awox(why: str, attackers: list[dict[str, Any]], victim: dict[str, Any], is_awox: bool) -> None:
    assert kind(attackers, **victim).awox is is_awox, why


def test_labels_say_who_what_where_and_when() -> None:
    found = kind([attacker()] * 12, ship=DREAD, system=30002813, war_id=7)
    assert set(found.labels) == {"pvp", "war", "capital", "cat:6", "loc:lowsec", "#:2+", "#:5+", "#:10+", "tz:eu"}
    assert found.labels == tuple(sorted(found.labels))
    assert {"#:1", "solo"} <= set(kind([attacker()]).labels)
    assert (found.victim_group_id, found.victim_category_id) == (485, 6)
    assert (found.constellation_id, found.region_id, found.security) == (20000389, 10000033, SecurityBand.LOW)


def test_what_is_newer_than_the_build_is_left_open() -> None:
    found = kind([attacker()], ship=NEW, system=30_999_999)
    assert (found.victim_group_id, found.victim_category_id, found.region_id, found.security) == (None,) * 4
    assert not any(label.startswith(("cat:", "loc:")) for label in found.labels)


@pytest.mark.parametrize(
    ("status", "region", "expected", "label"),
    [
        (0.45, 10000002, SecurityBand.HIGH, "highsec"),
        (0.4499, 10000002, SecurityBand.LOW, "lowsec"),
        (0.001, 10000002, SecurityBand.LOW, "lowsec"),
        (0.0, 10000002, SecurityBand.NULL, "nullsec"),
        (-0.4, 10000060, SecurityBand.NULL, "nullsec"),
        (-0.99, 11000001, SecurityBand.WORMHOLE, "w-space"),
        (-0.99, 11000033, SecurityBand.WORMHOLE, "drifter"),
        (-0.99, 12000001, SecurityBand.ABYSSAL, "abyssal"),
        (-1.0, 10000070, SecurityBand.POCHVEN, "nullsec"),
    ],
)
def test_space_by_security_and_region(status: float, region: int, expected: SecurityBand, label: str) -> None:
    from killsync.killmails.classification import place

    assert band(status, region) is expected
    assert place(expected, region) == label


@pytest.mark.parametrize(
    ("true", "shown"),
    [(0.9459, 0.9), (0.45, 0.5), (0.4499, 0.4), (0.05, 0.1), (0.049, 0.1), (0.001, 0.1), (0.0, 0.0), (-0.04, 0.0),
     (-0.25, -0.2), (-0.251, -0.3), (1.0, 1.0)],
)  # fmt: skip
def test_security_is_shown_as_the_game_shows_it(true: float, shown: float) -> None:
    assert shown_security(true) == shown
    assert str(shown_security(true)) != "-0.0"


def test_value_labels_grow_with_the_value() -> None:
    billion = 10**9 * 100
    assert labels_of(value_bits(billion - 1), None) == ()
    assert labels_of(value_bits(billion), None) == ("isk:1b+",)
    assert labels_of(value_bits(2_000 * billion), None) == ("isk:100b+", "isk:10b+", "isk:1b+", "isk:1t+", "isk:5b+")
