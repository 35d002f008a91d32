"""Fits of ships that died: by slot, as texts that come back as the same fit, and figures that are CCP's numbers put together."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from killsync.fitting import engine, fits
from killsync.fitting.racks import racks
from killsync.fitting.stats import stats
from killsync.killmails.killmail import Entity, Item, Killmail, Victim
from models.fields import utcnow

dogma = pytest.importorskip("esf_dogma_engine")

RIFTER, VEXOR, LOKI, CAPSULE, DEPOT = 587, 626, 29990, 670, 33474
AUTOCANNON, HAIL, DAMAGE_CONTROL, REPAIRER, PLATES, AFTERBURNER, WEB, SCRAMBLER, TRIMARK = (
    2881, 12608, 2048, 1183, 20349, 438, 527, 448, 30987,
)  # fmt: skip
WARRIOR, HAMMERHEAD, TRITANIUM, NEW = 2488, 2185, 34, 999_999_999
CATEGORIES = {HAIL: 8}


@pytest.fixture(autouse=True)
def no_static_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """Types are known by the engine's own data alone."""
    from killsync.static_data.catalog import Catalog

    monkeypatch.setattr(fits.catalog, "current", lambda: type("Current", (), {"get": staticmethod(Catalog)})())
    fits._cache.renew()


def item(type_id: int, flag: int, destroyed: int | None = 1, dropped: int | None = None, **more: Any) -> Item:
    return Item(
        item_type=Entity(type_id),
        flag=flag,
        quantity_destroyed=destroyed,
        quantity_dropped=dropped,
        singleton=0,
        **more,
    )


def killmail(hull: int, *items: Item) -> Killmail:
    return Killmail(
        killmail_id=1, killmail_hash="a", killmail_time=utcnow(), solar_system=Entity(30000142), attacker_count=1,
        victim=Victim(ship_type=Entity(hull), damage_taken=1), items=list(items), created_at=utcnow(),
    )  # fmt: skip


def fitted_rifter() -> Killmail:
    return killmail(
        RIFTER, item(AUTOCANNON, 27), item(HAIL, 27, 120), item(AUTOCANNON, 28, None, 1), item(HAIL, 28, 80, 40),
        item(AUTOCANNON, 29), item(AFTERBURNER, 19), item(WEB, 20), item(SCRAMBLER, 21), item(DAMAGE_CONTROL, 11),
        item(REPAIRER, 12), item(PLATES, 13), item(TRIMARK, 92), item(HAIL, 5, 400), item(TRITANIUM, 5, 10**12),
    )  # fmt: skip


def found_engine() -> engine.Engine:
    found = engine.get()
    assert found is not None
    return found


def test_modules_stand_in_their_slots_with_their_charges() -> None:
    made = racks(fitted_rifter().items, CATEGORIES.get)
    assert [(each.place, each.item_type.id, each.dropped) for each in made["high"]] == [
        (0, AUTOCANNON, False), (1, AUTOCANNON, True), (2, AUTOCANNON, False),
    ]  # fmt: skip
    assert [(each.charge and each.charge.id, each.charge_quantity) for each in made["high"]] == [
        (HAIL, 120),
        (HAIL, 120),
        (None, 0),
    ]
    assert [each.item_type.id for each in made["low"]] == [DAMAGE_CONTROL, REPAIRER, PLATES]
    assert [len(made[rack]) for rack in ("mid", "rigs", "subsystems", "services")] == [3, 1, 0, 0]


def test_the_order_in_which_esi_lists_a_slot_does_not_matter() -> None:
    one = racks([item(HAIL, 27, 120), item(AUTOCANNON, 27)], CATEGORIES.get)["high"]
    assert [(each.item_type.id, each.charge and each.charge.id) for each in one] == [(AUTOCANNON, HAIL)]
    assert racks([item(HAIL, 27, 120)], CATEGORIES.get)["high"] == []


def test_a_fit_written_as_eft_comes_back_as_the_same_fit() -> None:
    made = fits.fitting(fitted_rifter())
    assert made.problem is None
    assert made.eft.startswith(
        "[Rifter, Killmail 1]\nDamage Control II\nSmall Armor Repairer II\n400mm Steel Plates II\n\n"
    )
    back = dogma.load_eft(made.eft)
    assert back["ship"]["type_id"] == RIFTER
    slots = {(each["slot"]["type"], each["slot"].get("index")): (each["type_id"], (each["charge"] or {}).get("type_id"))
             for each in back["items"] if each["slot"]["type"] != "cargo"}  # fmt: skip
    assert slots == {
        ("high", 0): (AUTOCANNON, HAIL), ("high", 1): (AUTOCANNON, HAIL), ("high", 2): (AUTOCANNON, None),
        ("medium", 0): (AFTERBURNER, None), ("medium", 1): (WEB, None), ("medium", 2): (SCRAMBLER, None),
        ("low", 0): (DAMAGE_CONTROL, None), ("low", 1): (REPAIRER, None), ("low", 2): (PLATES, None),
        ("rig", 0): (TRIMARK, None),
    }  # fmt: skip


def test_the_other_texts_are_the_same_fit() -> None:
    made = fits.fitting(fitted_rifter())
    esi = json.loads(made.esi)
    assert esi["ship_type_id"] == RIFTER
    assert {"flag": "LoSlot0", "quantity": 1, "type_id": DAMAGE_CONTROL} in esi["items"]
    by_dna = sorted(each["type_id"] for each in dogma.load_dna(made.dna)["items"] if each["slot"]["type"] != "cargo")
    assert by_dna == sorted([AUTOCANNON] * 3 + [AFTERBURNER, WEB, SCRAMBLER, DAMAGE_CONTROL, REPAIRER, PLATES, TRIMARK])
    assert made.link.startswith("https://eveship.fit/?fit=esf1:")
    by_link = dogma.load_esf_link(made.link.partition("esf1:")[2])
    assert by_link["ship"]["type_id"] == RIFTER
    assert {each["type_id"] for each in by_link["items"]} >= {AUTOCANNON, DAMAGE_CONTROL, TRIMARK}


@pytest.mark.parametrize(
    ("lost", "problem"),
    [
        (killmail(NEW, item(DAMAGE_CONTROL, 11)), "newer"),
        (killmail(RIFTER, item(NEW, 11)), "newer"),
        (killmail(RIFTER, item(AUTOCANNON, 27), item(NEW, 28)), "newer"),
        (killmail(DEPOT, item(TRITANIUM, 5)), "no slots"),
        (killmail(-5), "newer"),
    ],
)
def test_what_the_engine_does_not_know_is_said_and_spoils_nothing(lost: Killmail, problem: str) -> None:
    made = fits.fitting(lost)
    assert problem in (made.problem or "")
    assert (made.eft, made.esi, made.link, made.stats) == ("", "", "", None)


def test_what_is_new_in_the_cargo_does_not_keep_the_fit_from_being_shown() -> None:
    made = fits.fitting(killmail(RIFTER, item(DAMAGE_CONTROL, 11), item(NEW, 5), item(NEW, 87)))
    assert made.problem is None and "Damage Control II" in made.eft and made.stats is not None


def test_without_the_engine_the_slots_are_there_and_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "get", lambda: None)
    made = fits.fitting(fitted_rifter())
    assert made.problem == fits.NO_ENGINE
    assert len(made.high) >= 3 and made.eft == "" and made.dna.startswith("587:")


def test_odd_killmails_are_shown() -> None:
    for lost in (
        killmail(CAPSULE, item(20499, 89)), killmail(RIFTER), killmail(RIFTER, item(DAMAGE_CONTROL, 11), item(REPAIRER, 11)),
        killmail(RIFTER, item(AUTOCANNON, 27, 10**12), item(HAIL, 27, 10**12), item(WARRIOR, 87, 10**12)),
        killmail(RIFTER, *[item(TRITANIUM + number, 5) for number in range(3_000)]),
        killmail(RIFTER, *[item(AUTOCANNON, 27) for _ in range(20_000)]), killmail(RIFTER, item(DAMAGE_CONTROL, 28)),
        killmail(RIFTER, item(DAMAGE_CONTROL, 34), item(DAMAGE_CONTROL, 4000), item(DAMAGE_CONTROL, 11, None)),
    ):  # fmt: skip
        made = fits.fitting(lost)
        assert made.problem is None and made.stats is not None and made.eft, made


#: Hulls of every kind. The mass is that of CCP's static data, as the catalog of the simulator has it.
HULLS = (587, 603, 597, 16240, 621, 626, 11993, 24698, 638, 17738, 22544, 648)


@pytest.mark.parametrize("hull", HULLS)
def test_figures_of_a_bare_hull_are_ccps_numbers_put_together(hull: int) -> None:
    """Without skills and modules every figure follows from the hull's own attributes by the game's known formulas."""
    from simulator import catalog as simulated

    found = found_engine()
    of_hull = found.data.attributes_of(hull)
    # Not left out: a bonus of the hull by a skill that is not named counts as at level I.
    none = dict.fromkeys(found.data.all_skills, 0)
    mass = simulated.TYPES[hull][6] or _mass(found, hull)
    bare = stats(found._native.calculate({"ship": {"type_id": hull}, "items": [], "character": {"skills": none}}))
    assert bare is not None
    expected = 0.0
    for points, resonances in ((263, (271, 272, 273, 274)), (265, (267, 268, 269, 270)), (9, (109, 110, 111, 113))):
        expected += of_hull[points] / (sum(of_hull.get(each, 1.0) for each in resonances) / 4)
    assert bare.effective_hit_points == pytest.approx(expected, rel=1e-4)
    assert bare.speed == pytest.approx(of_hull[37], rel=1e-4)
    assert bare.align_time == pytest.approx(math.log(4) * of_hull[70] * mass / 1e6, rel=1e-4)
    assert bare.signature_radius == pytest.approx(of_hull[552], rel=1e-4)
    assert bare.capacitor_capacity == pytest.approx(of_hull[482], rel=1e-4)
    assert bare.slots["high"] == of_hull.get(14, 0) and bare.slots["low"] == of_hull.get(12, 0)
    assert bare.capacitor_stable and bare.damage_per_second == 0


def _mass(found: engine.Engine, hull: int) -> float:
    result = found._native.calculate({"ship": {"type_id": hull}, "items": [], "character": {"skills": {}}})
    return float(result["ship"]["attributes"][4]["value"])


def test_skills_and_modules_are_part_of_the_figures() -> None:
    made = fits.fitting(fitted_rifter()).stats
    bare = fits.fitting(killmail(RIFTER)).stats
    assert made is not None and bare is not None
    assert made.effective_hit_points > 1.6 * bare.effective_hit_points
    assert made.speed > 1.5 * bare.speed and made.align_time > bare.align_time
    assert made.volley > 0 and 0.9 < made.damage_per_second_with_reload / made.damage_per_second < 1
    assert not made.capacitor_stable and made.capacitor_seconds > 10
    assert made.slots["high"] == 4 or made.slots["high"] == 3


def test_drones_are_part_of_the_damage() -> None:
    made = fits.fitting(killmail(VEXOR, item(WARRIOR, 87, 5), item(HAMMERHEAD, 87, 3))).stats
    assert made is not None
    assert made.damage_per_second == pytest.approx(made.drone_damage_per_second) and made.volley == 0
    assert made.damage_per_second > 100


def test_figures_are_calculated_once_a_fit_and_take_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    found = found_engine()
    real = found.calculate
    monkeypatch.setattr(found, "calculate", lambda fit: calls.append(1) or real(fit))
    first = fits.fitting(fitted_rifter()).stats
    other_cargo = fitted_rifter()
    other_cargo.items.pop()
    assert fits.fitting(other_cargo).stats == first
    assert len(calls) == 1
    small = fits.StatsCache(most_bytes=10_000)
    for number in range(100):
        small.get((number, ((1, 2, 3),)), lambda: None)
    assert len(small) <= 5
