"""Values that nobody expects: a filter is refused with a reason, or it can be asked of the database, of memory and of words."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from killsync.killmails import queries, selection
from killsync.killmails.filter import KillmailFilter, Own
from killsync.killmails.filter_forms import CLAUSES, OWN, BadFilter, from_address, from_graphql, from_json, to_json
from killsync.killmails.filter_words import sentence
from killsync.killmails.killmail import Killmail
from killsync.killmails.selection import page_ids
from killsync.web import filter_address
from killsync.web.filter_address import BadAddress
from killsync.webhooks.index import TrackerIndex
from killsync.webhooks.subscribers import Subscriber
from models import connection, utcnow
from tests.support import static_data
from tests.support.web_server import fill, new_universe

OURS = Own((1,), (2,), (3,))
#: Numbers at the edges of what types hold, and what looks like a number.
EDGES = [0, 1, -1, 2**31 - 1, 2**31, 2**32, 2**53 + 1, 2**63 - 1, 2**63, -(2**63) - 1, 10**18, 10**18 + 1, 10**40]
NUMBERS = st.sampled_from(EDGES) | st.integers() | st.floats() | st.decimals()
TEXTS = (
    st.text(max_size=30)
    | NUMBERS.map(str)
    | st.sampled_from(["1e400", "-0", "0x10", "1_000", "٣", "Infinity", "nan", "+1", "1 ", "\x00", "0001-01-01", "9999-12-31T23:59:59+23:59",
                       "0001-01-01T00:00:00+23:59", "2026-02-30", "5b", "1,5", ",", "kills", "HIGH", "high", "#:1+", "cat:6", "cat:x"])
)  # fmt: skip
VALUES = st.none() | st.booleans() | NUMBERS.filter(lambda each: not isinstance(each, Decimal)) | TEXTS
WORDS = [clause.word for clause in CLAUSES] + [word for _, _, word, _ in OWN]
NAMES = [clause.graphql for clause in CLAUSES] + [word for _, word, *_ in OWN]
LISTS = st.lists(VALUES, max_size=5) | st.just(["1"] * 10_000)
SPEC = examples(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def stored(settings: Any) -> list[Killmail]:
    static_data.load()
    newest = fill(new_universe(kills=(10,)))
    with connection():
        return queries.killmails(newest[:10])


def usable(chosen: KillmailFilter, killmails: list[Killmail]) -> None:
    """It can be asked everywhere, and everywhere means the same."""
    with connection():
        found = set(page_ids(chosen, 50, None))
        selection.totals(chosen)
    wanted = {each.killmail_id for each in killmails if chosen.matches(each)}
    assert wanted == found & {each.killmail_id for each in killmails}
    assert sentence(chosen, {}).endswith(".")
    assert from_json(to_json(chosen), OURS, located=False) is not None
    index = TrackerIndex([Subscriber(1, 1, chosen, utcnow() - timedelta(days=1))])
    assert {each.killmail_id for each in killmails if index.candidates(each)} >= wanted


def refused_or_usable(read: Callable[[], KillmailFilter], killmails: list[Killmail]) -> None:
    try:
        with connection():
            chosen = read()
    except BadFilter as refused:
        assert str(refused)
    else:
        usable(chosen, killmails)


def test_an_address_is_refused_with_a_reason_or_usable(stored: list[Killmail]) -> None:
    @SPEC
    @given(st.dictionaries(st.sampled_from(WORDS), TEXTS, min_size=1, max_size=4))
    def play(query: dict[str, str]) -> None:
        refused_or_usable(lambda: from_address(query, OURS), stored)
        try:
            filter_address.read(query)
        except BadAddress as refused:
            assert str(refused)

    play()


def test_stored_json_is_refused_with_a_reason_or_usable(stored: list[Killmail]) -> None:
    @SPEC
    @given(st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=9), VALUES | LISTS, max_size=4))
    def play(wants: dict[str, Any]) -> None:
        refused_or_usable(lambda: from_json(json.dumps(wants), OURS), stored)

    play()


def test_graphql_is_refused_with_a_reason_or_usable(stored: list[Killmail]) -> None:
    moments = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31), timezones=st.timezones())

    @SPEC
    @given(st.dictionaries(st.sampled_from(NAMES), VALUES | LISTS | moments, max_size=4))
    def play(wants: dict[str, Any]) -> None:
        refused_or_usable(lambda: from_graphql(wants, OURS), stored)

    play()
