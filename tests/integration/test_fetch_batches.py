"""A message of many killmails: one that fails harms no other, what has no token leaves no request, each is counted."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from killsync import settings as settings_module
from killsync.esi import errors, routes, schemas
from killsync.esi.client import EsiClient, shared
from killsync.killmails import ledger, ledger_figures, urgency
from killsync.killmails.store import Saved, save_killmails
from killsync.sync import run_queries, runs
from models import connection
from models.expressions import either
from models.fields import utcnow
from models.killmails import KillmailRef
from models.sql import rows
from models.users import User
from simulator import Handle
from simulator.faults import Fault

Against = Callable[..., Any]


@pytest.fixture
def listed(against: Against, simulated: Callable[..., Handle]) -> tuple[Handle, int, list[tuple[int, str]]]:
    """A simulator, a run, and 20 of its killmails in the ledger as history that the run found."""
    handle = simulated(kills=(30,))
    against(handle)
    refs = [(kill.killmail_id, kill.killmail_hash) for kill in list(handle.simulator.universe.kills.values())[:20]]
    with connection():
        user_id = User.create(character_id=9001, character_name="Pilot").id
        run_id = runs.open_run(user_id)
        ledger.record_page(user_id, run_id, refs, ledger.BACKLOG)
        assert len(ledger.claim(100, backlog=True)) == 20
    return handle, run_id, refs


def fetch(refs: list[tuple[int, str]]) -> None:
    from actors.killmail_details import fetch_killmails

    with connection():
        fetch_killmails.fn([number for number, _ in refs])


def states() -> dict[str, int]:
    with connection():
        return ledger_figures.counts()


def answered(handle: Handle) -> dict[tuple[str, int], int]:
    return handle.call(lambda simulator: dict(simulator.esi.answers))


def test_a_message_of_many_killmails_saves_each_and_counts_each_in_its_run(listed: Any) -> None:
    handle, run_id, refs = listed
    fetch(refs)
    fetch(refs)
    assert states() == {"fetched": 20}
    assert answered(handle) == {("killmail", 200): 20}, "a message that comes again asks for nothing"
    with connection():
        runs.mark_pages_read(run_id)
        runs.recount([run_id])
        row = run_queries.run_row(run_id) or {}
        told = rows("SELECT killmail_id FROM killmail_log ORDER BY sequence")
    assert (row["saved"], row["errors"], row["esi_requests"], row["esi_tokens"]) == (20, 0, 20, 40)
    assert row["finished_at"] is not None
    assert sorted(number for (number,) in told) == sorted(number for number, _ in refs), "each is told of once"


def test_the_message_of_one_killmail_of_earlier_versions_is_still_understood(listed: Any) -> None:
    from actors.killmail_details import fetch_killmail

    with connection():
        fetch_killmail.fn(listed[2][0][0], more=False, something_newer=1)
    assert states() == {"fetched": 1, "pending": 19}


def test_a_killmail_that_cannot_be_stored_harms_no_other(listed: Any) -> None:
    handle, _, refs = listed
    given: list[tuple[dict[str, Any], str]] = [
        (handle.simulator.universe.body(number), digest) for number, digest in refs
    ]
    broken, unreadable = given[3][0], given[7][0]
    broken["attackers"][0]["damage_done"] = 2**70
    del unreadable["victim"]["ship_type_id"]
    with connection():
        outcomes = save_killmails(given)
        assert [position for position, outcome in enumerate(outcomes) if isinstance(outcome, Exception)] == [3, 7]
        assert all(isinstance(outcome, Saved) and outcome.is_new for position, outcome in enumerate(outcomes)
                   if position not in (3, 7))  # fmt: skip
        for table in ("killmail", "victim", "killmail_log"):
            assert rows(f"SELECT count(*) FROM {table}") == [(18,)], table
    assert states() == {"fetched": 18, "pending": 2}


def test_faults_of_some_answers_put_those_back_and_no_other(listed: Any) -> None:
    handle, run_id, refs = listed
    away, wrong = refs[2][0], refs[5][0]
    handle.call(lambda simulator: simulator.faults.append(Fault(f"/killmails/{away}/*", "html", 502)))
    handle.call(lambda simulator: simulator.faults.append(Fault(f"/killmails/{wrong}/*", "wrong types")))
    fetch(refs)
    assert states() == {"fetched": 18, "pending": 2}
    with connection():
        found = {row[0]: row[1:] for row in rows(
            "SELECT killmail_id, attempts, last_error, sent_at FROM killmail_ref WHERE state = 'pending'")}  # fmt: skip
        assert found[away] == (0, None, None), "ESI's downtime is nobody's fault"
        assert found[wrong][0] == 1 and "killmails" in found[wrong][1] and found[wrong][2] is None
        assert (run_queries.run_row(run_id) or {})["esi_requests"] == 20


def test_what_the_budget_has_no_token_for_goes_back_without_a_request(listed: Any) -> None:
    handle, _, refs = listed
    client = shared(settings_module.current())
    bucket = client._calls.bucket(routes.KILLMAIL, client._egress)
    with connection():
        room = client.room().backlog
        spent = client.rate_limit.take_some(bucket, 2, 1783, backlog=False).reservations
        assert len(spent) == 1783 and room == 1710
        client.rate_limit.take_some(bucket, 2, 5, backlog=False)
    fetch(refs)
    assert states() == {"pending": 20}
    assert answered(handle) == {}
    with connection():
        waiting = rows(
            "SELECT count(*) FROM killmail_ref WHERE sent_at IS NULL AND attempts = 0 AND last_error IS NULL"
        )
        assert waiting == [(20,)]
        fresh = list(client.killmails(refs, backlog=False))
    kinds = [isinstance(detail.outcome, errors.NoToken) for part in fresh for detail in part]
    assert kinds.count(False) == 10 and kinds.count(True) == 10, "ten tokens' worth of calls leave, the rest does not"
    assert answered(handle) == {("killmail", 200): 10}


def test_after_a_429_nothing_of_the_rest_leaves(listed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from simulator import buckets

    handle, _, refs = listed
    monkeypatch.setitem(buckets.LIMITS, "killmail", 12)
    client = shared(settings_module.current())
    (details,) = list(client.killmails(refs[:10], backlog=False))
    kinds = [type(detail.outcome) for detail in details]
    assert kinds.count(errors.RateLimited) == 4 and kinds.count(schemas.ServedKillmail) == 6
    other = EsiClient(client._settings)  # another process knows no more than the database
    for each in (client, other):
        (details,) = list(each.killmails(refs[10:], backlog=False))
        assert all(isinstance(detail.outcome, errors.NoToken) for detail in details)
    assert answered(handle) == {("killmail", 200): 6, ("killmail", 429): 4}


def test_a_slow_answer_keeps_the_others_waiting_for_a_moment_only(listed: Any) -> None:
    handle, _, refs = listed
    slow = refs[4][0]
    handle.call(lambda simulator: simulator.faults.append(Fault(f"/killmails/{slow}/*", "latency", seconds=3.0)))
    began, asked = time.monotonic(), shared(settings_module.current()).killmails(refs, backlog=True)
    parts = [({detail.killmail_id for detail in part}, time.monotonic() - began) for part in asked]
    # A busy machine answers the others in several parts.
    *others, (last, when) = parts
    assert last == {slow} and set().union(*(ids for ids, _ in others)) == {number for number, _ in refs} - last
    assert others[-1][1] < 2.5 < when


def test_history_travels_in_bulk_and_what_is_fresh_in_small_messages_before_it(listed: Any) -> None:
    import dramatiq

    from killsync.broker.queues import KILLMAIL_DETAILS
    from killsync.killmails import dispatch

    with connection():
        ledger.release(ledger.pending([number for number, _ in listed[2]]), -1.0)
        ledger.record_page(1, None, [(number, "a" * 40) for number in range(1000, 1080)], ledger.BACKLOG)
        ledger.record_page(1, None, [(number, "a" * 40) for number in range(2000, 2007)], ledger.FRESH)
        broker = dramatiq.get_broker()
        queue = broker.queues[KILLMAIL_DETAILS]  # type: ignore[attr-defined]
        broker.flush(KILLMAIL_DETAILS)
        assert dispatch.dispatch() == 107
        messages = [dramatiq.Message.decode(queue.get_nowait()) for _ in range(queue.qsize())]
        broker.flush_all()
    batches = [message.args[0] for message in messages]
    assert [len(batch) for batch in batches] == either(postgres=[5, 2, 40, 40, 20], sqlite=[5, 2, 100])
    assert set(batches[0] + batches[1]) == set(range(2000, 2007))
    assert [message.kwargs["more"] for message in messages].count(True) == 1
    assert [message.options.get("broker_priority", 0) for message in messages] == [1, 1] + [0] * len(batches[2:])
    assert all(set(message.kwargs) == {"more"} for message in messages), "a message carries ids and nothing else"


def test_a_killmail_that_esi_cannot_give_keeps_no_sync_waiting_for_minutes(listed: Any) -> None:
    """ESI answers 500 for it for ever; everything else is well."""
    handle, run_id, refs = listed
    bad, *others = refs
    handle.call(lambda sim: sim.faults.append(Fault(f"/killmails/{bad[0]}/*", "status", 500)))
    asked, waited = 0, 0.0
    with connection():
        runs.mark_pages_read(run_id)
    while not waited or not rows_of(bad)[1]:
        # Each time it is due, other killmails have been had since.
        fetch([others.pop()])
        fetch([bad])
        asked += 1
        waited += (rows_of(bad)[0]).total_seconds()
        assert waited < 90, "after half a minute it counts as failed"
    fetch(others)
    with connection():
        runs.recount([run_id])
        row = run_queries.run_row(run_id)
    assert row is not None and row["finished_at"] is not None and (row["saved"], row["errors"]) == (19, 1)
    assert asked == 5 and states() == {"fetched": 19, "pending": 1}, "and it is asked for again"


def test_a_killmail_that_answers_500_for_ever_backs_off_to_hours_though_nothing_else_is_asked(listed: Any) -> None:
    """Nobody else's killmails, no polls: nothing but this one tells how ESI is."""
    handle, run_id, (bad, *others) = listed
    handle.call(lambda sim: sim.faults.append(Fault(f"/killmails/{bad[0]}/*", "status", 500)))
    with connection():
        runs.mark_pages_read(run_id)
        KillmailRef.delete().where(KillmailRef.killmail_id != bad[0]).execute()
    waits: list[float] = []
    failed_after = 0.0
    for _ in range(16):
        fetch([bad])
        due_in, error = rows_of(bad)
        waits.append(due_in.total_seconds())
        failed_after = failed_after or (sum(waits) if error else 0.0)
    assert sum(wait < 15 for wait in waits) <= 5, f"it is left alone for longer each time: {waits}"
    assert waits[-1] > 3600, f"up to hours: {waits}"
    assert 0 < failed_after < 90, "no sync waits for it"
    with connection():
        runs.recount([run_id])
        assert (run_queries.run_row(run_id) or {})["finished_at"] is not None
        entered = ledger.record_page(1, run_id, others, ledger.FRESH)
        assert entered.new_to_ledger == 19
    fetch(others)
    assert states() == {"fetched": 19, "pending": 1}, "and it keeps nothing else waiting"


def test_an_outage_with_little_to_ask_for_counts_against_no_killmail_and_is_over_soon_after(listed: Any) -> None:
    """Fewer killmails than it takes to call ESI down as a whole: each fails, and nothing is answered in between."""
    handle, _run_id, refs = listed
    few = refs[:3]
    handle.call(lambda sim: sim.faults.append(Fault("/killmails/*", "status", 502)))
    waited = 0.0
    while waited < 600:
        fetch(few)
        waits = [rows_of(ref)[0].total_seconds() for ref in few]
        assert max(waits) <= 45.0 + waited / 5, "the wait is short beside the outage"
        waited += min(waits)
        assert [rows_of(ref)[1] for ref in few] == [None] * 3, "waiting is not failing"
    assert max(waits) < 120
    handle.call(lambda sim: sim.faults.clear())
    fetch(few)
    assert states() == {"fetched": 3, "pending": 17}


def rows_of(ref: tuple[int, str]) -> tuple[Any, str | None]:
    """In how long the killmail is due, and its last error."""
    with connection():
        found = KillmailRef.get_by_id(ref[0])
    return found.due_at - utcnow(), found.last_error


def test_history_is_not_asked_for_while_anything_fresh_is_under_way(
    listed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle, _, refs = listed
    monkeypatch.setattr(urgency, "GIVE_WAY_SECONDS", 60.0)
    thread = threading.Thread(target=fetch, args=(refs,))
    with urgency.shared().fresh():
        thread.start()
        time.sleep(0.3)
        assert not answered(handle)
    thread.join(30)
    assert states()["fetched"] == 20
