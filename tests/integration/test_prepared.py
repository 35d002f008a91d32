"""Statements written down once: lists, values, nothing for a value, moments, on either database."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from peewee import Node, Select

from models import connection, utcnow
from models.db import in_statement
from models.expressions import now
from models.fields import from_any
from models.killmails import PENDING, KillmailRef
from models.prepared import Ids, Prepared


def _put_off(ids: Ids, seconds: Node, reason: Node) -> Any:
    late = KillmailRef.update(due_at=now(seconds), last_error=reason).where(ids.have(KillmailRef.killmail_id))
    return late.returning(KillmailRef.killmail_id, KillmailRef.last_error, KillmailRef.due_at)


PUT_OFF = Prepared(_put_off, values=2)
FIRST = Prepared(
    lambda least, most: KillmailRef.select(KillmailRef.killmail_id)
    .where(KillmailRef.killmail_id >= least)
    .order_by(KillmailRef.killmail_id)
    .limit(most),
    lists=0, values=2,
)  # fmt: skip
DELETE = Prepared(lambda number: KillmailRef.delete().where(KillmailRef.killmail_id == number), lists=0, values=1)


@pytest.fixture(autouse=True)
def three(settings: Any) -> Any:
    with connection():
        for number in (1, 2, 3):
            KillmailRef.insert(killmail_id=number, killmail_hash="a" * 40, state=PENDING).execute()
        yield


def test_the_same_text_serves_other_lists_and_other_values() -> None:
    for ids, seconds, reason in (([1, 2], 90.5, "so"), ([3], -90.5, "'; --"), ([], 1.0, "none")):
        found = PUT_OFF.rows(ids, seconds, reason)
        assert sorted(number for number, _, _ in found) == ids
        for _, error, due_at in found:
            moment = from_any(due_at)
            assert error == reason and moment is not None
            assert abs(moment - utcnow() - timedelta(seconds=seconds)) < timedelta(seconds=5)


def test_no_value_is_none() -> None:
    assert Prepared(lambda seconds: Select([], [now(seconds)]), lists=0, values=1).rows(None) == [(None,)]
    ((_, error, _),) = PUT_OFF.rows([1], 0.0, None)
    assert error is None


def test_a_limit_is_a_value_too() -> None:
    assert FIRST.rows(2, 5) == [(2,), (3,)]
    assert FIRST.first(1, 1) == (1,)
    assert FIRST.first(4, 1) is None
    assert [*FIRST.fetch(3, 1)] == [{"killmail_id": 3}]


def test_it_says_how_many_rows_it_touched_and_it_has_happened() -> None:
    assert [in_statement(lambda: DELETE.run(2)), in_statement(lambda: DELETE.run(2))] == [1, 0]
    assert FIRST.rows(0, 9) == [(1,), (3,)]


def test_a_value_too_few_or_too_many_is_refused() -> None:
    for given in ((1,), (1, 2, 3)):
        with pytest.raises(ValueError, match="zip"):
            FIRST.rows(*given)
