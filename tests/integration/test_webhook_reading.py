"""Reading the log for webhooks: once each, beside other readers and writers, and with conditions that break."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import psycopg2
import pytest

from killsync import process
from killsync.events import store as killmail_log
from killsync.killmails.filter import KillmailFilter, Own
from killsync.killmails.filter_forms import from_json, to_json
from killsync.scheduling.sweep import sweep
from killsync.webhooks import delivery, matching, queries, reader, subscribers, trackers
from killsync.webhooks.fields import FIELDS
from killsync.webhooks.form import Form, read_filter, read_voice
from models import connection
from models.sql import rows, run, sql_now
from tests.support.deployment import wait_until
from tests.support.webhook_account import ANY, PLAIN, Told


def _connected(step: Any) -> None:
    with connection():
        step()


# Reading the log.


@pytest.fixture
def slow_writer(told: Told) -> Iterator[Any]:
    """A transaction that has written something and stays open: PostgreSQL only."""
    if not told.settings.uses_postgres:
        pytest.skip("SQLite has one writer at a time")
    slow = psycopg2.connect(told.settings.database_url)
    slow.cursor().execute("INSERT INTO account (created_at) VALUES (clock_timestamp())")
    yield slow
    slow.close()


def test_a_long_transaction_elsewhere_holds_nothing_up(told: Told, slow_writer: Any) -> None:
    told.webhook()
    for number in told.kills[:3]:
        told.save(number)
        told.work()
    assert told.told_ids() == told.kills[:3]
    with connection():
        assert rows("SELECT sequence FROM log_reader") == [(3,)], "it goes by numbers, whoever else is writing"


def test_who_stores_at_the_same_time_waits_with_the_next_number_for_the_commit(told: Told) -> None:
    if not told.settings.uses_postgres:
        pytest.skip("SQLite has one writer at a time")
    told.webhook()
    told.save(told.kills[0])
    slow = psycopg2.connect(told.settings.database_url)
    slow.cursor().execute("UPDATE killmail_counter SET last = last + 1")
    slow.cursor().execute("INSERT INTO killmail_log VALUES (2, %s, clock_timestamp())", (told.kills[0],))
    waiting = threading.Thread(target=told.save, args=(told.kills[1],))
    waiting.start()
    time.sleep(0.5)
    assert waiting.is_alive(), "number 3 cannot be read while 2 is still to come"
    slow.rollback()
    waiting.join(10)
    slow.close()
    told.work()
    assert told.told_ids() == told.kills[:2]
    with connection():
        assert rows("SELECT sequence, killmail_id FROM killmail_log ORDER BY 1") == [
            (1, told.kills[0]),
            (2, told.kills[1]),
        ]


def test_who_finds_another_reading_leaves_and_comes_again(
    told: Told, slow_writer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Any] = []
    told.webhook()
    told.save(told.kills[0])
    slow_writer.cursor().execute("SELECT * FROM log_reader FOR UPDATE")
    monkeypatch.setattr(matching, "send", lambda actor: sent.append((actor, time.monotonic())))
    began = time.monotonic()
    with connection():
        for _ in range(30):
            matching.announce()
    assert time.monotonic() - began < 5, "nobody stands and waits"
    wait_until(lambda: sent, "the next look is sent", 10)
    assert sent[0][0] == "announce" and len(sent) < 20
    assert sent[0][1] - began >= matching.COLLECT_MS / 1000, "not at once"
    slow_writer.rollback()
    told.work()
    assert told.told_ids() == told.kills[:1]


def begin_at(seconds: float, which: str = "> 0") -> None:
    """Let webhooks and their trackers count from so many seconds from now."""
    run(f"UPDATE webhook SET since = {sql_now(seconds)} WHERE id {which}")
    run(f"UPDATE tracker SET since = {sql_now(seconds)}, version = version + 1 WHERE webhook_id {which}")


def test_a_webhook_that_is_added_beside_others_is_told_of_all_since(told: Told, slow_writer: Any) -> None:
    told.webhook()
    told.save(*told.kills[:2])
    told.work()
    with connection():
        begin_at(-60)
    second = told.webhook()
    with connection():
        # It was entered before the events, and seen by the reader after it had read them.
        begin_at(-30, f"= {second}")
        reader.begin_reading()
    told.work()
    assert told.state(second).delivered == 2
    assert len(told.told_ids()) == 4


@pytest.mark.parametrize("how", ["delete", "account"])
def test_a_webhook_that_is_deleted_while_events_are_read_stops_nobody(
    told: Told, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    from killsync.accounts.accounts import delete_account

    if not told.settings.uses_postgres:
        pytest.skip("SQLite has one writer at a time")
    first = told.webhook()
    keeper = told.another_account()
    second = keeper.webhook()
    told.save(told.kills[0])
    choose = matching.choose

    def deleting(stored: Any, subscribers: Any) -> Any:
        choice = choose(stored, subscribers)
        step = (
            (lambda: queries.delete(told.account, first)) if how == "delete" else lambda: delete_account(told.account)
        )
        thread = threading.Thread(target=_connected, args=(step,))
        thread.start()
        thread.join(20)
        return choice

    monkeypatch.setattr(matching, "choose", deleting)
    told.work(second)
    assert keeper.state(second).delivered == 1
    with connection():
        assert rows("SELECT webhook_id FROM webhook_delivery") == [(second,)]


def test_deletions_and_readings_at_once_end_in_peace(told: Told) -> None:
    """The orders in which they lock rows do not cross."""
    if not told.settings.uses_postgres:
        pytest.skip("SQLite has one writer at a time")
    errors: list[BaseException] = []
    stop = threading.Event()

    def come_and_go() -> None:
        with connection():
            try:
                while not stop.is_set():
                    made = queries.create(told.account, "w", "json", "x", "x", None)
                    assert made is not None
                    trackers.create(told.account, made, PLAIN, ANY)
                    reader.begin_reading()
                    assert made is not None
                    queries.delete(told.account, made)
            except BaseException as error:
                errors.append(error)

    threads = [threading.Thread(target=come_and_go) for _ in range(3)]
    for thread in threads:
        thread.start()
    with connection():
        for number in told.kills[:15]:
            told.save(number)
            while reader.read_log(matching.choose) is reader.Reading.MORE:
                pass
    stop.set()
    for thread in threads:
        thread.join(20)
    assert not errors


# Nothing is pruned that was not read.


def test_the_log_is_kept_until_they_are_read_after_days_away(told: Told) -> None:
    number = told.webhook()
    told.save(*told.kills[:3])
    with connection():
        begin_at(-10 * 86_400)
        run(f"UPDATE killmail_log SET created_at = {sql_now(-9 * 86_400)}")
        sweep()
        assert rows("SELECT count(*) FROM killmail_log") == [(3,)]
        delivery.deliver(number)
        assert told.told_ids() == told.kills[:3]
        assert killmail_log.prune(86_400.0) == 2, "and no longer, but for the newest"


def test_without_a_webhook_old_entries_are_kept_for_nobody(told: Told) -> None:
    number = told.webhook()
    told.save(told.kills[2], told.kills[0])
    with connection():
        queries.pause(told.account, number)
        run(f"UPDATE killmail_log SET created_at = {sql_now(-9 * 86_400)}")
        assert killmail_log.prune(86_400.0) == 0
        sweep()
        assert killmail_log.prune(86_400.0) == 1
        assert queries.resume(told.account, number)
        reader.begin_reading()
    told.save(told.kills[1])
    told.work()
    assert told.told_ids() == [told.kills[1]]


# One that cannot be evaluated.

WANTS = (
    '{"max_age":1000000000000000000}', '{"max_age":1e400}', '{"max_age":"x"}', '{"side":"up"}', "[]", "{", "[" * 9_000,
    '{"ship_type_ids":5}', '{"corporation_id":99999999999999999999}', '{"minAttackers":[]}', '{"npc":true,"solo":true}',
)  # fmt: skip


def test_a_webhook_that_cannot_be_evaluated_is_switched_off_and_the_others_are_told(told: Told) -> None:
    good, *bad = [told.webhook() for _ in range(len(WANTS) + 1)]
    with connection():
        for number, wants in zip(bad, WANTS, strict=True):
            run("UPDATE tracker SET wants = %s, version = version + 1 WHERE webhook_id = %s", (wants, number))
    told.save(told.kills[0])
    told.work()
    assert (told.state(good).status, told.state(good).delivered) == ("active", 1)
    for number in bad:
        state = told.tracker_of(number)
        assert state.status == "disabled" and str(state.reason).startswith("Its filter cannot be used"), state
        assert "Error" not in str(state.reason) and told.state(number).status == "active"


def test_a_filter_that_fails_on_one_killmail_stops_that_tracker_alone(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    matches = KillmailFilter.matches

    def failing(self: KillmailFilter, *args: Any) -> bool:
        if self.min_attackers == 7:
            raise OverflowError("date value out of range")
        return matches(self, *args)

    monkeypatch.setattr(KillmailFilter, "matches", failing)
    bad = told.webhook(chosen=KillmailFilter(min_attackers=7))
    good = told.webhook()
    told.save(told.kills[0])
    told.work()
    assert (told.state(good).delivered, told.tracker_of(bad).status) == (1, "disabled")


def test_conditions_that_are_broken_while_messages_wait_switch_it_off(told: Told) -> None:
    number = told.webhook()
    told.save(told.kills[0])
    with connection():
        matching.announce()
        run("UPDATE tracker SET wants = '{\"max_age\":1e99}'")
        delivery.deliver(number)
    assert told.tracker_of(number).status == "disabled" and told.receiver.requests == []


def test_a_killmail_that_cannot_be_written_is_left_out_and_the_next_is_told(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    from killsync.webhooks import formats

    message = formats.message

    def failing(kind: str, killmail: Any, *args: Any, **kwargs: Any) -> Any:
        if killmail.killmail_id == told.kills[0]:
            raise OverflowError("date value out of range")
        return message(kind, killmail, *args, **kwargs)

    monkeypatch.setattr(formats, "message", failing)
    told.webhook()
    told.save(*told.kills[:2])
    for _ in range(3):
        told.work()
    assert told.told_ids() == [told.kills[1]]


EXTREMES = (
    "-1", "0", "00000000360099999999999999", "9" * 18, "9" * 19, "9" * 400, "1e400", "1.5", "NaN", "-0", "²", "٣",
    str(2**31), str(2**63 - 1), str(2**63), "\x00", "a\x00b", "\ud800", "\u202e", "'", "%00", "0x10", "1_000", "+5",
)  # fmt: skip


def test_extremes_in_the_form_are_refused_or_can_be_used(told: Told) -> None:
    taken = 0
    with connection():
        for word in FIELDS:
            for text in EXTREMES:
                form = Form({"name": "n", "age": "3600", word: text})
                chosen = read_filter(form, Own())
                if form.problems:
                    continue
                assert from_json(to_json(chosen)) == chosen
                taken += 1
        for text in EXTREMES:
            read_voice(Form(dict.fromkeys(("name", "title", "ping", "role", "color", "with_color", "thread"), text)))
    assert taken > 10


def test_filters_are_kept_for_as_long_as_there_is_room(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody who changes a tracker over and over leaves no more in memory than others do."""
    monkeypatch.setattr(subscribers, "MOST_WEIGHT", 500)
    with connection():
        kept = subscribers._Filters()
        first = kept.read('{"minAttackers": 1}', None)
        assert kept.read('{"minAttackers": 1}', None) is first
        for number in range(2, 40):
            kept.read(f'{{"minAttackers": {number}}}', None)
            assert kept._weight <= 500
        assert 2 <= len(kept._kept) <= 10
        assert kept.read('{"minAttackers": 1}', None) is not first


def test_one_thread_sends_the_rest_of_every_burst(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each thread that sends has a connection to RabbitMQ, and nobody closes that of a thread that has ended."""
    told.webhook()
    senders: list[threading.Thread] = []
    monkeypatch.setattr(matching, "COLLECT_MS", 20)
    monkeypatch.setattr(matching, "send", lambda *_message: senders.append(threading.current_thread()))
    bursts = 6
    for number in range(1, bursts + 1):
        matching.killmails_saved()
        matching.killmails_saved()
        matching.killmails_saved()
        wait_until(lambda number=number: len(senders) == 2 * number, "the burst is sent, and its rest", 10)  # type: ignore[misc]
        time.sleep(0.03)
    rests = [thread for thread in senders if thread is not threading.current_thread()]
    assert len(rests) == bursts and len(set(rests)) == 1
    process.begin(told.settings)
    wait_until(lambda: not rests[0].is_alive(), "the thread ends with the process's state", 30)
