"""Killmails: ask ESI for their details and save each whole. What cannot be had now goes back to the ledger."""

from __future__ import annotations

import random
import threading
from collections import defaultdict
from collections.abc import Sequence
from contextlib import nullcontext

from killsync import settings as settings_module
from killsync.esi import errors
from killsync.esi.client import shared
from killsync.esi.errors import Cost
from killsync.esi.responses import Detail
from killsync.killmails import ledger
from killsync.killmails.store import Saved, save_killmail, save_killmails
from killsync.logging import get_logger
from killsync.names import lookup
from killsync.sync import evidence, progress
from killsync.webhooks import delivery

log = get_logger("killmails")

#: Messages of a backlog whose killmails this process asks for at a time. What is fresh never waits for these.
_in_the_air = threading.BoundedSemaphore(3)


class KillmailRefused(Exception):
    """ESI says that this hash does not belong to this killmail."""


def fetch(killmail_ids: Sequence[int]) -> None:
    """Fetch those that are pending and save them. ESI's faults are noted in the ledger, not raised."""
    pending = ledger.pending(killmail_ids)
    is_backlog = [ref.fetch_priority >= ledger.BACKLOG_PRIORITY for ref in pending]
    for backlog in (False, True):
        chosen = [ref for ref, each in zip(pending, is_backlog, strict=True) if each is backlog]
        if not chosen:
            continue
        refs = {ref.killmail_id: ref for ref in chosen}
        asked = shared(settings_module.current()).killmails(
            [(ref.killmail_id, ref.killmail_hash) for ref in chosen], backlog=backlog
        )
        with _in_the_air if backlog else nullcontext():
            details = next(asked)
        _take_in(refs, details)
        for details in asked:
            _take_in(refs, details)


def _take_in(refs: dict[int, ledger.Pending], details: list[Detail]) -> None:
    """Save what came, note what did not, and count both in the runs that asked for it."""
    bodies = [(detail.outcome, refs[detail.killmail_id].killmail_hash) for detail in details
              if not isinstance(detail.outcome, errors.EsiError)]  # fmt: skip
    saved = save_killmails(bodies)
    for (body, _), outcome in zip(bodies, saved, strict=True):
        if isinstance(outcome, Exception):
            log.error("killmail not storable", killmail_id=body["killmail_id"], exc_info=outcome)
            _not_usable(body["killmail_id"], f"not storable: {type(outcome).__name__}")
        else:
            log.debug("killmail saved", killmail_id=body["killmail_id"], run_id=refs[body["killmail_id"]].run_id)
    new = [
        body for (body, _), outcome in zip(bodies, saved, strict=True) if isinstance(outcome, Saved) and outcome.is_new
    ]
    for body in new:
        evidence.seen(body)
    if any(isinstance(outcome, Saved) and outcome.names_wanted for outcome in saved):
        lookup.ask_soon()
    if new:
        delivery.announce_soon()
    _note({detail.killmail_id: detail.outcome for detail in details if isinstance(detail.outcome, errors.EsiError)})
    progress.shared().add(_costs(refs, details))


def _note(refused: dict[int, errors.EsiError]) -> None:
    """Note in the ledger why killmails did not come, and when they are due again."""
    waiting: dict[float, list[int]] = defaultdict(list)
    for killmail_id, error in refused.items():
        if isinstance(error, errors.InvalidHash):
            final = ledger.record_refusal(killmail_id, str(error))
            log.warning("hash refused", killmail_id=killmail_id, final=final)
        elif error.transient:
            waiting[error.retry_after or 5.0].append(killmail_id)
            log.debug("killmail put back", killmail_id=killmail_id, reason=str(error))
        else:
            _not_usable(killmail_id, str(error))
    for seconds, killmail_ids in waiting.items():
        ledger.release(killmail_ids, _spread(seconds))


def _not_usable(killmail_id: int, reason: str) -> None:
    seconds = _backoff(killmail_id)
    ledger.record_failure(killmail_id, reason, seconds)
    log.warning("killmail not usable", killmail_id=killmail_id, reason=reason, retry_in=round(seconds))


def _costs(refs: dict[int, ledger.Pending], details: list[Detail]) -> dict[int, tuple[int, int]]:
    """What was spent for each run: requests and tokens."""
    spent: dict[int, Cost] = {}
    for detail in details:
        run_id = refs[detail.killmail_id].run_id
        if run_id is not None:
            spent[run_id] = spent.get(run_id, Cost()) + detail.cost
    return {run_id: (cost.requests, cost.tokens) for run_id, cost in spent.items()}


def submit(killmail_id: int, killmail_hash: str) -> None:
    """Fetch a killmail that a person named, within the budget, in the calling thread.

    Raises:
        KillmailRefused: ESI says that the hash is wrong; nothing is remembered of it.
        esi.errors.EsiError: ESI cannot be asked now; the killmail is in the ledger and comes later by itself.
    """
    if ledger.is_fetched(killmail_id):
        return
    client = shared(settings_module.current())
    try:
        body, _cost = client.killmail(killmail_id, killmail_hash, backlog=False)
    except errors.InvalidHash:
        raise KillmailRefused(f"ESI knows no killmail {killmail_id} with this hash") from None
    except errors.EsiError as error:
        if error.transient:
            ledger.add_submitted(killmail_id, killmail_hash)
        raise
    ledger.add_submitted(killmail_id, killmail_hash, proven=True)
    if save_killmail(body, killmail_hash).names_wanted:
        lookup.ask_soon()


def _spread(seconds: float) -> float:
    """A little later than asked for, each differently, so that what waits together does not come back together."""
    return seconds + random.uniform(0.0, min(5.0, 0.2 * seconds + 0.5))  # noqa: S311


def _backoff(killmail_id: int) -> float:
    attempts = ledger.attempts_of(killmail_id)
    return float(min(6 * 3600, 30 * 2 ** min(attempts, 12)))
