"""History gives way to what just happened, for a moment and no longer."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from killsync.killmails import urgency as module
from killsync.killmails.urgency import HISTORY_MESSAGES, Urgency


@pytest.fixture(autouse=True)
def long_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GIVE_WAY_SECONDS", 30.0)


def test_history_waits_until_the_last_fresh_thing_has_ended() -> None:
    urgency, went_on = Urgency(), threading.Event()

    def history() -> None:
        urgency.give_way()
        went_on.set()

    with urgency.fresh():
        with urgency.fresh():
            thread = threading.Thread(target=history)
            thread.start()
        assert not went_on.wait(0.1), "one of two is still under way"
    assert went_on.wait(10)
    thread.join(10)


def test_history_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GIVE_WAY_SECONDS", 0.05)
    urgency = Urgency()
    with urgency.fresh():
        began = time.monotonic()
        urgency.give_way()
        assert time.monotonic() - began >= 0.05


def test_where_nothing_is_fresh_history_goes_on_at_once_also_after_a_failure() -> None:
    urgency = Urgency()
    with pytest.raises(ZeroDivisionError), urgency.fresh():
        raise ZeroDivisionError
    began = time.monotonic()
    urgency.give_way()
    assert time.monotonic() - began < 15


def test_few_messages_of_history_ask_at_a_time_and_fresh_ones_do_not_count() -> None:
    urgency, release = Urgency(), threading.Event()
    began = threading.Semaphore(0)

    def history() -> None:
        with urgency.history():
            began.release()
            assert release.wait(10)

    with ThreadPoolExecutor(HISTORY_MESSAGES + 1) as threads:
        done = [threads.submit(history) for _ in range(HISTORY_MESSAGES + 1)]
        for _ in range(HISTORY_MESSAGES):
            assert began.acquire(timeout=10)
        assert not began.acquire(timeout=0.1), "one too many"
        with urgency.fresh():
            pass
        release.set()
        for each in done:
            each.result(10)
