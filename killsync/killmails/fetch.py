"""Killmails: ask ESI for their details and save each whole. What cannot be had now goes back to the ledger.

The way of a message's killmails: which are still pending, their details from ESI in parts as they come, the killmails of a
part into the store, what became of the rest into the ledger, what it cost into the runs that asked.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from dramatiq.errors import BrokerConnectionError

from killsync import settings as settings_module
from killsync.broker.running import running_message
from killsync.esi import errors
from killsync.esi.client import shared
from killsync.esi.errors import Cost
from killsync.esi.responses import Detail
from killsync.killmails import ledger, urgency
from killsync.killmails.ledger import Pending
from killsync.killmails.store import Saved, save_killmail, save_killmails
from killsync.logging import get_logger
from killsync.names import batching
from killsync.sync import evidence, progress
from killsync.webhooks import matching
from models import connection

log = get_logger("killmails")

#: ESI may answer 5xx for one killmail for ever, while it answers all others. One that has to wait for longer than this
#: because of that counts as failed, so that nobody's sync waits for it; it is asked for again all the same. That is its fifth
#: failure in a row while nothing else fails, half a minute after the first.
OWN_TROUBLE_SECONDS = 15.0


class KillmailRefused(Exception):
    """ESI says that this hash does not belong to this killmail."""


def fetch(killmail_ids: Sequence[int]) -> None:
    """Fetch those that are pending and save them. ESI's faults are noted in the ledger, not raised."""
    pending = ledger.pending(killmail_ids, taken_over=running_message().redelivered)
    fresh = [ref for ref in pending if ref.fetch_priority < ledger.BACKLOG_PRIORITY]
    history = [ref for ref in pending if ref.fetch_priority >= ledger.BACKLOG_PRIORITY]
    if fresh:
        with urgency.shared().fresh():
            _handle_all(fresh, _ask(fresh, backlog=False))
    if history:
        _handle_all(history, _ask_in_turn(history))


def _ask(refs: Sequence[Pending], *, backlog: bool) -> Iterator[list[Detail]]:
    client = shared(settings_module.current())
    return client.killmails([(ref.killmail_id, ref.killmail_hash) for ref in refs], backlog=backlog)


def _ask_in_turn(refs: Sequence[Pending]) -> Iterator[list[Detail]]:
    """What ESI says of history: asked for when few other messages ask, each part given when nothing fresh is under way."""
    order, parts = urgency.shared(), _ask(refs, backlog=True)
    with order.history():
        order.give_way()
        first = next(parts)
    for details in chain([first], parts):
        order.give_way()
        yield details


def _handle_all(refs: Sequence[Pending], parts: Iterator[list[Detail]]) -> None:
    """Handle what ESI answers, in parts as it comes. A failure of one part is raised when the others are done."""
    by_id = {ref.killmail_id: ref for ref in refs}
    problem: Exception | None = None
    for details in parts:
        try:
            _handle(by_id, details)
        except Exception as error:
            # What ESI was asked for in the other parts is answered and paid for: it is not thrown away with this one.
            problem = problem or error
    if problem is not None:
        raise problem


def _handle(refs: Mapping[int, Pending], details: list[Detail]) -> None:
    """Handle what ESI answered for some of the killmails."""
    bodies, refused = _sort(details)
    new, names_wanted = _save(refs, bodies)
    _record_refused(refs, refused)
    progress.shared().add(_costs(refs, details))
    is_history = all(ref.fetch_priority >= ledger.BACKLOG_PRIORITY for ref in refs.values())
    _notify(new, names_wanted=names_wanted, is_history=is_history)


def _sort(details: list[Detail]) -> tuple[list[Mapping[str, Any]], dict[int, errors.EsiError]]:
    """The killmails that came, and by id why the others did not."""
    bodies: list[Mapping[str, Any]] = []
    refused: dict[int, errors.EsiError] = {}
    for detail in details:
        if isinstance(detail.outcome, errors.EsiError):
            refused[detail.killmail_id] = detail.outcome
        else:
            bodies.append(detail.outcome)
    return bodies, refused


def _save(refs: Mapping[int, Pending], bodies: list[Mapping[str, Any]]) -> tuple[list[Mapping[str, Any]], bool]:
    """Store the killmails; those that are new here, and whether names are to be asked for."""
    new: list[Mapping[str, Any]] = []
    names_wanted = False
    saved = save_killmails([(body, refs[body["killmail_id"]].killmail_hash) for body in bodies])
    for body, outcome in zip(bodies, saved, strict=True):
        killmail_id = body["killmail_id"]
        if isinstance(outcome, Saved):
            log.debug("killmail saved", killmail_id=killmail_id, run_id=refs[killmail_id].run_id)
            names_wanted = names_wanted or outcome.names_wanted
            if outcome.is_new:
                new.append(body)
        else:
            log.error("killmail not storable", killmail_id=killmail_id, exc_info=outcome)
            _record_failure(refs[killmail_id], f"not storable: {type(outcome).__name__}")
    return new, names_wanted


def _notify(new: list[Mapping[str, Any]], *, names_wanted: bool, is_history: bool) -> None:
    """Let everybody know who has something to do now."""
    evidence.seen(new)
    try:
        if is_history:
            # Even when it brought no name: it may have been the last of those that others wait for.
            batching.schedule_history()
        elif names_wanted:
            batching.schedule_lookup()
        if new:
            matching.killmails_saved()
    except BrokerConnectionError as error:
        # The sweep finds both in the tables.
        log.warning("nobody notified: the broker does not answer", reason=type(error).__name__)


def _record_refused(refs: Mapping[int, Pending], refused: Mapping[int, errors.EsiError]) -> None:
    """Record in the ledger why killmails did not come, and when they are due again."""
    released: dict[float, list[Pending]] = defaultdict(list)
    for killmail_id, error in refused.items():
        ref = refs[killmail_id]
        if isinstance(error, errors.InvalidHash):
            final = ledger.record_refusal(ref, str(error))
            log.warning("hash refused", killmail_id=killmail_id, final=final)
        elif isinstance(error, errors.Downtime):
            seconds = max(error.retry_after or 5.0, error.own_pause)
            if error.is_only and error.own_pause > OWN_TROUBLE_SECONDS:
                ledger.record_failure(ref, str(error), seconds)
                log.warning("killmail not to be had", killmail_id=killmail_id, reason=str(error), retry_in=seconds)
            else:
                released[seconds].append(ref)
                log.debug("killmail released", killmail_id=killmail_id, reason=str(error))
        elif error.transient:
            released[error.retry_after or 5.0].append(ref)
            log.debug("killmail released", killmail_id=killmail_id, reason=str(error))
        else:
            _record_failure(ref, str(error))
    for seconds, of_one_wait in released.items():
        ledger.release(of_one_wait, _spread(seconds))


def _record_failure(ref: Pending, reason: str) -> None:
    seconds = float(min(6 * 3600, 30 * 2 ** min(ref.attempts, 12)))
    ledger.record_failure(ref, reason, seconds)
    log.warning("killmail not usable", killmail_id=ref.killmail_id, reason=reason, retry_in=round(seconds))


def _spread(seconds: float) -> float:
    """A little later than asked for, each differently, so that what waits together does not come back together."""
    return seconds + random.uniform(0.0, min(5.0, 0.2 * seconds + 0.5))  # noqa: S311


def _costs(refs: Mapping[int, Pending], details: list[Detail]) -> dict[int, tuple[int, int]]:
    """What was spent for each run: requests and tokens."""
    spent: dict[int, Cost] = {}
    for detail in details:
        run_id = refs[detail.killmail_id].run_id
        if run_id is not None:
            spent[run_id] = spent.get(run_id, Cost()) + detail.cost
    return {run_id: (cost.requests, cost.tokens) for run_id, cost in spent.items()}


def submit(killmail_id: int, killmail_hash: str) -> None:
    """Fetch a killmail that a person named, within the budget, in the calling thread.

    No connection to the database is held while ESI is asked.

    Raises:
        KillmailRefused: ESI says that the hash is wrong; nothing is remembered of it.
        esi.errors.EsiError: ESI cannot be asked now; the killmail is in the ledger and comes later by itself.
    """
    with connection():
        if ledger.is_fetched(killmail_id):
            return
    # ESI may take its time, and no connection waits for it.
    client = shared(settings_module.current())
    try:
        body, _cost = client.killmail(killmail_id, killmail_hash, backlog=False)
    except errors.InvalidHash:
        raise KillmailRefused(f"ESI knows no killmail {killmail_id} with this hash") from None
    except errors.EsiError as error:
        if error.transient:
            with connection():
                ledger.add_submitted(killmail_id, killmail_hash)
        raise
    with connection():
        ledger.add_submitted(killmail_id, killmail_hash, proven=True)
        saved = save_killmail(body, killmail_hash)
    if saved.names_wanted:
        batching.schedule_lookup()
