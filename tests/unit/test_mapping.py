"""From a killmail's body to its rows: every field lands in its column, nothing is lost, nothing is made up."""

from __future__ import annotations

import copy
import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from killsync.esi import schemas
from killsync.killmails import mapping
from killsync.killmails.classification import classify
from killsync.killmails.esi_body import text_to_keep
from killsync.settings import project_root
from killsync.static_data.catalog import Catalog
from models.killmails import (
    ALLIANCE,
    ATTACKER_SIDE,
    CHARACTER,
    CORPORATION,
    NO_STATIC_DATA,
    OF_KIND,
    SHIP_TYPE,
    VICTIM_SIDE,
    AttackerRow,
    VictimRow,
)

REAL = project_root().parent / "shared" / "killmails-real.json"
STORED_AT = datetime(2026, 8, 18, 12, 30, 15, 250_000, UTC)
DIGEST = "332dee72541b45446662f3e5fae07b875273b8f2"
KINDS = {
    "character_id": CHARACTER,
    "corporation_id": CORPORATION,
    "alliance_id": ALLIANCE,
    "ship_type_id": SHIP_TYPE,
}

#: Mostly few different ids, so that one entity stands on both sides and several times; sometimes the widest there are.
ids = st.one_of(st.integers(1, 4), st.integers(1, 2**63 - 1), st.just(2**63 - 1))
amounts = st.one_of(st.integers(0, 50), st.integers(2**31, 2**63 - 1))
coordinates = st.floats(-1e17, 1e17, allow_nan=False)
moments = st.datetimes(datetime(2003, 5, 6), datetime(2100, 1, 1)).map(lambda moment: moment.replace(microsecond=0))


def item(inside: st.SearchStrategy[Any] | None = None) -> st.SearchStrategy[dict[str, Any]]:
    """An item; *inside* is what may lie in it."""
    return st.fixed_dictionaries(
        {"item_type_id": ids, "flag": st.integers(0, 200), "singleton": st.sampled_from((0, 1, 2))},
        optional={
            "quantity_dropped": amounts,
            "quantity_destroyed": amounts,
            **({"items": inside} if inside is not None else {}),
        },
    )


victims = st.fixed_dictionaries(
    {"ship_type_id": ids, "damage_taken": amounts},
    optional={
        "character_id": ids,
        "corporation_id": ids,
        "alliance_id": ids,
        "faction_id": ids,
        "position": st.fixed_dictionaries({"x": coordinates, "y": coordinates, "z": coordinates}),
        "items": st.lists(item(st.lists(item(), max_size=3)), max_size=5),
    },
)
attackers = st.fixed_dictionaries(
    {"damage_done": amounts, "final_blow": st.booleans()},
    optional={
        "security_status": st.floats(-10, 10, allow_nan=False),
        "character_id": ids,
        "corporation_id": ids,
        "alliance_id": ids,
        "faction_id": ids,
        "ship_type_id": ids,
        "weapon_type_id": ids,
    },
)
bodies = st.fixed_dictionaries(
    {
        "killmail_id": ids,
        "killmail_time": moments.map(lambda moment: moment.strftime("%Y-%m-%dT%H:%M:%SZ")),
        "solar_system_id": ids,
        "victim": victims,
        "attackers": st.lists(attackers, min_size=1, max_size=6),
    },
    optional={"moon_id": ids, "war_id": ids},
)


def mapped(body: dict[str, Any]) -> mapping.KillmailRows:
    return mapping.map_killmail(body, DIGEST, STORED_AT)


def decoded(body: dict[str, Any]) -> Any:
    """*body* as the client of ESI gives it, from the bytes that ESI sends."""
    return schemas.killmail(json.dumps(body).encode(), body["killmail_id"])


def as_stored(moment: str) -> str:
    """ESI's moment in the text that both databases keep, made without the code under test."""
    return moment.replace("T", " ").replace("Z", ".000000+00:00")


def stored_item(body: dict[str, Any]) -> mapping.Item:
    """The item that *body* must become."""
    row = {column: body.get(column) for column in mapping.Item._fields if column != "inside"}
    return mapping.Item(**row, inside=tuple(stored_item(inner) for inner in body.get("items", [])))


def all_items(body: dict[str, Any]) -> list[dict[str, Any]]:
    outer = body["victim"].get("items", [])
    return [*outer, *(inner for container in outer for inner in container.get("items", []))]


#: Columns of a killmail that say what it is about.
CLASSIFIED = ("npc", "solo", "awox", "victim_category_id", "constellation_id", "region_id", "security", "label_bits")


def check_whole(body: dict[str, Any]) -> None:
    """Compare every column of every row with the field of the body that bears its name."""
    rows = mapped(body)
    victim = body["victim"]
    position = victim.get("position", {})
    assert rows.killmail_id == body["killmail_id"]
    kind = classify(body, mapping.parse_time(body["killmail_time"]), Catalog())
    assert rows.killmail._asdict() == {
        "sequence": None,
        "killmail_id": body["killmail_id"],
        "killmail_hash": DIGEST,
        "killmail_time": as_stored(body["killmail_time"]),
        "solar_system_id": body["solar_system_id"],
        "moon_id": body.get("moon_id"),
        "war_id": body.get("war_id"),
        "attacker_count": len(body["attackers"]),
        "created_at": "2026-08-18 12:30:15.250000+00:00",
        **{name: getattr(kind, name) for name in CLASSIFIED},
        "classified_by": NO_STATIC_DATA,
        **dict.fromkeys(("total_value", "destroyed_value", "dropped_value", "fitted_value"), "0.00"),
        "priced_on": None,
    }
    assert rows.victim._asdict() == {
        "killmail_id": body["killmail_id"],
        **{name: victim.get(name) for name in ("character_id", "corporation_id", "alliance_id", "faction_id")},
        "ship_type_id": victim["ship_type_id"],
        "damage_taken": victim["damage_taken"],
        **{f"position_{axis}": position.get(axis) for axis in "xyz"},
    }
    assert [row._asdict() for row in rows.attackers] == [
        {
            **{name: attacker.get(name) for name in AttackerRow._fields},
            "killmail_id": body["killmail_id"],
        }
        for attacker in body["attackers"]
    ]
    assert list(rows.items) == [stored_item(each) for each in victim.get("items", [])]


@given(bodies)
def test_every_field_of_a_killmail_lands_in_the_column_of_its_name(body: dict[str, Any]) -> None:
    assert decoded(body) == body
    check_whole(body)


@given(bodies)
def test_nothing_of_a_killmail_is_left_out(body: dict[str, Any]) -> None:
    """Count every number of the body and find each as often in the rows, whatever column it stands in."""

    def leaves(value: Any) -> list[Any]:
        if isinstance(value, dict):
            return [leaf for name, inner in value.items() if name != "killmail_time" for leaf in leaves(inner)]
        if isinstance(value, list):
            return [leaf for inner in value for leaf in leaves(inner)]
        return [value]

    def item_leaves(each: mapping.Item) -> list[Any]:
        return [*each[:-1], *(leaf for inner in each.inside for leaf in item_leaves(inner))]

    rows = mapped(body)
    found = [*rows.killmail[:8], *rows.victim, *(value for row in rows.attackers for value in row)]
    for each in rows.items:
        found.extend(item_leaves(each))
    wanted = Counter((type(leaf), leaf) for leaf in leaves(body))
    assert not wanted - Counter((type(value), value) for value in found)


@given(bodies)
def test_a_missing_field_is_null_and_never_zero_or_empty(body: dict[str, Any]) -> None:
    rows = mapped(body)
    killmail = rows.killmail._asdict()
    assert {name for name in ("moon_id", "war_id") if killmail[name] is None} == {"moon_id", "war_id"} - set(body)
    victim = rows.victim._asdict()
    absent = {name for name in VictimRow._fields if name not in body["victim"] and name in KINDS | {"faction_id": 0}}
    if "position" not in body["victim"]:
        absent |= {"position_x", "position_y", "position_z"}
    assert {name for name, value in victim.items() if value is None} == absent
    for attacker, row in zip(body["attackers"], rows.attackers, strict=True):
        missing = set(AttackerRow._fields) - set(attacker) - {"killmail_id"}
        assert {name for name, value in row._asdict().items() if value is None} == missing


@given(bodies)
def test_a_field_that_is_null_is_as_good_as_missing(body: dict[str, Any]) -> None:
    spelled = copy.deepcopy(body)
    for name in ("moon_id", "war_id"):
        spelled.setdefault(name, None)
    for name in ("character_id", "corporation_id", "alliance_id", "faction_id", "position", "items"):
        spelled["victim"].setdefault(name, None)
    for attacker in spelled["attackers"]:
        for name in set(AttackerRow._fields) - {"killmail_id"}:
            attacker.setdefault(name, None)
    assert decoded(spelled) == spelled
    assert replace(mapped(spelled), body=None) == replace(mapped(body), body=None)


@given(st.lists(item(st.lists(item(), min_size=1, max_size=4)), min_size=1, max_size=6))
def test_nested_items_keep_their_parents_and_their_order(items: list[dict[str, Any]]) -> None:
    body = {
        "killmail_id": 1,
        "killmail_time": "2026-08-01T00:00:00Z",
        "solar_system_id": 30000142,
        "victim": {"ship_type_id": 587, "damage_taken": 1, "items": items},
        "attackers": [{"damage_done": 1, "final_blow": True}],
    }
    rows = mapped(body)
    assert [each.item_type_id for each in rows.items] == [each["item_type_id"] for each in items]
    for each, row in zip(items, rows.items, strict=True):
        assert row.inside == tuple(stored_item(inner) for inner in each.get("items", []))


@given(st.integers(2**31, 2**63 - 1), st.floats(-1e17, 1e17, allow_nan=False))
def test_numbers_of_64_bits_survive(number: int, coordinate: float) -> None:
    body = {
        "killmail_id": number,
        "killmail_time": "2026-08-01T00:00:00Z",
        "solar_system_id": number,
        "victim": {
            "character_id": number,
            "ship_type_id": number,
            "damage_taken": number,
            "position": {"x": coordinate, "y": coordinate, "z": coordinate},
            "items": [{"item_type_id": number, "flag": 5, "singleton": 0, "quantity_dropped": number}],
        },
        "attackers": [{"damage_done": number, "final_blow": True, "weapon_type_id": number}],
    }
    rows = mapped(json.loads(json.dumps(body)))
    victim = rows.victim._asdict()
    attacker = rows.attackers[0]._asdict()
    for value in (
        rows.killmail_id, victim["character_id"], victim["ship_type_id"], victim["damage_taken"],
        attacker["damage_done"], attacker["weapon_type_id"], rows.items[0].item_type_id, rows.items[0].quantity_dropped,
    ):  # fmt: skip
        assert type(value) is int
        assert value == number
    assert (victim["position_x"], victim["position_y"], victim["position_z"]) == (coordinate,) * 3


@given(bodies)
def test_each_party_is_involved_once_with_the_sides_it_stood_on(body: dict[str, Any]) -> None:
    rows = mapped(body)
    found = [row._asdict() for row in rows.involvement]
    seen = [
        (kind, row[column], row["sides"])
        for row in found
        for kind, column in OF_KIND.items()
        if row[column] is not None
    ]
    keys = [(kind, entity) for kind, entity, _ in seen]
    assert len(keys) == len(set(keys))
    assert all(any(row[column] is not None for column in OF_KIND.values()) for row in found), "no row is empty"
    on_victim_side = {(kind, body["victim"][name]) for name, kind in KINDS.items() if name in body["victim"]}
    on_attacker_side = {
        (kind, attacker[name]) for attacker in body["attackers"] for name, kind in KINDS.items() if name in attacker
    }
    assert {(kind, entity) for kind, entity, sides in seen if sides & VICTIM_SIDE} == on_victim_side
    assert {(kind, entity) for kind, entity, sides in seen if sides & ATTACKER_SIDE} == on_attacker_side
    assert set(keys) == on_victim_side | on_attacker_side
    assert {row["sides"] for row in found} <= {VICTIM_SIDE, ATTACKER_SIDE, VICTIM_SIDE | ATTACKER_SIDE}
    assert {row["killmail_id"] for row in found} == {body["killmail_id"]}
    assert {row["killmail_time"] for row in found} == {as_stored(body["killmail_time"])}


@given(bodies)
def test_every_id_that_a_reader_wants_named_is_named(body: dict[str, Any]) -> None:
    parties = [body["victim"], *body["attackers"]]
    wanted = mapped(body).named
    for table in ("character", "corporation", "alliance", "faction"):
        assert wanted[table] == {party[f"{table}_id"] for party in parties if f"{table}_id" in party}
    assert wanted["solar_system"] == {body["solar_system_id"]}
    types = {party[name] for party in parties for name in ("ship_type_id", "weapon_type_id") if name in party}
    assert wanted["item_type"] == types | {each["item_type_id"] for each in all_items(body)}


@given(bodies)
def test_mapping_leaves_the_body_as_it_is_and_gives_the_same_rows_again(body: dict[str, Any]) -> None:
    before = copy.deepcopy(body)
    first = mapped(body)
    assert body == before
    assert mapped(body) == first


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("2026-08-18T11:00:00Z", "2026-08-18 11:00:00.000000+00:00"),
        ("2026-08-18T11:00:00.25Z", "2026-08-18 11:00:00.250000+00:00"),
        ("2026-08-18T01:30:00+02:00", "2026-08-17 23:30:00.000000+00:00"),
    ],
)
def test_a_moment_of_any_rfc_3339_spelling_is_stored_in_utc(text: str, stored: str) -> None:
    body = {
        "killmail_id": 1,
        "killmail_time": text,
        "solar_system_id": 2,
        "victim": {"ship_type_id": 587, "damage_taken": 1},
        "attackers": [{"damage_done": 1, "final_blow": True}],
    }
    rows = mapped(decoded(body))
    assert rows.killmail._asdict()["killmail_time"] == stored
    assert {row.killmail_time for row in rows.involvement} == {stored}


@pytest.mark.skipif(not REAL.exists(), reason="real killmails are not at hand")
def test_real_killmails_are_mapped_whole() -> None:
    real = json.loads(REAL.read_text())
    assert real
    for each in real:
        body = each["killmail"]
        assert decoded(body) == body
        check_whole(body)
        rows = mapping.map_killmail(body, each["killmail_hash"], STORED_AT)
        assert rows.killmail.killmail_hash == each["killmail_hash"]
        assert sum(1 + len(row.inside) for row in rows.items) == len(all_items(body))
        blows = [row._asdict()["final_blow"] for row in rows.attackers]
        assert blows.count(True) == 1


@given(bodies)
def test_a_body_that_the_rows_do_not_say_is_kept_as_esi_gave_it(body: dict[str, Any]) -> None:
    kept = text_to_keep(body)
    victim = body["victim"]
    is_said = "items" in victim and all(item.get("items", True) for item in victim["items"])
    assert kept is not None or is_said
    assert kept is None or msgspec.json.decode(kept) == body


@pytest.mark.parametrize(
    "change",
    [
        {"new_field": 1}, {"moon_id": None}, {"killmail_time": "2026-08-18T11:00:00.5Z"},
        {"killmail_time": "2026-08-18T13:00:00+02:00"},
    ],
    ids=str,
)  # fmt: skip
def test_what_no_column_says_is_kept(change: dict[str, Any]) -> None:
    body = {
        "killmail_id": 7, "killmail_time": "2026-08-18T11:00:00Z", "solar_system_id": 30000142,
        "victim": {"ship_type_id": 670, "damage_taken": 1, "items": []}, "attackers": [],
    }  # fmt: skip
    assert text_to_keep(schemas.killmail(msgspec.json.encode(body), 7)) is None
    changed = {**body, **change}
    served = msgspec.json.format(msgspec.json.encode(changed), indent=2)
    kept = text_to_keep(schemas.killmail(served, 7))
    assert kept is not None and "\n" not in kept and msgspec.json.decode(kept) == changed
