"""`killsync dead-letters list|retry|drop`: what no worker could do, why, and what becomes of it."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated

import typer

from killsync import settings as settings_module
from killsync.broker import dead_letters
from killsync.broker.connection import BrokerAway
from killsync.broker.queues import QUEUES
from killsync.broker.setup import make_broker
from killsync.cli.console import console, say, stop
from killsync.startup import broker_away

IN_MEMORY = (
    "BROKER_URL=memory:// keeps no dead letters: a message that fails for good is told in the log of its process. "
    "Dead letters are RabbitMQ's: set BROKER_URL to it, such as amqp://guest:guest@127.0.0.1:5672/"
)

QueueOption = Annotated[str | None, typer.Option("--queue", help="Only of this queue.")]
IdsArgument = Annotated[list[str] | None, typer.Argument(help="Ids as `list` shows them.")]
AllOption = Annotated[bool, typer.Option("--all", help="All of them.")]


def list_dead_letters(
    queue: QueueOption = None,
    limit: Annotated[int, typer.Option(min=1, help="Most that are shown.")] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Show the messages that were parked, with the reason. Takes nothing out."""
    with _rabbitmq(queue):
        found = dead_letters.dead_letters(queue, limit)
    if as_json:
        print(json.dumps([asdict(letter) for letter in found], indent=2))
        return
    if not found:
        console.print("No dead letters.")
        return
    for letter in found:
        call = f"{letter.actor}({letter.arguments})" if letter.actor else letter.arguments
        tries = f", after {letter.tries} tries" if letter.tries else ""
        parked = f", parked {letter.parked_at}" if letter.parked_at else ""
        say(f"{letter.message_id}  {letter.queue_name}{parked}{tries}")
        say(f"    {call}\n    {letter.reason}")


def retry_dead_letters(ids: IdsArgument = None, everything: AllOption = False, queue: QueueOption = None) -> None:
    """Send parked messages to their queues again."""
    with _rabbitmq(queue):
        sent, unreadable = dead_letters.retry(_chosen(ids, everything=everything), queue)
    console.print(f"{sent} sent again." + (f" {unreadable} cannot be read and stay: drop them." if unreadable else ""))
    _check_any_found(sent + unreadable, ids)


def drop_dead_letters(ids: IdsArgument = None, everything: AllOption = False, queue: QueueOption = None) -> None:
    """Delete parked messages. Killmails are not lost by that: they are in the ledger."""
    with _rabbitmq(queue):
        dropped = dead_letters.drop(_chosen(ids, everything=everything), queue)
    console.print(f"{dropped} dropped.")
    _check_any_found(dropped, ids)


@contextmanager
def _rabbitmq(queue: str | None) -> Iterator[None]:
    """Check *queue* and connect to RabbitMQ for the block; what is wrong ends the command with one line."""
    settings = settings_module.load()
    make_broker(settings)
    if settings.uses_memory_broker:
        raise stop(IN_MEMORY, 2)
    if queue is not None and queue not in QUEUES:
        raise stop(f"there is no queue {queue}: use one of {', '.join(QUEUES)}", 2)
    try:
        yield
    except BrokerAway:
        raise stop(broker_away(settings)) from None


def _chosen(ids: list[str] | None, *, everything: bool) -> Collection[str] | None:
    """The ids that are meant; None: all."""
    if bool(ids) == everything:
        raise stop("name the ids that `killsync dead-letters list` shows, or say --all", 2)
    return None if everything else ids


def _check_any_found(number: int, ids: list[str] | None) -> None:
    if ids and not number:
        raise stop("no dead letter has such an id")
