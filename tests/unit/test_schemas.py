"""What ESI answers is checked before anything is kept: each wrong answer is refused, with the place that is wrong."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from killsync.esi import schemas
from killsync.sso import schemas as sso_schemas

GOOD: dict[str, Any] = {
    "killmail_id": 5,
    "killmail_time": "2026-08-01T00:00:00Z",
    "solar_system_id": 30000142,
    "victim": {
        "ship_type_id": 587,
        "damage_taken": 1,
        "position": {"x": 1.5, "y": 2, "z": -3e17},
        "items": [{"item_type_id": 1, "flag": 5, "singleton": 0,
                   "items": [{"item_type_id": 2, "flag": 5, "singleton": 0, "quantity_dropped": 3}]}],
    },
    "attackers": [{"damage_done": 1, "final_blow": True, "security_status": -10}],
}  # fmt: skip


def changed(*path: str | int, to: Any) -> bytes:
    """The good killmail with one place changed."""
    body = copy.deepcopy(GOOD)
    here: Any = body
    for step in path[:-1]:
        here = here[step]
    here[path[-1]] = to
    return json.dumps(body).encode()


def without(*path: str | int) -> bytes:
    body = copy.deepcopy(GOOD)
    here: Any = body
    for step in path[:-1]:
        here = here[step]
    del here[path[-1]]
    return json.dumps(body).encode()


WRONG: list[tuple[bytes, str]] = [
    (b"[]", "expected object, got array"),
    (b"null", "expected object, got null"),
    (b'"text"', "expected object, got str"),
    (b'{"error": "something"}', "an error object under status 200"),
    (changed("killmail_id", to=6), "the body is of another killmail"),
    (changed("killmail_id", to="5"), "killmail_id: expected int, got str"),
    (changed("killmail_id", to=True), "killmail_id: expected int, got bool"),
    (changed("killmail_id", to=5.0), "killmail_id: expected int, got float"),
    (without("killmail_id"), "object missing required field killmail_id"),
    (changed("killmail_time", to=1), "killmail_time: expected str, got int"),
    (changed("killmail_time", to="yesterday"), "killmail_time is no RFC 3339 time"),
    (changed("killmail_time", to="2026-08-01T00:00:00"), "killmail_time is no RFC 3339 time"),
    (without("killmail_time"), "object missing required field killmail_time"),
    (changed("solar_system_id", to=None), "solar_system_id: expected int, got null"),
    (changed("moon_id", to="1"), "moon_id: expected int | null, got str"),
    (changed("war_id", to=1.5), "war_id: expected int | null, got float"),
    (without("victim"), "object missing required field victim"),
    (changed("victim", to=[]), "victim: expected object, got array"),
    (without("victim", "ship_type_id"), "victim: object missing required field ship_type_id"),
    (changed("victim", "damage_taken", to=2**63), "victim.damage_taken: expected int <= 9223372036854775807"),
    (changed("victim", "damage_taken", to=-(2**63) - 1), "victim.damage_taken: expected int >= -9223372036854775808"),
    (changed("victim", "character_id", to=2**70), "victim.character_id: expected int <= 9223372036854775807"),
    (changed("victim", "position", to=[1, 2, 3]), "victim.position: expected object | null, got array"),
    (changed("victim", "position", "x", to=True), "victim.position.x: expected float, got bool"),
    (changed("victim", "position", "y", to=None), "victim.position.y: expected float, got null"),
    (without("victim", "position", "z"), "victim.position: object missing required field z"),
    (changed("victim", "items", to={}), "victim.items: expected array | null, got object"),
    (changed("victim", "items", 0, to=7), "victim.items[0]: expected object, got int"),
    (changed("victim", "items", 0, "flag", to=None), "victim.items[0].flag: expected int, got null"),
    (without("victim", "items", 0, "singleton"), "victim.items[0]: object missing required field singleton"),
    (changed("victim", "items", 0, "items", 0, "quantity_dropped", to="3"),
     "victim.items[0].items[0].quantity_dropped: expected int | null, got str"),
    (without("victim", "items", 0, "items", 0, "item_type_id"),
     "victim.items[0].items[0]: object missing required field item_type_id"),
    (without("attackers"), "object missing required field attackers"),
    (changed("attackers", to=None), "attackers: expected array, got null"),
    (changed("attackers", 0, to="you"), "attackers[0]: expected object, got str"),
    (changed("attackers", 0, "damage_done", to=True), "attackers[0].damage_done: expected int, got bool"),
    (changed("attackers", 0, "damage_done", to=2**70), "attackers[0].damage_done: expected int <= 9223372036854775807"),
    (changed("attackers", 0, "final_blow", to=1), "attackers[0].final_blow: expected bool, got int"),
    (without("attackers", 0, "final_blow"), "attackers[0]: object missing required field final_blow"),
    (changed("attackers", 0, "security_status", to="0.5"), "attackers[0].security_status: expected float | null, got str"),
    (changed("attackers", 0, "weapon_type_id", to=False), "attackers[0].weapon_type_id: expected int | null, got bool"),
    (changed("attackers", to=GOOD["attackers"] * (schemas.MOST_ATTACKERS + 1)),
     f"attackers: expected array of length <= {schemas.MOST_ATTACKERS}"),
    (changed("victim", "items", to=[{"item_type_id": 1, "flag": 5, "singleton": 0}] * (schemas.MOST_ITEMS + 1)),
     f"victim.items: expected array of length <= {schemas.MOST_ITEMS}"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "reason"), WRONG, ids=[reason for _, reason in WRONG])
def test_a_killmail_of_another_shape_is_refused_with_the_place(body: bytes, reason: str) -> None:
    with pytest.raises(schemas.ShapeError) as refused:
        schemas.killmail(body, 5)
    assert str(refused.value) == reason


def test_a_good_killmail_is_given_as_it_is() -> None:
    assert schemas.killmail(json.dumps(GOOD).encode(), 5) == GOOD
    for path, value in (
        (("victim", "damage_taken"), 2**63 - 1), (("victim", "damage_taken"), -(2**63)), (("moon_id",), None),
        (("victim", "items"), None), (("victim", "position"), None), (("attackers",), []),
        (("attackers", 0, "security_status"), None), (("killmail_time",), "2026-08-01T00:00:00.25+02:00"),
    ):  # fmt: skip
        body = changed(*path, to=value)
        assert schemas.killmail(body, 5) == json.loads(body), path


def test_fields_that_nobody_promised_are_left_out_and_a_third_level_of_items_too() -> None:
    body = copy.deepcopy(GOOD)
    body["colour"] = body["victim"]["colour"] = body["attackers"][0]["colour"] = {"red": [1]}
    inner = body["victim"]["items"][0]["items"][0]
    inner["items"] = [{"item_type_id": True}]
    assert schemas.killmail(json.dumps(body).encode(), 5) == GOOD


@pytest.mark.parametrize(
    "decode",
    [lambda body: schemas.killmail(body, 5), schemas.killmail_refs, schemas.names, schemas.character, schemas.organization,
     schemas.status],
)  # fmt: skip
def test_what_is_no_json_or_was_cut_short_is_told_apart(decode: Callable[[bytes], Any]) -> None:
    whole = json.dumps(GOOD).encode()
    for body in (b"", b"<html>maintenance</html>", whole[: len(whole) // 2], whole[:-1], b'{"killmail_id": true, "a": [1',
                 b"[1, 2", b'[{"id": "x"}, {"na'):  # fmt: skip
        with pytest.raises(schemas.NotJson):
            decode(body)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{}", "expected array, got object"),
        (b'[{"killmail_id": 1, "killmail_hash": "ab"}, 5]', "[1]: expected object, got int"),
        (b'[{"killmail_id": "1", "killmail_hash": "ab"}]', "[0].killmail_id: expected int, got str"),
        (b'[{"killmail_id": 1}]', "[0]: object missing required field killmail_hash"),
        (b'[{"killmail_id": 1, "killmail_hash": null}]', "[0].killmail_hash: expected str, got null"),
    ],
)
def test_a_list_of_another_shape_is_refused(body: bytes, reason: str) -> None:
    with pytest.raises(schemas.ShapeError) as refused:
        schemas.killmail_refs(body)
    assert str(refused.value) == reason


@pytest.mark.parametrize("digest", ["", "a/b", "../x", "a b", "a\n", "x" * 129, "ab?c=d"])
def test_what_is_no_hash_never_becomes_part_of_an_address(digest: str) -> None:
    with pytest.raises(schemas.ShapeError, match=r"^\[0\]\.killmail_hash: "):
        schemas.killmail_refs(json.dumps([{"killmail_id": 1, "killmail_hash": digest}]).encode())
    assert schemas.killmail_refs(b'[{"killmail_id": 1, "killmail_hash": "aB9", "x": 1}]') == [(1, "aB9")]


def test_names_come_without_nul_and_all_their_parts() -> None:
    good = [{"id": 1, "name": "A\x00B", "category": "character"}]
    assert schemas.names(json.dumps(good).encode()) == {1: ("character", "AB")}
    for wrong in ([{"id": 1, "name": "A"}], [{"id": True, "name": "A", "category": "b"}],
                  [{"id": 1, "name": None, "category": "b"}], {"id": 1}):  # fmt: skip
        with pytest.raises(schemas.ShapeError):
            schemas.names(json.dumps(wrong).encode())


def test_public_information_and_the_status() -> None:
    assert schemas.character(b'{"corporation_id": 5, "name": "x"}').name == "x"
    assert schemas.organization(b'{"name": "A B C", "ticker": "ABC"}').ticker == "ABC"
    assert schemas.status(b'{"players": 12, "vip": true}').players == 12
    for decode in (schemas.character, schemas.organization, schemas.status):
        with pytest.raises(schemas.ShapeError, match="an error object"):
            decode(b'{"error": "something is wrong"}')


def test_the_keys_of_an_sso_that_are_not_understood_are_passed_over() -> None:
    document = sso_schemas.decode(
        sso_schemas.KeySet,
        b'{"keys": [{"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "a"}, {"kty": "EC", "crv": "P-256"}, 7, {"kty": 5}]}',
    )
    assert document is not None
    keys = [sso_schemas.decode(sso_schemas.RsaKey, raw) for raw in document.keys]
    assert [key.kid if key else None for key in keys] == ["a", None, None, None]


def test_tokens_never_show_in_what_is_printed() -> None:
    answer = sso_schemas.decode(sso_schemas.TokenAnswer, b'{"access_token": "secret-a", "refresh_token": "secret-b"}')
    assert answer is not None and answer.access_token == "secret-a"
    assert "secret" not in repr(answer) and "secret" not in str(answer)
    assert sso_schemas.decode(sso_schemas.TokenAnswer, b'{"access_token": 5}') is None
