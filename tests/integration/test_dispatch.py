"""Handing killmails from the ledger to the workers, when the one who hands them over dies on the way."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from killsync.killmails import ledger
from models import connection
from models.sql import rows, run, sql_now


def test_killmails_claimed_by_a_worker_that_died_before_it_sent_them_are_due_again_soon(
    against: Any, simulated: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from killsync.killmails import dispatch

    against(simulated(kills=(5,)))

    class Died(BaseException):
        pass

    def die(_actor: str, killmail_ids: list[int], **_more: Any) -> None:
        sent.extend(killmail_ids)
        if len(sent) > dispatch.FRESH_BATCH:
            raise Died

    sent: list[int] = []
    everything = list(range(1, 13))
    monkeypatch.setattr(dispatch, "send", die)
    with connection():
        for number in everything:
            ledger.add_submitted(number, "a" * 40)
        run(f"UPDATE killmail_ref SET due_at = {sql_now()}")
        with pytest.raises(Died):
            dispatch.dispatch()
        assert rows(f"SELECT count(*) FROM killmail_ref WHERE due_at > {sql_now(ledger.SENDING_SECONDS)}") == [(0,)]
        run(f"UPDATE killmail_ref SET due_at = {sql_now()}")
        sent.clear()
        monkeypatch.setattr(dispatch, "send", lambda _actor, killmail_ids, **_more: sent.extend(killmail_ids))
        dispatch.dispatch()
        assert sorted(sent) == everything
        safe = sql_now(ledger.CLAIM_SECONDS - 20)
        assert rows(f"SELECT count(*) FROM killmail_ref WHERE due_at > {safe}") == [(12,)], "they are with the workers"


def test_handing_over_leaves_alone_what_a_worker_has_answered_meanwhile(settings: Any) -> None:
    with connection():
        for number in (1, 2):
            ledger.add_submitted(number, "a" * 40)
        run(f"UPDATE killmail_ref SET due_at = {sql_now()}")
        claimed = ledger.claim(10, backlog=False)
        ledger.release(ledger.pending([1]), 5.0)
        ledger.mark_sent(claimed)
        due = rows(f"SELECT killmail_id FROM killmail_ref WHERE due_at <= {sql_now(10)}")
        assert due == [(1,)]


def test_what_becomes_due_while_another_thread_dispatches_is_sent_by_that_thread(
    against: Any, simulated: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from killsync.killmails import dispatch

    against(simulated(kills=(5,)))
    sent: list[int] = []
    monkeypatch.setattr(dispatch, "send", lambda _actor, killmail_ids, **_more: sent.extend(killmail_ids))
    has_due = ledger.has_due

    def looks_then_another_records() -> bool:
        answer = has_due()
        if 2 not in sent:
            ledger.add_submitted(2, "a" * 40)
            run(f"UPDATE killmail_ref SET due_at = {sql_now()} WHERE killmail_id = 2")
            with ThreadPoolExecutor(1) as other:
                assert other.submit(in_a_connection, dispatch.dispatch).result() == 0
        return answer

    monkeypatch.setattr(ledger, "has_due", looks_then_another_records)
    with connection():
        ledger.add_submitted(1, "a" * 40)
        run(f"UPDATE killmail_ref SET due_at = {sql_now()}")
        assert dispatch.dispatch() == 2
    assert sent == [1, 2]


def in_a_connection(work: Callable[[], int]) -> int:
    with connection():
        return work()
