"""Sending a message to an actor by its name, so that no feature has to know the code of a worker.

A message carries ids alone, never a token, a name or a text from outside.
"""

from __future__ import annotations

from typing import Any

import dramatiq

from killsync.broker import queues
from killsync.broker.queues import ENQUEUE, ENRICHMENT, KILLMAIL_DETAILS, NOTIFICATIONS, USER_KILLMAILS

#: The queue of each actor of `actors/`.
QUEUE_OF = {
    "enqueue_due_users": ENQUEUE,
    "sweep": ENQUEUE,
    "dispatch_killmails": ENQUEUE,
    "classify_killmails": ENQUEUE,
    "value_killmails": ENQUEUE,
    "sync_user_killmails": USER_KILLMAILS,
    "sync_corporation_killmails": USER_KILLMAILS,
    "fetch_killmails": KILLMAIL_DETAILS,
    "enrich_names": ENRICHMENT,
    "fetch_ticker": ENRICHMENT,
    "fetch_prices": ENRICHMENT,
    "learn_polls": ENRICHMENT,
    "check_members": ENRICHMENT,
    "update_static_data": ENRICHMENT,
    "announce": NOTIFICATIONS,
    "deliver": NOTIFICATIONS,
}


def send(actor: str, *args: Any, delay_ms: int | None = None, priority: int | None = None, **kwargs: Any) -> None:
    """Send one message; confirmed by the broker when this returns.

    Args:
        actor: the name of an actor of `QUEUE_OF`.
        args, kwargs: what the actor takes: ids and flags.
        delay_ms: the message is taken by a worker so many milliseconds later, MOST_DELAY_SECONDS at most.
        priority: of `killsync.broker.queues`; messages of a higher one are taken first.

    Raises:
        dramatiq.errors.BrokerConnectionError: the broker does not answer.
    """
    if delay_ms is not None:
        delay_ms = min(delay_ms, int(queues.MOST_DELAY_SECONDS * 1000))
    options = {} if priority is None else {"broker_priority": priority}
    message: dramatiq.Message[Any] = dramatiq.Message(QUEUE_OF[actor], actor, args, kwargs, options)
    dramatiq.get_broker().enqueue(message, delay=delay_ms)
