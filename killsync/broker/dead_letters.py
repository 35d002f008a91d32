"""What was parked: looking at dead letters, sending them again, dropping them. RabbitMQ only; for operators.

Looking takes nothing out of a queue. A message that is sent again starts with all its tries.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

import dramatiq
import pika
import pika.exceptions
from dramatiq.common import q_name, xq_name

from killsync.broker.connection import connected
from killsync.broker.queues import QUEUES
from killsync.broker.rabbitmq import PARKED_AT, REASON, unreadable

#: What a retried message keeps of its options; the rest is about the tries that failed.
_KEPT_OPTIONS = ("broker_priority", "notify_shutdown", "time_limit")


@dataclass(frozen=True)
class DeadLetter:
    """One parked message. `actor` is None when the message cannot be read; `message_id` then is made from its bytes."""

    message_id: str
    queue_name: str
    actor: str | None
    arguments: str
    reason: str
    parked_at: str | None
    tries: int


def dead_letters(queue: str | None, most: int) -> list[DeadLetter]:
    """The oldest dead letters of one queue or of all, at most *most*.

    Raises:
        BrokerAway: RabbitMQ does not answer.
    """
    found: list[DeadLetter] = []
    with connected() as connection:
        for name in (queue,) if queue else QUEUES:
            channel = connection.channel()
            found.extend(letter for letter, *_ in _parked(channel, name, most - len(found)))
            if channel.is_open:
                channel.close()
    return found


def retry(ids: Collection[str] | None, queue: str | None) -> tuple[int, int]:
    """Send dead letters to their queues again, those of *ids* or all; (sent, not sent since they cannot be read).

    Raises:
        BrokerAway: RabbitMQ does not answer.
    """
    unreadable_ones = 0

    def send(channel: Any, letter: DeadLetter, body: bytes, properties: Any) -> bool:
        nonlocal unreadable_ones
        if letter.actor is None:
            unreadable_ones += 1
            return False
        fields = json.loads(body)
        fields["queue_name"] = letter.queue_name
        fields["options"] = {name: fields["options"][name] for name in _KEPT_OPTIONS if name in fields["options"]}
        priority = fields["options"].get("broker_priority")
        again = pika.BasicProperties(delivery_mode=2, priority=priority)
        channel.basic_publish("", letter.queue_name, json.dumps(fields).encode(), again, mandatory=True)
        return True

    return _take(ids, queue, send), unreadable_ones


def drop(ids: Collection[str] | None, queue: str | None) -> int:
    """Delete dead letters, those of *ids* or all; how many.

    Raises:
        BrokerAway: RabbitMQ does not answer.
    """
    return _take(ids, queue, lambda *_: True)


def _take(ids: Collection[str] | None, queue: str | None, deal: Callable[..., bool]) -> int:
    """Take the dead letters that *deal* says yes to out of their queues; those it leaves go back when the channel closes."""
    taken = 0
    broker: Any = dramatiq.get_broker()
    with connected() as connection:
        for name in (queue,) if queue else QUEUES:
            broker.declare_queue(name, ensure=True)
            channel = connection.channel()
            channel.confirm_delivery()
            for letter, body, properties, tag in _parked(channel, name, None):
                if (ids is None or letter.message_id in ids) and deal(channel, letter, body, properties):
                    channel.basic_ack(tag)
                    taken += 1
            if channel.is_open:
                channel.close()
    return taken


def _parked(channel: Any, queue: str, most: int | None) -> Iterator[tuple[DeadLetter, bytes, Any, int]]:
    try:
        number = channel.queue_declare(queue=xq_name(queue), passive=True).method.message_count
    except pika.exceptions.ChannelClosedByBroker:
        return
    for _ in range(number if most is None else min(number, most)):
        method, properties, body = channel.basic_get(xq_name(queue))
        if method is None:
            return
        yield _letter(queue, body, properties), body, properties, method.delivery_tag


def _letter(queue: str, body: bytes, properties: Any) -> DeadLetter:
    headers = properties.headers or {}
    reason = str(headers.get(REASON) or "rejected; the worker's log has the reason")
    parked_at = headers.get(PARKED_AT)
    fields = None
    if unreadable(body, queue) is None or unreadable(body, f"{queue}.DQ") is None:
        fields = json.loads(body)
    if fields is None:
        shown = repr(body[:60])[1:]
        return DeadLetter(f"raw-{hashlib.sha256(body).hexdigest()[:12]}", queue, None, shown, reason, parked_at, 0)
    arguments = [*map(repr, fields["args"]), *(f"{name}={value!r}" for name, value in fields["kwargs"].items())]
    tries = fields["options"].get("retries", 0)
    return DeadLetter(
        fields["message_id"], q_name(fields["queue_name"]), fields["actor_name"], ", ".join(arguments)[:200], reason,
        parked_at, tries if isinstance(tries, int) else 0,
    )  # fmt: skip
