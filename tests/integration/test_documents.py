"""What documents cost before they run: time, memory, and what stays of them; and what counts as a valid one."""

from __future__ import annotations

import gc
import time
import tracemalloc
from typing import Any

import psutil
import pytest
from tartiflette.execution import collect

from graphql_api import bounds, documents
from graphql_api.documents import Documents
from graphql_api.errors import ApiError, BadDocument, Invalid, Refused
from graphql_api.tartiflette.engine import Api
from tests.support.resources import PROJECT

SDL = (PROJECT / "graphql_api" / "schema.graphql").read_text()
QUERY = "{ killmails { edges { node { id victim { character { id name } } attackers { character { id } } %s } } } }"
_VARIABLES = "".join(f"$v{n}: ID " for n in range(200))
_USES = "".join(f"killmail(id: $v{n}) {{ id }} " for n in range(60))

#: Each is as large as the bounds let it be, or larger.
ATTACKS = {
    "variables used through many spreads": f"query ({_VARIABLES}) {{ {'...F ' * 300} }} fragment F on Query {{ {_USES} }}",
    "variables of many operations": "".join(f"query Q{n} {{ ...F }} " for n in range(60)) + f"fragment F on Query {{ {_USES} }}",
    "unknown fields": "{ me { " + " ".join(f"u{n}" for n in range(1_480)) + " } }",
    "nearly known fields": "{ me { " + " ".join(f"characterNam{n}" for n in range(1_480)) + " } }",
    "one field over and over": "{ me { " + "id " * 1_490 + " } }",
    "one selection over and over": "{ killmail(id: 1) { " + "victim { character { id name } } " * 180 + " } }",
    "one field with arguments over and over": "{ " + 'killmail(id: "1") { id } ' * 160 + " }",
    "conflicting arguments": "{ " + " ".join(f'killmail(id: "{n}") {{ id }}' for n in range(160)) + " }",
    "inline fragments": "{ " + "... { me { id } } " * 210 + " }",
    "fragments of fields": "{" + "".join(f"...F{n} " for n in range(62)) + "}"
    + "".join(f"fragment F{n} on Query {{ {'me { id } ' * 4} }}" for n in range(62)),
    "a fragment spread under aliases": "{" + " ".join(f"a{n}: me {{ ...F }}" for n in range(60)) + "} fragment F on User {" + "id " * 150 + "}",
    "fragments that double": "{ ...F0 }" + "".join(f"fragment F{n} on Query {{ ...F{n + 1} ...F{n + 1} }}" for n in range(30))
    + "fragment F30 on Query { me { id } }",
    "a long list where an object belongs": "{ killmails(filter: [" + "1 " * 1_480 + "]) { edges { cursor } } }",
    "unknown input fields": "{ killmails(filter: {" + " ".join(f'characterI{n}: "1"' for n in range(600)) + "}) { edges { cursor } } }",
    "introspection": "{ __schema { types { fields { type { " + "name " * 1_470 + "} } } } }",
    "comments": "{ me { id } }" + "#\n" * 16_000,
    "newlines in text": '{ killmail(id: """' + "\n" * 32_000 + '""") { id } }',
    "escapes": '{ killmail(id: "' + "\\u0041" * 5_300 + '") { id } }',
    "a long name": "{ " + "z" * 32_000 + " }",
    "nested lists": "{ killmails(filter: " + "[" * 900 + "]" * 900 + ") { edges { cursor } } }",
    "nested types": "query ($a: " + "[" * 900 + "Int" + "]" * 900 + ") { me { id } }",
}  # fmt: skip


def _documents() -> Documents:
    return Documents(SDL, lambda *_: True)


def _read(known: Documents, text: str) -> Exception | None:
    try:
        known.read(text)
    except (ApiError, Invalid) as error:
        return error
    return None


@pytest.mark.slow
@pytest.mark.parametrize("attack", ATTACKS)
def test_no_document_takes_a_tenth_of_a_second_or_leaves_anything(attack: str) -> None:
    known = _documents()
    taken = []
    for _ in range(5):
        began = time.process_time()
        _read(known, ATTACKS[attack])
        taken.append(time.process_time() - began)
    assert min(taken) < 0.1, taken
    tracemalloc.start()
    try:
        _read(known, ATTACKS[attack])
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        for number in range(3):
            _read(known, ATTACKS[attack] + " " * number)
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] - before < 3 * 100_000
    finally:
        tracemalloc.stop()


def test_what_fails_and_what_is_large_is_not_remembered() -> None:
    known = _documents()
    for text in ATTACKS.values():
        if _read(known, text) is not None:
            assert known.recall(text) is None
    assert known.remembered_bytes <= documents.MOST_REMEMBERED
    assert _read(known, ATTACKS["one field over and over"]) is None
    assert known.recall(ATTACKS["one field over and over"]) is None
    assert _read(known, QUERY % "solo") is None
    assert known.recall(QUERY % "solo") is not None


def test_a_thousand_distinct_queries_leave_a_process_as_large_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "MOST_REMEMBERED", 500_000)
    known, process = _documents(), psutil.Process()
    for number in range(200):
        known.read(QUERY % f"a{number}: npc")
    gc.collect()
    before = process.memory_info().rss
    for number in range(1_000):
        known.read(QUERY % f"b{number}: npc")
    assert process.memory_info().rss - before < 6_000_000
    assert known.remembered_bytes <= 500_000
    assert known.recall(QUERY % "b999: npc") is not None
    assert known.recall(QUERY % "b0: npc") is None


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{ me { id: status id } }", "GRAPHQL_VALIDATION_FAILED"),
        ("{ a: killmail(id: 1) { id } a: killmail(id: 2) { id } }", "GRAPHQL_VALIDATION_FAILED"),
        ("{ a: killmail(id: 1) { id } ...F } fragment F on Query { a: killmail(id: 1) { id: npc } }", "GRAPHQL_VALIDATION_FAILED"),
        ("{ a: killmail(id: 1) { id } ...F } fragment F on Query { a: killmail( id : 1 ) { npc id } }", None),
        ("{ me { ... on Killmail { id } } }", "GRAPHQL_VALIDATION_FAILED"),
        ("{ killmail(id: [1]) { id } }", "GRAPHQL_VALIDATION_FAILED"),
        ("{ killmail(id: {a: 1}) { id } }", "GRAPHQL_VALIDATION_FAILED"),
        ('{ killmails(filter: {startDate: "0001-01-01T00:00:00+23:59"}) { edges { cursor } } }', "GRAPHQL_VALIDATION_FAILED"),
        ('{ __type(name: "Query") { specifiedByURL } }', "GRAPHQL_VALIDATION_FAILED"),
        ("{ __schema { types { fields { args(includeDeprecated: true) { name } } } } }", "GRAPHQL_VALIDATION_FAILED"),
        ("type A { a: Int }", "GRAPHQL_PARSE_FAILED"),
        ("{ me { } }", "GRAPHQL_PARSE_FAILED"),
        ("{ me { id } } " + "#\n" * 1_001, "QUERY_TOO_LARGE"),
        ("{" + "me {" * 41 + "id" + "}" * 42, "QUERY_TOO_LARGE"),
        ("{ " + "me { id } " * 600 + "}", "QUERY_TOO_LARGE"),
    ],
)  # fmt: skip
async def test_a_document_is_valid_as_the_specification_says(text: str, code: str | None) -> None:
    api = await Api.make()
    try:
        await api.operation(text, None, {})
        found = None
    except (ApiError, Invalid) as error:
        errors = (await api.failure(error))["errors"]
        found = errors[0]["extensions"]["code"]
        assert len(errors) <= documents.MOST_ERRORS
    assert found == code


async def test_the_engines_own_parser_is_never_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any) -> Any:
        raise AssertionError("libgraphqlparser was called")

    api = await Api.make()
    monkeypatch.setattr(collect, "parse_to_document", never)
    query = "query Q($x: Boolean! = true) { __typename ...F @include(if: $x) } fragment F on Query { b: __typename }"
    answer = await api.execute(await api.operation(query, "Q", None), None, None)
    assert answer == {"data": {"__typename": "Query", "b": "Query"}}


def test_bounds_are_told_with_what_was_found() -> None:
    with pytest.raises(Refused) as refused:
        _documents().read("{ " + "... { me { id } } " * 600 + " }")
    assert refused.value.extensions["limit"] == bounds.MOST_TOKENS
    with pytest.raises(BadDocument, match="line 1, column 8"):
        _documents().read("{ me { ")
