"""Deliveries are shared fairly: between accounts, and between receivers that are quick and slow."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from killsync.webhooks import deliveries, delivery, matching, reader
from killsync.webhooks.slots import ACCOUNT_SLOTS, SLOTS, Lane
from models import connection
from models.sql import run
from tests.support.webhook_account import Told

# A fair share.


def test_accounts_take_turns(told: Told) -> None:
    mine = [told.webhook() for _ in range(6)]
    other = told.another_account()
    theirs = [other.webhook() for _ in range(2)]
    told.save(told.kills[0])
    with connection():
        while reader.read_log(matching.choose) is reader.Reading.MORE:
            pass
        assert set(deliveries.claim_due(2, 60.0)) == {mine[0], theirs[0]}
        assert deliveries.claim_due(1, 60.0) == [mine[1]], (
            "both have one with a worker: the order in which they are due"
        )
        assert deliveries.claim_due(1, 60.0) == [theirs[1]], "who has fewer with workers comes first"
        assert deliveries.claim_due(9, 60.0) == mine[2:]


def test_slots_are_shared_between_accounts_and_slow_receivers_have_one() -> None:
    slots = delivery.Slots()
    assert [slots.acquire(Lane(1, is_slow=True)) for _ in range(2)] == [True, False]
    assert [slots.acquire(Lane(1)) for _ in range(SLOTS)] == [True] * (ACCOUNT_SLOTS - 1) + [False] * (SLOTS - 1)
    assert [slots.acquire(Lane(2)) for _ in range(2)] == [True, False], "all are taken"
    slots.release(Lane(1, is_slow=True))
    assert slots.acquire(Lane(2, is_slow=True))
    for lane in (Lane(1), Lane(2), Lane(2, is_slow=True)):
        slots.release(lane)
    with pytest.raises(ValueError):
        slots.release()


def test_a_receiver_that_was_slow_goes_to_the_lane_of_slow_ones_and_comes_back(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "SLOW_SECONDS", 0.2)
    number = told.webhook()
    told.save(*told.kills[:4])
    told.receiver.script += [0.4]
    with connection():
        matching.announce()
        delivery.deliver(number)
        assert len(told.receiver.requests) == 1, "it leaves the lane of the fast ones"
        assert deliveries.lane_of(number) == Lane(told.account, is_slow=True)
        run("UPDATE webhook SET due_at = created_at")
        assert deliveries.claim_due(1, 60.0) == []
        assert deliveries.claim_due(1, 60.0, is_slow=True) == [number]
        delivery.deliver(number)
        assert deliveries.lane_of(number) == Lane(told.account)
    assert len(told.receiver.requests) == 4


def test_twenty_slow_receivers_do_not_keep_another_account_waiting(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.support.receiver import receiving

    monkeypatch.setattr(delivery, "SLOW_SECONDS", 0.5)
    queue: list[int] = []
    arrived = threading.Condition()

    def send(actor: str, *ids: int, **_delay: Any) -> None:
        with arrived:
            queue.extend(ids)
            arrived.notify_all()

    monkeypatch.setattr(delivery, "send", send)
    told.receiver.pause = 1.0
    for _ in range(20):
        told.webhook()
    told.save(*told.kills[:3])
    with receiving() as quick:
        other = told.another_account(quick)
        stop = threading.Event()

        def work() -> None:
            with connection():
                while not stop.is_set():
                    with arrived:
                        if not queue:
                            arrived.wait(0.1)
                        number = queue.pop(0) if queue else None
                    if number is not None:
                        delivery.deliver(number)

        threads = [threading.Thread(target=work) for _ in range(6)]
        for thread in threads:
            thread.start()
        try:
            with connection():
                matching.announce()
                time.sleep(2.5)
                waited = []
                for kill in told.kills[3:6]:
                    if not waited:
                        other.webhook()
                    told.save(kill)
                    began = time.monotonic()
                    before = len(quick.taken())
                    matching.announce()
                    while len(quick.taken()) == before and time.monotonic() - began < 30:
                        time.sleep(0.02)
                    waited.append(time.monotonic() - began)
        finally:
            stop.set()
            for thread in threads:
                thread.join(20)
    assert max(waited) < 3.0, waited
    assert len(told.receiver.taken()) >= 5, "the slow ones are told too"
