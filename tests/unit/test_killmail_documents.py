"""A killmail in JSON is found in whatever it is wrapped in, and its body is ESI's own, field for field."""

from __future__ import annotations

import json
from typing import Any

import pytest

from killsync.bulk.documents import BrokenDocument, checked, entries, read
from killsync.esi import schemas
from killsync.settings import project_root
from tests.support.killmail_files import everef, hash_of, killmail

REAL = project_root().parent / "shared" / "killmails-real.json"
HASH = hash_of(7)


def dumped(value: Any) -> bytes:
    return json.dumps(value).encode()


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        (dumped(killmail(7)), "7.json", None),
        (everef(7), "7.json", HASH),
        (dumped({**killmail(7), "zkb": {"hash": HASH, "totalValue": 1.5}}), "7.json", HASH),
        (dumped({"killmail_id": 7, "hash": HASH, "esi": killmail(7), "zkb": {"npc": False}}), "7.json", HASH),
        (dumped({"killmail_hash": HASH, "killmail": killmail(7)}), "7.json", HASH),
        (dumped(killmail(7)), f"somewhere/7-{HASH}.json", HASH),
        (dumped(killmail(7)), f"7/{HASH}0.json", None),
        (everef(7), f"{'b' * 40}.json", HASH),
    ],
)
def test_each_wrapping_gives_the_body_and_the_hash(text: bytes, name: str, expected: str | None) -> None:
    document = read(text, name)
    assert (document.killmail_id, document.killmail_hash) == (7, expected)
    assert json.loads(document.text) == killmail(7)
    assert dict(checked(document)) == killmail(7)


def test_a_field_that_is_new_at_esi_stays_in_the_body() -> None:
    document = read(everef(7, new_field={"a": [1, None]}), "7.json")
    assert json.loads(document.text)["new_field"] == {"a": [1, None]}
    assert checked(document).served == document.text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "JSON|truncated"),
        (b"\x00\x01\xff\xfe" * 50, "JSON"),
        (b"[" * 200_000, "list|array"),
        (b'{"killmail_id": 1, "x": ' + b"[" * 200_000, "deep"),
        (b'{"killmail_id": 1, "x": ' + b"[" * 200_000 + b"]" * 200_000 + b"}", "deep"),
        (b'"text"', "expected"),
        (b"{}", "killmail_id is missing"),
        (dumped(killmail(0)), "no id"),
        (dumped(killmail(-5)), "no id"),
        (dumped(killmail(2**63)), "9223372036854775807"),
        (dumped(killmail(7, solar_system_id=2**63)), "solar_system_id"),
        (dumped(killmail(7, solar_system_id=True)), "solar_system_id"),
        (dumped(killmail(7, killmail_time="yesterday")), "killmail_time"),
        (dumped(killmail(7, killmail_time="0001-01-01T00:00:00+14:00")), "killmail_time"),
        (dumped(killmail(7, killmail_hash="no hash")), "regex|match"),
        (dumped(killmail(7))[:-20], "truncated"),
        (dumped(killmail(7, attackers=[{}] * 20_001)), "attackers"),
        (dumped(killmail(7)).replace(b'"killmail_time": "2026', b'"killmail_time": "\x00026'), "JSON"),
    ],
)
def test_what_is_no_killmail_says_why(text: bytes, reason: str) -> None:
    with pytest.raises(BrokenDocument, match=reason):
        checked(read(text, "7.json"))


def test_of_two_fields_of_one_name_the_last_counts_for_everything() -> None:
    document = read(dumped(killmail(7))[:-1] + b', "killmail_id": 8}', "7.json")
    assert checked(document)["killmail_id"] == document.killmail_id == 8
    assert document.text.count(b"killmail_id") == 2 or json.loads(document.text)["killmail_id"] == 8


def test_an_answer_nested_too_deep_is_no_json() -> None:
    deep = dumped(killmail(7))[:-1] + b', "x": ' + b"[" * 200_000 + b"]" * 200_000 + b"}"
    with pytest.raises(schemas.NotJson, match="deep"):
        schemas.killmail(deep, 7)


@pytest.mark.skipif(not REAL.exists(), reason="the reference data is not here")
def test_real_killmails_are_read() -> None:
    for text, given in zip(entries(REAL.read_bytes()), json.loads(REAL.read_bytes()), strict=True):
        document = read(text, "killmails-real.json")
        assert document.killmail_hash == given["killmail_hash"]
        assert json.loads(document.text) == given["killmail"]
        checked(document)
