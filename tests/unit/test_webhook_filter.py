"""Conditions of webhooks, cursors and answers of receivers with extreme values: refused, or evaluated without an error."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from killsync.killmails.cursors import BadCursor, read_cursor
from killsync.killmails.killmail import Attacker, Entity, ItemType, Killmail, SolarSystem, Victim
from killsync.webhooks.filter import BadFilter, WebhookFilter
from killsync.webhooks.policy import Failures, consequence_of
from killsync.webhooks.sender import MOST_PAUSE, Answer, Verdict, judge

WHO: dict[str, Any] = {"character": Entity(1, "a"), "corporation": Entity(2, "b"), "ship_type": ItemType(4, "c")}
NUMBERS = st.one_of(
    st.sampled_from([0, -1, 10**18, 2**31, 2**63 - 1, 2**63, 10**400, 1e308, float("inf"), float("nan"), True, None]),
    st.integers(),
    st.floats(),
)
ANYTHING = st.recursive(
    st.one_of(NUMBERS, st.text(max_size=5)), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.text(max_size=3), inner, max_size=3
    ), max_leaves=5,
)  # fmt: skip
FIELDS = tuple(WebhookFilter.__dataclass_fields__)


def killmail(moment: datetime) -> Killmail:
    blow = Attacker(**WHO, damage_done=5, final_blow=True)
    return Killmail(
        killmail_id=77, killmail_hash="ab" * 20, killmail_time=moment, solar_system=SolarSystem(5, "s"),
        victim=Victim(**WHO, damage_taken=5), final_blow=blow, attackers=[blow], attacker_count=1, solo=True,
        created_at=moment,
    )  # fmt: skip


def evaluated(text: str) -> bool:
    """Whether the conditions are taken; then they can be asked for every moment that a database gives."""
    try:
        chosen = WebhookFilter.load(text)
    except BadFilter:
        return False
    for moment in (datetime(2003, 5, 6, tzinfo=UTC), datetime(2040, 1, 1, tzinfo=UTC)):
        chosen.matches(killmail(moment), (1,), moment + timedelta(hours=1))
        chosen.is_loss(killmail(moment), (1,))
    assert WebhookFilter.load(chosen.dump()) == chosen
    return True


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(FIELDS), ANYTHING))
def test_stored_conditions_are_refused_or_can_be_evaluated(stored: dict[str, Any]) -> None:
    evaluated(json.dumps(stored))


@settings(deadline=None)
@given(st.one_of(st.text(), ANYTHING.map(json.dumps)))
def test_stored_text_that_is_no_filter_is_refused(text: str) -> None:
    evaluated(text)


@pytest.mark.parametrize("age", [10**18, -1, 10**400, 1e400, True, None, "3600", [60]])
def test_an_age_that_no_date_can_have_is_not_stored(age: Any) -> None:
    with pytest.raises(BadFilter):
        WebhookFilter(max_age=age).dump()
    assert not evaluated(json.dumps({"max_age": age}))


def test_what_the_form_gives_is_taken() -> None:
    assert evaluated(WebhookFilter(corporation_id=98_000_001, ship_type_ids=(587,), min_attackers=10_000).dump())


@settings(deadline=None)
@given(st.text(max_size=60), st.integers())
def test_a_cursor_is_refused_or_a_moment_in_utc(moment: str, number: int) -> None:
    for text in (moment, f"{moment}|{number}"):
        try:
            place = read_cursor(base64.urlsafe_b64encode(text.encode()).decode())
        except BadCursor:
            continue
        assert place.killmail_time.tzinfo is UTC and 0 <= place.killmail_id < 2**63


@pytest.mark.parametrize(
    "moment", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59.999999-23:59", "0001-01-01T00:00:00+00:00:01"]
)
def test_a_cursor_at_the_end_of_the_calendar_is_refused(moment: str) -> None:
    with pytest.raises(BadCursor):
        read_cursor(base64.urlsafe_b64encode(f"{moment}|1".encode()).decode())


@settings(deadline=None)
@given(st.integers(100, 999), ANYTHING, st.text(max_size=10), st.binary(max_size=50))
def test_whatever_a_receiver_answers_means_something(status: int, wanted: Any, header: str, body: bytes) -> None:
    for text in (body, json.dumps({"retry_after": wanted, "global": wanted}).encode()):
        verdict = judge(Answer(status, {"retry-after": header, "x-ratelimit-reset-after": header}, text))
        assert verdict.pause is None or 0 <= verdict.pause <= MOST_PAUSE


@pytest.mark.parametrize("body", [b"[" * 8_000, b'{"retry_after": 1' + b"0" * 400 + b"}", b'{"retry_after": 1e999}'])
def test_an_answer_made_to_hurt_is_read_like_another(body: bytes) -> None:
    verdict = judge(Answer(429, {}, body))
    assert verdict.kind == "later" and verdict.pause is not None and verdict.pause <= MOST_PAUSE


@settings(deadline=None)
@given(
    st.sampled_from(["failed", "refused", "lost"]),
    st.integers(1, 10**9),
    st.timedeltas(min_value=timedelta(0)),
    st.integers(1, 10**9),
)
def test_however_often_a_receiver_failed_the_pause_is_a_number(
    kind: Any, in_a_row: int, lasting: timedelta, attempts: int
) -> None:
    found = consequence_of(Verdict(kind, "why"), Failures(in_a_row, lasting, attempts))
    assert 0 <= found.pause <= 60 * 125
