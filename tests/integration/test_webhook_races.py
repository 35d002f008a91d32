"""What happens while a message is under way to a webhook: changes by its owner, pauses, failures, other workers."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from killsync.broker.running import RunningMessage
from killsync.killmails.filter import KillmailFilter
from killsync.sso.vault import Vault
from killsync.webhooks import deliveries, delivery, matching, queries, reader, trackers
from killsync.webhooks.slots import ACCOUNT_SLOTS, Lane
from models import connection
from models.db import in_transaction
from models.fields import moment
from models.sql import rows, run, sql_now
from tests.support.webhook_account import Told


def meanwhile(monkeypatch: pytest.MonkeyPatch, *steps: Any) -> None:
    """Do the next of *steps* (a call or None) while each next message is under way."""
    from killsync.webhooks import sender

    waiting = list(steps)
    post = sender.post

    async def posting(*args: Any, **kwargs: Any) -> Any:
        answer = await post(*args, **kwargs)
        step = waiting.pop(0) if waiting else None
        if step is not None:
            thread = threading.Thread(target=_connected, args=(step,))
            thread.start()
            thread.join(20)
        return answer

    monkeypatch.setattr(sender, "post", posting)


def _connected(step: Any) -> None:
    with connection():
        step()


def address(told: Told, path: str) -> tuple[str, str]:
    return Vault(told.settings.secret_keys).encrypt(f"{told.receiver.url}/{path}"), "127.0.0.1/…"


# Failures count by the row as it is now.


def test_failures_with_a_success_between_them_are_not_in_a_row(told: Told) -> None:
    number = told.webhook("discord")
    told.save(*told.kills[:2])
    for script in ([404], [404], [204, 404]):
        told.receiver.script += script
        told.work()
    assert (told.state(number).status, told.state(number).delivered) == ("active", 1)
    told.work()
    assert told.told_discord() == 2


def test_a_success_ends_the_five_days(told: Told) -> None:
    number = told.webhook()
    told.save(*told.kills[:2])
    told.receiver.script += [500, 204, 500]
    told.work()
    with connection():
        run(f"UPDATE webhook SET failing_since = {sql_now(-5 * 86_400 - 60)}")
    told.work()
    assert (told.state(number).status, told.state(number).delivered) == ("active", 1)
    since = told.state(number).failing_since
    assert since is not None and (moment(since) - moment(told.now())).total_seconds() > -60


def test_an_address_that_is_corrected_while_the_last_answer_is_on_its_way_stays_on(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = told.webhook("discord")
    told.save(*told.kills[:2])
    meanwhile(monkeypatch, None, None, lambda: queries.change(told.account, number, "new", address(told, "corrected")))
    for _ in range(3):
        told.receiver.script += [404]
        told.work()
    state = told.state(number)
    assert (state.status, state.last_error, state.failing_since) == ("active", None, None)
    with connection():
        delivery.deliver(number)
    assert [each.path for each in told.receiver.taken()] == ["/corrected"] * 2, "and it is used at once"


def change_filter(told: Told, webhook_id: int, chosen: KillmailFilter) -> None:
    tracker = told.tracker_of(webhook_id)
    assert trackers.change(told.account, tracker.id, webhook_id, tracker.voice, chosen)


@pytest.mark.parametrize("change", ["address", "pause", "delete", "filter"])
def test_what_its_owner_changes_during_a_delivery_holds_for_the_next(
    told: Told, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    number = told.webhook()
    told.save(*told.kills[:3])
    changes = {
        "address": lambda: queries.change(told.account, number, "new", address(told, "other")),
        "filter": lambda: change_filter(told, number, KillmailFilter(mine=())),
        "pause": lambda: queries.pause(told.account, number),
        "delete": lambda: queries.delete(told.account, number),
    }
    meanwhile(monkeypatch, changes[change])
    told.work()
    paths = [each.path for each in told.receiver.taken()]
    assert paths == {
        "address": ["/hook", "/other", "/other"], "filter": ["/hook"] * 3, "pause": ["/hook"], "delete": ["/hook"],
    }[change]  # fmt: skip


def test_a_worker_that_was_taken_over_neither_counts_a_failure_nor_makes_it_wait(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = told.webhook()
    told.save(told.kills[0])
    told.receiver.script += [404]
    taken_over = f"UPDATE webhook SET leased_by = 'other:1', leased_until = {sql_now(60)}"
    meanwhile(monkeypatch, lambda: in_transaction(lambda: run(taken_over)))
    told.work()
    with connection():
        assert rows("SELECT failures, leased_by, wait_until FROM webhook") == [(0, "other:1", None)]
        assert rows("SELECT attempts FROM webhook_delivery") == [(0,)]
    assert told.state(number).last_error is None


# Pauses only grow.


def waits(told: Told, number: int) -> float:
    with connection():
        found = rows("SELECT wait_until FROM webhook WHERE id = %s", (number,))[0][0]
    return (moment(found) - told.now()).total_seconds()


@pytest.mark.parametrize("answer", [(204, {}), (204, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset-After": "1"}),
                                    (429, {"Retry-After": "1"}), (500, {}), (404, {})])  # fmt: skip
def test_a_pause_for_all_of_a_kind_outlasts_every_answer(
    told: Told, monkeypatch: pytest.MonkeyPatch, answer: tuple[int, dict[str, str]]
) -> None:
    number = told.webhook("discord")
    told.save(*told.kills[:3])
    told.receiver.script += [(*answer, "{}")]
    meanwhile(monkeypatch, lambda: deliveries.defer_kind("discord", 300.0))
    told.work()
    assert len(told.receiver.requests) == 1, "it is looked at before each delivery"
    assert waits(told, number) > 290
    with connection():
        delivery.deliver(number)
    assert len(told.receiver.requests) == 1


def test_its_owner_ends_a_pause_after_failures_but_none_that_was_asked_for(told: Told) -> None:
    number = told.webhook("discord")
    told.save(told.kills[0])
    told.receiver.script += [500]
    told.work()
    assert waits(told, number) > 3
    with connection():
        assert queries.pause(told.account, number) and queries.resume(told.account, number)
        assert rows("SELECT wait_until FROM webhook") == [(None,)]
        deliveries.defer_kind("discord", 300.0)
        assert queries.pause(told.account, number) and queries.resume(told.account, number)
        assert queries.change(told.account, number, "new", address(told, "other"))
    assert waits(told, number) > 290


# The follow-up of a delivery.


def test_what_follows_is_sent_when_the_webhook_is_free_again(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[tuple[str, Any]] = []
    told.webhook("slack")
    told.save(*told.kills[:4])

    def send(actor: str, webhook_id: int, **_delay: Any) -> None:
        held.extend(rows("SELECT %s, leased_by FROM webhook WHERE id = %s", (actor, webhook_id)))

    monkeypatch.setattr(delivery, "send", send)
    with_limit = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset-After": "0.1"}
    told.receiver.script += [400, 400, 400, (200, with_limit, ""), 500, (429, {"Retry-After": "1"}, ""), 404]
    for _ in range(8):
        told.work()
    assert len(held) >= 6 and {by for _, by in held} == {None}
    assert len(told.receiver.taken()) == 3


def test_a_message_that_is_left_out_is_not_sent_by_another_worker_meanwhile(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = told.webhook("slack")
    told.save(told.kills[0])
    told.receiver.script += [400, 400, 400]
    for _ in range(2):
        told.work()
    seen: list[Any] = []
    end = deliveries._end

    def looking(delivery_id: int, outcome: str) -> None:
        seen.extend(rows("SELECT leased_by FROM webhook WHERE id = %s", (number,)))
        end(delivery_id, outcome)

    monkeypatch.setattr(deliveries, "_end", looking)
    told.work()
    assert len(seen) == 1 and seen[0][0] is not None, "it is left out before the webhook is free again"
    assert len(told.receiver.requests) == 3


def test_a_broker_that_is_away_costs_a_delay_and_no_message(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    import dramatiq

    numbers = [told.webhook() for _ in range(3)]
    told.save(*told.kills[:2])
    send = delivery.send

    def away(*_args: Any, **_kwargs: Any) -> None:
        raise dramatiq.errors.ConnectionClosed("gone")

    monkeypatch.setattr(delivery, "send", away)
    monkeypatch.setattr(delivery, "TURN_SECONDS", 0.0)
    with connection():
        matching.announce()
        delivery.deliver(numbers[0])
        monkeypatch.setattr(delivery, "send", send)
        assert sorted(deliveries.claim_due(5, 60.0)) == numbers[1:], "they are due, not left alone for a minute"
    assert len(told.receiver.taken()) == 2


def test_one_message_goes_on_with_whatever_is_due(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = [told.webhook() for _ in range(5)]
    other = told.another_account()
    numbers += [other.webhook() for _ in range(5)]
    told.save(*told.kills[:2])
    messages: list[int] = []
    monkeypatch.setattr(delivery, "send", lambda _actor, number, **_delay: messages.append(number))
    with connection():
        while reader.read_log(matching.choose) is reader.Reading.MORE:
            pass
        delivery.deliver(numbers[0])
        assert len(told.receiver.taken()) == 18, "but for the webhook that another slot was to take"
        assert messages == [numbers[5]], "accounts take turns"
        assert rows("SELECT count(*) FROM webhook WHERE leased_by IS NOT NULL") == [(0,)]
    slots = delivery.delivery_slots()
    assert [slots.acquire(Lane(told.account)) for _ in range(ACCOUNT_SLOTS)] == [True] * ACCOUNT_SLOTS
    assert slots.acquire(Lane(other.account)), "no slot was lost on the way"


def test_a_turn_that_fails_gives_back_the_slot_of_the_webhook_it_was_at(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = told.webhook()
    other = told.another_account()
    other.webhook()
    told.save(told.kills[0])
    record = deliveries.record_delivery

    def failing(webhook_id: int, *arguments: Any, **values: Any) -> Any:
        if webhook_id != first:
            raise RuntimeError("on purpose")
        return record(webhook_id, *arguments, **values)

    monkeypatch.setattr(delivery, "send", lambda *_message, **_delay: None)
    monkeypatch.setattr(delivery, "send_due", lambda *_limit, **_lane: None)
    monkeypatch.setattr(deliveries, "record_delivery", failing)
    with connection():
        while reader.read_log(matching.choose) is reader.Reading.MORE:
            pass
        with pytest.raises(RuntimeError):
            delivery.deliver(first)
        assert rows("SELECT count(*) FROM webhook WHERE leased_by IS NOT NULL") == [(0,)]
    slots = delivery.delivery_slots()
    assert [slots.acquire(Lane(number)) for number in (other.account, other.account, told.account)] == [True] * 3


def test_what_a_worker_held_that_died_is_due_when_its_message_comes_again(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = [told.webhook() for _ in range(3)]
    told.save(told.kills[0])
    messages: list[int] = []
    monkeypatch.setattr(delivery, "send", lambda _actor, number, **_delay: messages.append(number))
    monkeypatch.setattr(delivery, "running_message", lambda: RunningMessage("a-message", redelivered=True))
    with connection():
        while reader.read_log(matching.choose) is reader.Reading.MORE:
            pass
        assert deliveries.lease(numbers[1], "a-message:of the dead", "a-message", 60.0) is not None
        assert deliveries.lease(numbers[2], "another:alive", "another", 60.0) is not None
        delivery.deliver(numbers[0])
        assert rows("SELECT id FROM webhook WHERE leased_by IS NOT NULL") == [(numbers[2],)]
    assert messages == [numbers[1]], "another slot was to take it"
