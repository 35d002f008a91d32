"""`killsync dead-letters list|retry|drop`: what no worker could do, why, and what becomes of it."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import asdict

from rich.console import Console

from killsync.broker import dead_letters
from killsync.broker.connection import BrokerAway
from killsync.broker.queues import QUEUES
from killsync.settings import Settings
from killsync.startup import broker_away

IN_MEMORY = (
    "BROKER_URL=memory:// keeps no dead letters: a message that fails for good is told in the log of its process. "
    "Dead letters are RabbitMQ's: set BROKER_URL to it, such as amqp://guest:guest@127.0.0.1:5672/"
)


class Refused(Exception):
    """The command cannot be done; the text is one line that says why. `code` is the exit code."""

    def __init__(self, reason: str, code: int = 1) -> None:
        super().__init__(reason)
        self.code = code


def show(settings: Settings, console: Console, queue: str | None, most: int, *, as_json: bool) -> None:
    """Print dead letters, the oldest of each queue first."""
    _check(settings, queue)
    try:
        found = dead_letters.dead_letters(queue, most)
    except BrokerAway:
        raise Refused(broker_away(settings)) from None
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
        console.print(f"{letter.message_id}  {letter.queue_name}{parked}{tries}", markup=False, soft_wrap=True)
        console.print(f"    {call}\n    {letter.reason}", markup=False, soft_wrap=True)


def retry(settings: Settings, console: Console, ids: Collection[str], queue: str | None, *, everything: bool) -> None:
    """Send dead letters again, with all their tries before them."""
    _check(settings, queue, ids, everything=everything)
    try:
        sent, unreadable = dead_letters.retry(None if everything else ids, queue)
    except BrokerAway:
        raise Refused(broker_away(settings)) from None
    console.print(f"{sent} sent again." + (f" {unreadable} cannot be read and stay: drop them." if unreadable else ""))
    _none_found(sent + unreadable, ids)


def drop(settings: Settings, console: Console, ids: Collection[str], queue: str | None, *, everything: bool) -> None:
    """Delete dead letters. No killmail is lost by that: the ledger knows what is still to be fetched."""
    _check(settings, queue, ids, everything=everything)
    try:
        dropped = dead_letters.drop(None if everything else ids, queue)
    except BrokerAway:
        raise Refused(broker_away(settings)) from None
    console.print(f"{dropped} dropped.")
    _none_found(dropped, ids)


def _check(settings: Settings, queue: str | None, ids: Collection[str] = (), *, everything: bool | None = None) -> None:
    if settings.uses_memory_broker:
        raise Refused(IN_MEMORY, 2)
    if queue is not None and queue not in QUEUES:
        raise Refused(f"there is no queue {queue}: use one of {', '.join(QUEUES)}", 2)
    if everything is not None and bool(ids) == everything:
        raise Refused("name the ids that `killsync dead-letters list` shows, or say --all", 2)


def _none_found(number: int, ids: Collection[str]) -> None:
    if ids and not number:
        raise Refused("no dead letter has such an id")
