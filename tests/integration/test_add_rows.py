"""Rows are added as they are, be they few or many: by INSERT, by COPY or by a statement for each."""

from __future__ import annotations

from typing import Any

import pytest

from models import connection
from models.db import transaction
from models.killmails import KillmailBody, KillmailItem, KillmailItemRow
from models.sql import FEW_ROWS, add_rows, insert_rows, rows

TEXTS = ("a\tb", "a\nb\r\n", "\\N", "\\", "None", "", "'; --", "%s", "é漢\u200b🚀")
COUNTS = pytest.mark.parametrize("count", [0, 1, FEW_ROWS, FEW_ROWS + 1, 50])


def enter_killmails(count: int) -> None:
    columns = ("killmail_id", "killmail_hash", "killmail_time", "solar_system_id", "attacker_count")
    for number in range(count):
        moment = "2026-08-18 11:00:00.000000+00:00"
        insert_rows("killmail", columns, [(number, "a", moment, 30_000_142, 1)])


@COUNTS
def test_texts_are_added_as_they_are(settings: Any, count: int) -> None:
    added = [(number, f"{TEXTS[number % len(TEXTS)]}{number}") for number in range(count)]
    added += [(count + number, text) for number, text in enumerate(TEXTS)] if count else []
    with connection(), transaction():
        enter_killmails(len(added))
        add_rows("killmail_body", ("killmail_id", "body"), added)
    with connection():
        assert sorted(KillmailBody.select(KillmailBody.killmail_id, KillmailBody.body).tuples()) == added


@COUNTS
def test_numbers_are_added_as_they_are_and_nothing_as_nothing(settings: Any, count: int) -> None:
    added = [
        KillmailItemRow(number, None if number % 2 else 2**62, -number, 5, None, 2**63 - 1, 0)
        for number in range(count)
    ]
    with connection(), transaction():
        enter_killmails(count)
        add_rows("killmail_item", KillmailItemRow._fields, added, without_texts=True)
    with connection():
        columns = [getattr(KillmailItem, name) for name in KillmailItemRow._fields]
        assert list(KillmailItem.select(*columns).order_by(KillmailItem.id).tuples()) == [tuple(row) for row in added]
        assert rows("SELECT count(*) FROM killmail_item") == [(count,)]
