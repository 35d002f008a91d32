"""The ledger: every killmail id a list ever named, in what state it is, and which are due to be fetched next.

The queue only carries what was claimed here, so a lost message is sent again and a doubled one finds nothing to do. Rows are
locked in order of id everywhere, so that two workers never wait for each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from peewee import EXCLUDED, Select, fn

from killsync.killmails.store import enter_new
from models.db import in_statement, in_transaction
from models.exactly_once import in_transaction_once
from models.expressions import locked, now, one_of
from models.fields import LONG_AGO, from_any
from models.killmails import FETCHED, INVALID, PENDING, KillmailRef
from models.prepared import Ids, Prepared

#: Fetch priorities, most urgent first: a killmail that just happened goes before history, a priority user's before another's.
FRESH_PRIORITY, FRESH, BACKLOG_PRIORITY, BACKLOG = 0, 1, 2, 3

#: How long a sent message may stay unanswered before its killmail is sent again, seconds.
CLAIM_SECONDS = 180.0
#: How long whoever claimed a killmail may take to send it, seconds: one who died before is noticed so much sooner.
SENDING_SECONDS = 25.0
#: A hash is believed wrong only when ESI refused it twice, this many seconds apart; under load it refuses right ones.
REFUSAL_SECONDS = 2 * 3600.0

_IS_PENDING = KillmailRef.state == PENDING


def fetch_priority_of(*, backlog: bool, priority: int) -> int:
    """The fetch priority of a killmail first named by a poll (fresh) or by a first walk (backlog), for a user of *priority*."""
    return (BACKLOG_PRIORITY if backlog else FRESH_PRIORITY) + (0 if priority > 0 else 1)


@dataclass(frozen=True)
class Recorded:
    """What a page of a list brought: the ids new to this list, and how many ids are new to Killsync altogether."""

    new_to_list: frozenset[int] = frozenset()
    new_to_ledger: int = 0


def record_page(
    owner_id: int,
    run_id: int | None,
    refs: Sequence[tuple[int, str]],
    fetch_priority: int,
    *,
    of_corporation: bool = False,
) -> Recorded:
    """Enter the (id, hash) pairs of one page. Repeats, within the page or with earlier ones, do no harm.

    Args:
        owner_id: the user whose list it is, or with *of_corporation* the corporation. A Director's own list and the
            corporation's are two: what one named is still news to the other.
        run_id: the sync run that asked.
        refs: the pairs.
        fetch_priority: of those that are new.
        of_corporation: whose list it is.
    """
    unique = sorted(dict(refs).items())
    if not unique:
        return Recorded()
    return in_transaction(lambda: _record(owner_id, run_id, unique, fetch_priority, of_corporation))


def _record(
    owner_id: int, run_id: int | None, unique: list[tuple[int, str]], fetch_priority: int, of_corporation: bool
) -> Recorded:
    entered = enter_new(
        "killmail_ref",
        # `discovered_at` is the table's own default, the database's clock.
        ("killmail_id", "killmail_hash", "state", "attempts", "lane", "due_at", "run_id"),
        [(number, digest, PENDING, 0, fetch_priority, LONG_AGO, run_id) for number, digest in unique],
    )
    named = enter_new(
        "corporation_killmail" if of_corporation else "user_killmail",
        ("corporation_id" if of_corporation else "user_id", "killmail_id"),
        [(owner_id, number) for number, _ in unique],
    )
    if len(entered) < len(unique):
        _reconsider(dict(unique), entered, named, fetch_priority)
    return Recorded(new_to_list=frozenset(named), new_to_ledger=len(entered))


def _reconsider(listed: dict[int, str], entered: set[int], new_to_list: set[int], fetch_priority: int) -> None:
    """A known id may have become urgent, or a list may now give another hash than the one ESI refused.

    Urgent is what just came to a list; history that the same list names again at each poll stays history.
    """
    known = [number for number in listed if number not in entered]
    unfetched = KillmailRef.select(
        KillmailRef.killmail_id, KillmailRef.killmail_hash, KillmailRef.fetch_priority
    ).where(KillmailRef.state != FETCHED, one_of(KillmailRef.killmail_id, known))
    for ref in unfetched.order_by(KillmailRef.killmail_id).namedtuples():
        this = KillmailRef.killmail_id == ref.killmail_id
        if ref.killmail_hash != listed[ref.killmail_id]:
            KillmailRef.update(
                killmail_hash=listed[ref.killmail_id], state=PENDING, refused_at=None, last_error=None, due_at=now()
            ).where(this, KillmailRef.state != FETCHED).execute()
        if fetch_priority < ref.fetch_priority and ref.killmail_id in new_to_list:
            KillmailRef.update(fetch_priority=fetch_priority).where(this).execute()


def add_submitted(killmail_id: int, killmail_hash: str, *, proven: bool = False) -> None:
    """Enter one id that a person submitted.

    Args:
        killmail_id: its id.
        killmail_hash: the hash that the person gave. What a list said counts more, unless ESI took this one.
        proven: ESI answered for this hash, and the caller saves what it said.
    """
    # A caller that has the killmail in hand saves it in a moment; no worker shall fetch it meanwhile.
    entering = KillmailRef.insert(
        killmail_id=killmail_id,
        killmail_hash=killmail_hash,
        fetch_priority=FRESH_PRIORITY,
        due_at=now(60.0 if proven else 0.0),
    )
    if proven:
        entering = entering.on_conflict(
            conflict_target=[KillmailRef.killmail_id],
            update={KillmailRef.killmail_hash: EXCLUDED.killmail_hash},
            where=KillmailRef.state != FETCHED,
        )
    else:
        entering = entering.on_conflict(action="nothing")
    in_transaction(entering.as_rowcount().execute)


def is_fetched(killmail_id: int) -> bool:
    """Whether the killmail is stored."""
    return bool(
        KillmailRef.select().where(KillmailRef.killmail_id == killmail_id, KillmailRef.state == FETCHED).exists()
    )


def claim(limit: int, *, backlog: bool) -> list[int]:
    """Take up to *limit* due killmails, most urgent first; they are the caller's for SENDING_SECONDS, to send."""
    if limit <= 0:
        return []
    most, least = (BACKLOG_PRIORITY, BACKLOG) if backlog else (FRESH_PRIORITY, FRESH)
    taken = in_transaction_once(lambda: _CLAIM.rows(most, least, limit))
    return [killmail_id for _, killmail_id in sorted(taken, key=lambda ref: (ref[0], -ref[1]))]


def _claiming(most: Any, least: Any, limit: Any) -> Any:
    is_due = _IS_PENDING & KillmailRef.fetch_priority.between(most, least) & (KillmailRef.due_at <= now())
    urgent_first = KillmailRef.fetch_priority, KillmailRef.killmail_id.desc()
    due = KillmailRef.select(KillmailRef.killmail_id).where(is_due).order_by(*urgent_first).limit(limit)
    claiming = KillmailRef.update(due_at=now(SENDING_SECONDS), sent_at=now())
    chosen = KillmailRef.killmail_id.in_(locked(due, skip=True))
    return claiming.where(chosen).returning(KillmailRef.fetch_priority, KillmailRef.killmail_id)


_CLAIM = Prepared(_claiming, lists=0, values=3)


def mark_sent(killmail_ids: Sequence[int]) -> None:
    """Claimed killmails are with the workers now, for CLAIM_SECONDS; what was answered meanwhile is left alone."""
    if killmail_ids:
        in_statement(lambda: _MARK_SENT.run(killmail_ids))


def _updating(chosen: Any, *conditions: Any, **values: Any) -> Any:
    """Updates those of the *chosen* killmails that are pending."""
    found = KillmailRef.select(KillmailRef.killmail_id).where(chosen, _IS_PENDING, *conditions)
    ids = locked(found.order_by(KillmailRef.killmail_id))
    return KillmailRef.update(**values).where(KillmailRef.killmail_id.in_(ids))


_IS_SENT = KillmailRef.sent_at.is_null(False)
_MARK_SENT = Prepared(lambda ids: _updating(ids.have(KillmailRef.killmail_id), _IS_SENT, due_at=now(CLAIM_SECONDS)))


def _update_pending(killmail_ids: Sequence[int], *conditions: Any, **values: Any) -> None:
    """Update those of *killmail_ids* that are pending."""
    in_transaction(_updating(one_of(KillmailRef.killmail_id, killmail_ids), *conditions, **values).execute)


def count_sent() -> int:
    """How many killmails are with the workers now: sent, not yet answered, not overdue."""
    ((number,),) = _COUNT_SENT.rows()
    return int(number)


_COUNT_SENT = Prepared(
    lambda: KillmailRef.select(fn.COUNT(KillmailRef.killmail_id)).where(
        _IS_PENDING, _IS_SENT, KillmailRef.due_at > now()
    ),
    lists=0,
)


def has_due() -> bool:
    """Whether any killmail waits to be sent."""
    ((found,),) = _HAS_DUE.rows()
    return bool(found)


_HAS_DUE = Prepared(
    lambda: Select([], [fn.EXISTS(KillmailRef.select().where(_IS_PENDING, KillmailRef.due_at <= now()))]), lists=0
)


@dataclass(frozen=True)
class Pending:
    """A killmail still to be fetched, as it stood when a worker took it up.

    Attributes:
        killmail_hash: that ESI is asked with. A list may name another one meanwhile.
        attempts: how many unusable answers ESI has given for it so far.
        sent_at: when it was claimed to be sent. One that took too long is claimed again for another worker.
    """

    killmail_id: int
    killmail_hash: str
    fetch_priority: int
    run_id: int | None
    attempts: int
    sent_at: datetime | None


def pending(killmail_ids: Sequence[int], *, taken_over: bool = False) -> list[Pending]:
    """Those of *killmail_ids* that are still to be fetched, in their order.

    *taken_over*: the message that names them was with another worker before. From now on they are claimed for this one
    alone: should the other still be at it, what it saves counts, and it puts nothing back.
    """
    if taken_over:
        _update_pending(killmail_ids, _IS_SENT, sent_at=now(), due_at=now(CLAIM_SECONDS))
    rows = ((*row[:-1], from_any(row[-1])) for row in _PENDING.rows(killmail_ids))
    found = {row[0]: Pending(*row) for row in rows}
    return [found[number] for number in dict.fromkeys(killmail_ids) if number in found]


def _pending_rows(ids: Ids) -> Any:
    columns = [getattr(KillmailRef, field.name) for field in fields(Pending)]
    return KillmailRef.select(*columns).where(ids.have(KillmailRef.killmail_id), _IS_PENDING)


_PENDING = Prepared(_pending_rows)


def release(refs: Sequence[Pending], seconds: float) -> None:
    """ESI could not be asked now, through no fault of these killmails: due again in *seconds*, no attempt counted.

    Those that were claimed for another worker since, or have another hash by now, are not this worker's to release.
    """
    for sent_at in dict.fromkeys(ref.sent_at for ref in refs):
        theirs = [ref for ref in refs if ref.sent_at == sent_at]
        _update_pending([ref.killmail_id for ref in theirs], *_as_taken(theirs), sent_at=None, due_at=now(seconds))


def _as_taken(refs: Sequence[Pending]) -> tuple[Any, ...]:
    """That killmails, claimed at one moment, still stand as a worker took them up."""
    return KillmailRef.sent_at == refs[0].sent_at, KillmailRef.killmail_hash.in_([ref.killmail_hash for ref in refs])


def record_failure(ref: Pending, reason: str, seconds: float) -> None:
    """The answer for this killmail was unusable: note why, count the attempt, due again in *seconds*.

    Not where it was claimed for another worker since, or has another hash by now.
    """
    _update_pending(
        [ref.killmail_id],
        *_as_taken([ref]),
        attempts=KillmailRef.attempts + 1,
        last_error=reason[:500],
        sent_at=None,
        due_at=now(seconds),
    )


def record_refusal(ref: Pending, reason: str) -> bool:
    """ESI refused the hash (422). True when that was the second time, far enough apart: the id is now `invalid`.

    Nothing is changed where a list gave another hash meanwhile: that one was not refused.
    """
    same = (KillmailRef.killmail_id == ref.killmail_id) & (KillmailRef.killmail_hash == ref.killmail_hash)
    this = same & _IS_PENDING
    refused: dict[str, Any] = {"attempts": KillmailRef.attempts + 1, "last_error": reason[:500], "sent_at": None}

    def work() -> bool:
        is_second = KillmailRef.refused_at <= now(-REFUSAL_SECONDS * 0.95)
        if KillmailRef.update(state=INVALID, **refused).where(this, is_second).execute():
            return True
        KillmailRef.update(
            refused_at=fn.COALESCE(KillmailRef.refused_at, now()), due_at=now(REFUSAL_SECONDS), **refused
        ).where(this).execute()
        return False

    return in_transaction_once(work)
