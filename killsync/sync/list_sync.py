"""The sync of one killmail list, a character's or a corporation's: its pages, their ids into the ledger.

Each page is logged. A fault of ESI or the SSO sends the message back with a delay; the page cursor in the database says
where the pagination goes on, so no page is asked for twice. What differs between a character's list and a corporation's is
in a `ListOwner`. Whose turn is when is not decided here.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import nullcontext, suppress
from copy import copy
from dataclasses import replace
from datetime import datetime
from enum import Enum
from typing import Any

from dramatiq.errors import BrokerConnectionError, Retry

from killsync import settings as settings_module
from killsync.broker import queues
from killsync.broker.running import RunningMessage
from killsync.esi import errors
from killsync.esi.client import shared
from killsync.esi.responses import ListAnswer
from killsync.killmails import ledger, urgency
from killsync.killmails.dispatch import dispatch
from killsync.logging import get_logger
from killsync.names import batching
from killsync.observability import metrics
from killsync.sso.errors import Disabled, NeedsLogin, SsoAway, SsoDoubt, VaultError
from killsync.sso.refresh import access_token
from killsync.sync import lists, progress, runs, waiting
from killsync.sync.held_list import HeldList, TakenOver
from killsync.sync.list_owner import ListOwner, ListRead
from killsync.sync.lists import LeasedList, PageState
from killsync.sync.pagination import Walk, begin
from models import utcnow
from models.sync import CHARACTER_LIST, RUNNING, WAITING
from models.users import User

log = get_logger("sync")

#: Unusable answers for the same list in a row that are waited out; after one more the run fails, and the next poll tries anew.
MOST_MALFORMED = 3
#: How long a list that was sent is left alone when nothing is heard of its sync, seconds.
IN_FLIGHT_SECONDS = 900.0
#: A list that ESI refuses with 403 for no reason that it says is polled again after this long, seconds.
FORBIDDEN_SECONDS = 900.0
#: A list that could not be read for a reason that waiting does not cure is polled again after this long, seconds.
FAILED_SECONDS = 3600.0
_MALFORMED = "malformed_answers"


class Outcome(Enum):
    """How a sync ended: all pages were read, it cannot go on, another worker goes on, or a later poll goes on."""

    COMPLETED = "completed"
    FAILED = "failed"
    TAKEN_OVER = "taken over"
    DEFERRED = "deferred"


def sync_list(user: User, run_id: int, leased: LeasedList, owner: ListOwner, message: RunningMessage) -> Outcome:
    """Read a leased list's pages, give the list back and have what it named fetched.

    Args:
        user: whose token asks.
        run_id: the sync run that counts it.
        leased: the list; the lease ends here, whatever happens.
        owner: how this list differs from others.
        message: that asked for the sync.

    Raises:
        Retry: ESI or the SSO cannot be asked now; the message comes back.
    """
    sync = _ListSync(user, run_id, leased, owner, message)
    try:
        with nullcontext() if sync.is_first_walk else urgency.shared().fresh():
            outcome = sync.run()
    except TakenOver:
        log.info("sync taken over", user_id=user.id, run_id=run_id)
        return Outcome.TAKEN_OVER
    finally:
        lists.release(leased)
    dispatch()
    progress.shared().settle([run_id])
    if sync.found:
        # The names of its killmails may have waited for its pages to be read; when the broker is away, the sweep finds them.
        with suppress(BrokerConnectionError):
            batching.schedule_history()
    return outcome


class _ListSync:
    """One sync under way: the token it asks with, and what it has brought so far."""

    def __init__(self, user: User, run_id: int, leased: LeasedList, owner: ListOwner, message: RunningMessage) -> None:
        self._user, self._run_id, self._held = user, run_id, HeldList(leased, message)
        self._owner, self._message = owner, message
        self._settings = settings_module.current()
        self._client = shared(self._settings)
        self._token = ""
        self.found = 0
        self.is_first_walk = leased.walked_at is None
        #: Ids that were news to the list and that this sync has read: a page that only repeats them is no end of the news.
        self._news_read: set[int] = set()
        self._page_one_expires: datetime | None = None
        self._log = log.bind(user_id=user.id, character=user.character_name, run_id=run_id)
        if leased.kind != CHARACTER_LIST:
            self._log = self._log.bind(list=f"{leased.kind} {leased.subject_id}")

    def run(self) -> Outcome:
        """Read pages until the end, or until ESI or the SSO cannot be asked."""
        self._log.info("fetching killmails from ESI")
        runs.set_status(self._run_id, self._user.id, RUNNING)
        walk = begin(self._held.leased.next_page, self._held.leased.walked_at, utcnow(), self._settings.max_pages)
        try:
            while walk.page is not None:
                walk = self._read(walk, walk.page)
        except errors.EsiError as error:
            self._count(error.cost)
            return self._interrupted(error)
        except SsoAway as error:
            return self._wait(error.retry_after, error)
        except SsoDoubt as error:
            return self._failed(self._poll_later(error, error.retry_after), self._log.warning, "sync stopped")
        except (NeedsLogin, Disabled) as error:
            return self._failed(_reason(error), self._log.warning, "sync stopped")
        except VaultError as error:
            # Asking again is of no use before somebody puts the key back; the tokens stay as they are.
            return self._failed(self._poll_later(error), self._log.error, "sync stopped")
        self._held.change(self._complete)
        self._log.info("pages done", pages=walk.last_page, killmails_found=self.found)
        return Outcome.COMPLETED

    def _complete(self) -> None:
        news = 0 if self.is_first_walk else len(self._news_read)
        self._owner.schedule_next(ListRead(news, self._page_one_expires))
        runs.mark_pages_read(self._run_id)

    def _read(self, walk: Walk, page: int) -> Walk:
        """Read one page and remember what it said; where the pagination goes on."""
        if self.is_first_walk:
            urgency.shared().give_way()
        known = lists.page_state(self._held.leased.list_id, page)
        if known.expires_at is not None and known.expires_at > utcnow():
            # ESI would serve the same answer from its cache: what we know is the answer.
            metrics.sync_page("cached")
            return self._store(walk, page, None, known)
        answer = self._ask(walk, page, known)
        self._message.reset(_MALFORMED)
        if answer.not_modified:
            metrics.sync_page("unchanged")
            self._log.info("page unchanged", page=page)
            state = replace(known, expires_at=answer.expires_at)
        else:
            metrics.sync_page("read")
            state = PageState(answer.etag, answer.last_modified, answer.expires_at, answer.pages or known.pages)
        try:
            return self._store(walk, page, answer, state)
        except TakenOver:
            self._count(answer.cost)
            raise

    def _store(self, walk: Walk, page: int, answer: ListAnswer | None, state: PageState) -> Walk:
        """Remember a page in one transaction: its ids, its ETag, the cursor and the lease; then have its ids fetched.

        Were its ids remembered without the cursor, the next poll would find no news on page 1 and not look at page 2.

        Raises:
            TakenOver: another worker has the list; nothing was remembered.
        """
        leased = self._held.leased

        def remember() -> tuple[ledger.Recorded, Walk, datetime | None]:
            recorded = self._record(answer) if answer is not None else ledger.Recorded()
            after = copy(walk)
            if answer is None or answer.not_modified:
                after.advance(new_ids=0, items=0, last_page=state.pages, cached=answer is None)
            else:
                past_end = answer.past_end or not answer.refs
                ids = dict(answer.refs).keys()
                news = len(recorded.new_to_list | (ids & self._news_read))
                after.advance(new_ids=news, items=len(ids), last_page=answer.pages, past_end=past_end)
            if answer is not None:
                lists.store_page(leased.list_id, page, state)
            ended = after.is_history and after.cursor is None and leased.next_page is not None
            walked_at = utcnow() if ended else leased.walked_at
            if ended or after.cursor != leased.next_page:
                lists.move_cursor(leased, after.cursor, ended=ended)
            return recorded, after, walked_at

        recorded, after, walked_at = self._held.change(remember)
        self._held.leased = replace(leased, next_page=after.cursor, walked_at=walked_at)
        if page == 1:
            self._page_one_expires = state.expires_at
        if answer is not None and not answer.not_modified:
            self.found += len(dict(answer.refs))
            self._log.info("page read", page=page, killmails=len(answer.refs), new=recorded.new_to_ledger)
        self._news_read |= recorded.new_to_list
        if recorded.new_to_ledger:
            dispatch()
        return after

    def _record(self, answer: ListAnswer) -> ledger.Recorded:
        """Enter the ids of a page, and count them and what they cost."""
        if answer.not_modified:
            self._count(answer.cost)
            return ledger.Recorded()
        fetch_priority = ledger.fetch_priority_of(backlog=self.is_first_walk, priority=self._user.priority)
        recorded = self._owner.record(answer.refs, fetch_priority)
        found = len(dict(answer.refs))
        skipped = found - recorded.new_to_ledger
        cost = {"esi_requests": answer.cost.requests, "esi_tokens": answer.cost.tokens}
        runs.add_to_run(self._run_id, pages=1, found=found, skipped=skipped, **cost)
        return recorded

    def _ask(self, walk: Walk, page: int, known: PageState) -> ListAnswer:
        """One page; a token that ESI rejects is refreshed once."""
        if not self._token:
            self._token = access_token(self._user.id)
            self._held.keep()
        try:
            return self._ask_with_token(walk, page, known)
        except self._owner.cured_by_refresh as error:
            self._count(error.cost)
            self._held.keep()
            self._token = access_token(self._user.id, rejected=self._token)
            self._held.keep()
            return self._ask_with_token(walk, page, known)

    def _ask_with_token(self, walk: Walk, page: int, known: PageState) -> ListAnswer:
        context: dict[str, Any] = {
            "payer": self._user.character_id,
            "etag": known.etag,
            "last_modified": known.last_modified,
            "backlog": walk.is_backlog,
        }
        return self._client.killmail_list(
            self._held.leased.kind, self._held.leased.subject_id, self._token, page, **context
        )

    def _count(self, cost: errors.Cost) -> None:
        if cost.requests:
            runs.add_to_run(self._run_id, esi_requests=cost.requests, esi_tokens=cost.tokens)

    def _interrupted(self, error: errors.EsiError) -> Outcome:
        """Wait for what passes; end the run for what does not."""
        seconds = error.retry_after or 15.0
        if isinstance(error, errors.Downtime) and error.alone and seconds > queues.MOST_DELAY_SECONDS:
            # ESI answers everybody else: it may take hours until somebody mends this one list.
            return self._failed(self._poll_later(error, seconds), self._log.warning, "sync failed")
        if error.transient:
            return self._wait(seconds, error)
        if isinstance(error, errors.Malformed):
            number = self._message.increment(_MALFORMED)
            if number <= MOST_MALFORMED:
                return self._wait(10.0 * number, error)
        if isinstance(error, errors.Forbidden):
            if self._owner.on_forbidden is not None:
                # Before the transaction that ends the run, since it may ask ESI; whoever has lost the list concludes nothing.
                self._held.change(lambda: None)
                reason = self._owner.on_forbidden(error)
                return self._failed(lambda: reason, self._log.info, "list refused")
            # The scope is there, since nobody can untick it: it is trouble of ESI or the SSO, and passes.
            return self._failed(self._poll_later(error, FORBIDDEN_SECONDS), self._log.warning, "sync failed")
        return self._failed(self._poll_later(error), self._log.warning, "sync failed")

    def _poll_later(self, error: Exception, seconds: float = FAILED_SECONDS) -> Callable[[], str]:
        """Schedules the next poll after an error that waiting does not cure; gives the reason."""

        def work() -> str:
            self._owner.poll_in(seconds)
            return str(error)

        return work

    def _failed(self, conclude: Callable[[], str], write: Callable[..., None], event: str) -> Outcome:
        """End the run for a reason that waiting does not cure; *conclude* notes what follows from it and gives it."""

        def work() -> str:
            reason = conclude()
            runs.fail(self._run_id, self._user.id, reason)
            return reason

        reason = self._held.change(work)
        metrics.sync_ended("failed")
        write(event, reason=reason)
        return Outcome.FAILED

    def _wait(self, seconds: float, error: Exception) -> Outcome:
        """Send the message back, since no thread sleeps out a missing token; a longer wait is left to the next poll.

        Raises:
            Retry: this worker has the list, so this message is the one that goes on with it; unless the wait is longer than
                a message may take in the broker.
            TakenOver: another has it, by the same message, which must not exist twice.
        """
        delay = seconds + random.uniform(0.0, min(3.0, 0.1 * seconds + 0.2))  # noqa: S311
        is_long = delay > queues.MOST_DELAY_SECONDS and not self._settings.uses_memory_broker

        def work() -> None:
            runs.set_status(self._run_id, self._user.id, WAITING, waiting.words(error, delay, utcnow()))
            if is_long:
                self._owner.poll_in(delay)
            else:
                self._owner.hold(delay + IN_FLIGHT_SECONDS)

        if is_long:
            self._held.change(work)
        else:
            self._held.wait(work)
        self._log.info("sync waits", reason=str(error), retry_in=round(delay, 1), next_page=self._held.leased.next_page)
        if is_long:
            return Outcome.DEFERRED
        raise Retry(delay=int(delay * 1000))


def _reason(error: Exception) -> Callable[[], str]:
    return lambda: str(error)
