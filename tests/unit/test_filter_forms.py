"""A filter in GraphQL, in an address, in JSON and in English: each form is read back, and what makes no sense is refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from killsync.killmails import filter_values as values
from killsync.killmails.filter import KillmailFilter, Own, Parties
from killsync.killmails.filter_forms import (
    CLAUSES,
    OWN,
    BadFilter,
    from_address,
    from_graphql,
    from_json,
    to_address,
    to_graphql,
    to_json,
)
from killsync.killmails.filter_words import named_in, sentence, why_not
from killsync.killmails.killmail import Attacker, Entity, ItemType, Killmail, SolarSystem, Victim
from killsync.killmails.labels import WORDS
from killsync.static_data.catalog import Group, Named
from models.killmails import VICTIM_SIDE
from tests.support.resources import PROJECT

IDS = st.integers(0, values.MOST_ID)
#: What a client may give, by the form of the value.
GIVEN: dict[int, st.SearchStrategy[Any]] = {
    id(values.ID): IDS.map(str),
    id(values.COUNT): st.integers(0, values.MOST_ATTACKERS),
    id(values.JUMPS): st.integers(0, values.MOST_JUMPS),
    id(values.LIGHT_YEARS): st.floats(0, values.MOST_LIGHT_YEARS),
    id(values.ISK): st.decimals(0, 10**15, places=2).map(float),
    id(values.AGE): st.integers(0, values.MOST_AGE),
    id(values.FLAG): st.booleans(),
    id(values.MOMENT): st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)),
    id(values.SIDE): st.sampled_from(["VICTIM", "ATTACKER"]),
}
LISTED = {
    id(values.IDS): IDS.map(str),
    id(values.BANDS): st.sampled_from([each.name for each in values.SecurityBand]),
    id(values.LABELS): st.sampled_from([*WORDS, "cat:6", "cat:65"]),
}


@st.composite
def inputs(draw: st.DrawFn) -> dict[str, Any]:
    """GraphQL's input with some clauses, of any kind."""
    chosen = draw(st.lists(st.sampled_from(CLAUSES), max_size=8, unique_by=lambda clause: clause.attribute))
    found = {}
    for clause in chosen:
        form = id(clause.form)
        one = LISTED.get(form)
        found[clause.graphql] = draw(st.lists(one, min_size=1, max_size=4) if one is not None else GIVEN[form])
    return found | draw(st.fixed_dictionaries({}, optional={word: st.just(True) for _, word, *_ in OWN}))


@given(inputs())
def test_every_form_is_read_back_as_it_was_written(given: dict[str, Any]) -> None:
    own = Own((1,), (2,), (3,))
    located = False
    try:
        made = from_json(json.dumps(given, default=lambda moment: moment.isoformat()), own, located=located)
    except BadFilter as refused:
        assert refused.clause in given or refused.clause in str(refused)
        return
    assert from_json(to_json(made), own, located=located) == made
    assert from_address(dict(to_address(made)), own, located=located) == made
    said = to_graphql(made)
    assert set(said) == set(given)
    if made.near is None:
        assert from_graphql(json.loads(json.dumps(said)), own) == made
    text = sentence(made, {})
    assert text.endswith(".") and "None" not in text and (text == "Every killmail.") is (not given)
    named_in(made)


def test_every_clause_is_in_the_schema_and_every_word_is_one_clause() -> None:
    schema = (PROJECT / "graphql_api" / "schema.graphql").read_text()
    body = schema[schema.index("input KillmailFilter") :]
    declared = {line.split(":")[0].strip() for line in body[: body.index("\n}")].splitlines() if line.startswith("  ") and '"""' not in line}  # fmt: skip
    assert declared == {clause.graphql for clause in CLAUSES} | {word for _, word, *_ in OWN}
    words = [clause.word for clause in CLAUSES] + [word for _, _, word, _ in OWN]
    assert len(words) == len(set(words))


NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)


def killmail(**more: Any) -> Killmail:
    """A Rifter of one alliance, shot by a pilot of another with an autocannon, and by a Titan; 90 minutes old when stored."""
    rifter = ItemType(587, "Rifter", Group(25, "Frigate", Named(6, "Ship")))
    titan = ItemType(11567, "Avatar", Group(30, "Titan", Named(6, "Ship")))
    gun = ItemType(485, "150mm Autocannon", Group(55, "Projectile Weapon", Named(7, "Module")))
    pilot = Attacker(
        character=Entity(11), corporation=Entity(98_000_011), alliance=Entity(99_000_011), faction=Entity(500_001),
        ship_type=rifter, weapon_type=gun, damage_done=5, final_blow=True,
    )  # fmt: skip
    other = Attacker(
        character=Entity(12), corporation=Entity(98_000_012), ship_type=titan, damage_done=5, final_blow=False
    )
    made: dict[str, Any] = {
        "killmail_id": 1, "killmail_hash": "a", "killmail_time": NOW - timedelta(minutes=90), "created_at": NOW,
        "solar_system": SolarSystem(30_000_142, "Jita"), "constellation_id": 20_000_020, "region_id": 10_000_002,
        "security": "high", "attackers": [pilot, other], "attacker_count": 2, "victim_category_id": 6, "war_id": 9,
        "total_value": Decimal("2000000000.00"),
        "victim": Victim(character=Entity(21), corporation=Entity(98_000_021), alliance=Entity(99_000_021),
                         faction=Entity(500_002), ship_type=rifter, damage_taken=10),
    }  # fmt: skip
    return Killmail(**{**made, **more})


#: (clause, value that this killmail passes, value that it does not, what else the clause needs).
TABLE: list[tuple[str, Any, Any]] = [
    ("characterId", "11", "99"), ("corporationId", "98000021", "9"), ("allianceId", "99000011", "9"),
    ("shipTypeId", "11567", "9"), ("shipGroupId", "30", "9"),
    ("victimCharacterIds", ["9", "21"], ["11"]), ("victimCorporationIds", ["98000021"], ["98000011"]),
    ("victimAllianceIds", ["99000021"], ["99000011"]), ("victimFactionIds", ["500002"], ["500001"]),
    ("victimShipTypeIds", ["587"], ["11567"]), ("victimShipGroupIds", ["25"], ["30"]),
    ("victimShipCategoryIds", ["6"], ["65"]),
    ("attackerCharacterIds", ["11"], ["21"]), ("attackerCorporationIds", ["98000012"], ["98000021"]),
    ("attackerAllianceIds", ["99000011"], ["99000021"]), ("attackerFactionIds", ["500001"], ["500002"]),
    ("attackerShipTypeIds", ["11567"], ["588"]), ("attackerShipGroupIds", ["30"], ["31"]),
    ("attackerShipCategoryIds", ["6"], ["65"]), ("attackerWeaponTypeIds", ["485"], ["486"]),
    ("attackerWeaponGroupIds", ["55"], ["53"]),
    ("excludeVictimCharacterIds", ["11"], ["21"]), ("excludeVictimCorporationIds", ["98000011"], ["98000021"]),
    ("excludeVictimAllianceIds", ["99000011"], ["99000021"]), ("excludeVictimFactionIds", ["500001"], ["500002"]),
    ("excludeVictimShipTypeIds", ["11567"], ["587"]), ("excludeVictimShipGroupIds", ["30"], ["25"]),
    ("excludeVictimShipCategoryIds", ["65"], ["6"]),
    ("excludeAttackerCharacterIds", ["21"], ["12"]), ("excludeAttackerCorporationIds", ["98000021"], ["98000012"]),
    ("excludeAttackerAllianceIds", ["99000021"], ["99000011"]), ("excludeAttackerFactionIds", ["500002"], ["500001"]),
    ("excludeAttackerShipTypeIds", ["588"], ["11567"]), ("excludeAttackerShipGroupIds", ["31"], ["30"]),
    ("excludeAttackerShipCategoryIds", ["65"], ["6"]), ("excludeAttackerWeaponTypeIds", ["486"], ["485"]),
    ("excludeAttackerWeaponGroupIds", ["53"], ["55"]),
    ("finalBlowOrganizationIds", ["500001"], ["98000012"]),
    ("systemId", "30000142", "30000143"), ("constellationId", "20000020", "9"), ("regionId", "10000002", "9"),
    ("systemIds", ["30000142", "1"], ["1"]), ("constellationIds", ["20000020"], ["9"]), ("regionIds", ["10000002"], ["9"]),
    ("security", ["HIGH", "LOW"], ["LOW"]), ("excludeSecurity", ["LOW"], ["HIGH"]),
    ("excludeSystemIds", ["1"], ["30000142"]), ("excludeConstellationIds", ["9"], ["20000020"]),
    ("excludeRegionIds", ["9"], ["10000002"]),
    ("startDate", NOW - timedelta(hours=2), NOW), ("endDate", NOW, NOW - timedelta(hours=2)),
    ("maxAgeSeconds", 5_400, 5_399), ("minValue", 2e9, 3e9), ("maxValue", 2e9, 1.9e9), ("minAttackers", 2, 3), ("maxAttackers", 2, 1),
    ("npc", False, True), ("solo", False, True), ("awox", False, True), ("war", True, False),
    ("labels", ["#:2+", "cat:6"], ["#:5+"]), ("excludeLabels", ["#:5+"], ["cat:6"]),
]  # fmt: skip


@pytest.mark.parametrize(("clause", "passes", "fails"), TABLE, ids=[name for name, *_ in TABLE])
def test_a_clause_passes_one_killmail_and_not_another(clause: str, passes: Any, fails: Any) -> None:
    assert from_graphql({clause: passes}).matches(killmail())
    refused = from_graphql({clause: fails})
    assert not refused.matches(killmail())
    reasons = why_not(refused, killmail(), {})
    assert len(reasons) == 1 and reasons[0] and "Every" not in reasons[0]
    assert why_not(from_graphql({clause: passes}), killmail(), {}) == []


def test_the_table_has_every_clause() -> None:
    apart = {"side", "nearSystemId", "maxJumps", "maxLightYears"}
    assert {name for name, *_ in TABLE} == {clause.graphql for clause in CLAUSES} - apart


@pytest.mark.parametrize(
    ("own", "matches"),
    [(Own(characters=(21,)), {"mine"}), (Own(corporations=(98_000_011,)), {"myCorporation"}),
     (Own(alliances=(99_000_021,)), {"myAlliance"}), (Own(), set())],
    ids=["character", "corporation", "alliance", "nobody"],
)  # fmt: skip
def test_mine_is_what_the_reader_has(own: Own, matches: set[str]) -> None:
    assert {word for _, word, *_ in OWN if from_graphql({word: True}, own).matches(killmail())} == matches


@pytest.mark.parametrize(
    ("given", "clause", "says"),
    [
        ({"minAttackers": 5, "maxAttackers": 4}, "minAttackers", "maxAttackers"),
        ({"npc": True, "solo": True}, "npc", "solo"),
        ({"npc": True, "labels": ["pvp"]}, "npc", "labels"),
        ({"solo": False, "labels": ["solo"]}, "labels", "solo"),
        ({"labels": ["awox"], "excludeLabels": ["awox"]}, "labels", "excludeLabels"),
        ({"maxAttackers": 3, "labels": ["#:5+"]}, "maxAttackers", "labels"),
        ({"security": ["LOW"], "excludeSecurity": ["NULL", "LOW"]}, "security", "excludeSecurity"),
        ({"victimAllianceIds": ["1", "2"], "excludeVictimAllianceIds": ["2", "1"]}, "victimAllianceIds",
         "excludeVictimAllianceIds"),
        ({"attackerShipGroupIds": ["1"], "excludeAttackerShipGroupIds": ["1", "3"]}, "attackerShipGroupIds",
         "excludeAttackerShipGroupIds"),
        ({"systemId": "1", "systemIds": ["2"]}, "systemId", "systemIds"),
        ({"regionId": "1", "excludeRegionIds": ["1"]}, "regionId", "excludeRegionIds"),
        ({"victimShipTypeIds": []}, "victimShipTypeIds", "empty"),
        ({"victimShipTypeIds": [str(number) for number in range(10_000)]}, "victimShipTypeIds", "more than 100"),
        ({"excludeSystemIds": ["Jita"]}, "excludeSystemIds", "whole number"),
        ({"maxAgeSeconds": -1}, "maxAgeSeconds", "is from 0"),
        ({"excludeLabels": ["nonsense"]}, "excludeLabels", "knows no"),
    ],
    ids=str,
)  # fmt: skip
def test_what_makes_no_sense_is_refused_with_the_clauses(given: dict[str, Any], clause: str, says: str) -> None:
    with pytest.raises(BadFilter) as refused:
        from_graphql(given)
    assert refused.value.clause == clause and clause in str(refused.value) and says in str(refused.value)
    with pytest.raises(BadFilter):
        from_json(json.dumps(given))


def test_the_filter_of_a_webhook_of_before_is_read() -> None:
    stored = {"mine": True, "side": "losses", "corporation_id": 98000001, "alliance_id": None, "ship_type_ids": [587, 588],
              "system_id": 30000142, "min_attackers": 3, "max_age": 3600}  # fmt: skip
    assert from_json(json.dumps(stored), Own((5,))) == KillmailFilter(
        mine=(5,), sides=VICTIM_SIDE, corporation_id=98000001, victim=Parties(ship_type_ids=(587, 588)),
        system_id=30000142, min_attackers=3, max_age=3600,
    )  # fmt: skip
    plain = {"mine": False, "side": "both", "corporation_id": None, "alliance_id": None, "ship_type_ids": [],
             "system_id": None, "min_attackers": 1, "max_age": 900}  # fmt: skip
    assert from_json(json.dumps(plain)) == KillmailFilter(max_age=900)


def test_clauses_of_a_newer_version_are_kept_and_named() -> None:
    made = from_json('{"regionId":"10000002","minPoints":{"of":[5]},"weather":"bad"}')
    assert made.region_id == 10000002
    assert json.loads(to_json(made)) == {"regionId": "10000002", "minPoints": {"of": [5]}, "weather": "bad"}
    assert "which this version cannot use, minPoints and weather" in sentence(made, {})


@pytest.mark.parametrize(
    "text",
    ["", "[]", "null", "{", '{"mine":1}', '{"npc":1}', '{"minAttackers":true}', '{"minAttackers":1e400}', '{"regionId":[1]}',
     '{"victimShipTypeIds":7}', '{"victimShipTypeIds":[[1]]}', '{"startDate":5}', '{"labels":[5]}', '{"security":[5]}',
     '{"side":{}}', '{"max_age":"soon"}', "[" * 100_000],
)  # fmt: skip
def test_stored_text_that_is_no_filter_is_refused(text: str) -> None:
    with pytest.raises(BadFilter):
        from_json(text)


def test_a_sentence_names_what_it_knows() -> None:
    made = from_graphql({
        "attackerAllianceIds": ["1", "2"], "victimShipGroupIds": ["30"], "excludeAttackerShipTypeIds": ["587"],
        "security": ["LOW", "NULL"], "minAttackers": 2, "npc": False, "maxAgeSeconds": 3600,
    })  # fmt: skip
    assert set(named_in(made)) == {("alliance", 1), ("alliance", 2), ("item_group", 30), ("item_type", 587)}
    names = {("alliance", 1): "Goons", ("item_group", 30): "Titan", ("item_type", 587): "Rifter"}
    assert sentence(made, names) == (
        "Killmails: the victim is the class Titan; an attacker is of the alliance Goons or 2; no attacker is flying Rifter; "
        "in low security or null security; at least 2 attackers; it is not a kill by NPCs; stored within 1 hour."
    )


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("5b", 5e9), ("1.5B", 1.5e9), ("250m ISK", 250e6), ("250 mil", 250e6), ("2bn", 2e9), (".5t", 5e11), ("1,000,000", 1e6),
        ("1 000 000", 1e6), ("10_000k", 1e7), ("1e9", 1e9), ("12.34", 12.34), (" 7 ", 7), ("0", 0),
    ],
)  # fmt: skip
def test_an_amount_is_read_as_players_write_it(text: str, amount: float) -> None:
    assert from_address({"value-from": text}).min_value == Decimal(str(amount)).quantize(Decimal("0.01"))


@pytest.mark.parametrize(
    "text", ["b", "5x", "1,5b", "1,00", "-5m", "5m5", "1e", "٥b", "9" * 39 + "t", "5b" * 30, "nan", "inf", "5 b b"]
)
def test_what_is_no_amount_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(BadFilter, match=r"such as 250m or 1\.5b"):
        from_address({"value-from": text})


def test_values_are_amounts_of_isk() -> None:
    assert values.ISK.read(1e9) == Decimal("1000000000.00")
