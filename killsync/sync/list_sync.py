"""The walk over one leased killmail list, a character's or a corporation's: pages, their ids into the ledger.

Told page by page in the log. A fault of ESI or the SSO puts the message back with a delay; the page cursor in the database
says where the walk goes on, so no page is asked for twice. Whose turn is when is the business of `actors.sync` and
`actors.corporations`, which complete the class.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar

import dramatiq
from dramatiq.errors import Retry

from killsync import settings as settings_module
from killsync.esi import errors
from killsync.esi.client import EsiClient, shared
from killsync.esi.responses import ListAnswer
from killsync.killmails import ledger
from killsync.killmails.dispatch import dispatch
from killsync.logging import get_logger
from killsync.observability import metrics
from killsync.settings import Settings
from killsync.sso.errors import Disabled, NeedsLogin, SsoAway, VaultError
from killsync.sso.refresh import access_token
from killsync.sync import progress, runs
from killsync.sync.pagination import Walk, begin
from killsync.sync.runs import ListState, PageState
from killsync.sync.schedule import Pace
from models import in_transaction, utcnow
from models.sync import RUNNING, WAITING

log = get_logger("sync")

#: A list is held this long without a sign of life, seconds: longer than one page can take with its refresh.
LEASE_SECONDS = 150.0
#: Unusable answers for the same list in a row before the run is given up; the next poll tries anew.
MOST_MALFORMED = 3
#: How long a list that was sent is left alone when nothing is heard of its sync, seconds.
IN_FLIGHT_SECONDS = 900.0


def seconds_to_come_back(leased: float, tries: int) -> float:
    """When a message comes back whose list another worker holds: soon at first, since most walks take a second or two.

    Args:
        leased: how long the lease runs on, seconds.
        tries: how often the message has come back already.
    """
    return min(leased, 2.0 ** min(tries, 3))


def come_back(leased: float) -> Retry:
    """What to raise for the message that runs now when another worker holds its list for *leased* seconds more."""
    message = dramatiq.middleware.CurrentMessage.get_current_message()
    tries = int(message.options.get("retries", 0)) if message else 0
    return Retry(delay=int(1000 * seconds_to_come_back(leased, tries)))


def pace_of(settings: Settings) -> Pace:
    """The pace that the settings ask for."""
    floor = float(settings.sync_interval_seconds)
    return Pace(floor, max(floor, float(settings.sync_ceiling_seconds)), float(settings.sync_busy_gap_seconds))


class TakenOver(Exception):
    """Another worker walks this list now, and goes on where this one stands."""


@dataclass
class ListWalk:
    """The walk of one leased list.

    Attributes:
        user: whose token asks.
        run_id: the sync run it belongs to.
        state: the list.
        holder: of the lease.
        found: ids that its pages named.
        news: of them new to the list, history not counted.
    """

    #: Errors that a fresh token may cure: it may have been revoked before its time.
    curable: ClassVar[tuple[type[errors.EsiError], ...]] = (errors.TokenRejected,)

    user: Any
    run_id: int
    state: ListState
    holder: str
    client: EsiClient = field(default_factory=lambda: shared(settings_module.current()))
    settings: Settings = field(default_factory=settings_module.current)
    token: str = ""
    page_one_expires: datetime | None = None
    found: int = 0
    news: int = 0

    def record(self, refs: list[tuple[int, str]], fetch_priority: int) -> ledger.Recorded:
        """Enter a page's ids."""
        raise NotImplementedError

    def plan(self, *, hours: int = 0) -> None:
        """Plan the next poll: after a walk that got through, or in *hours* after one that did not."""
        raise NotImplementedError

    def hold(self, seconds: float) -> None:
        """The message comes back in *seconds*: until then the list is nobody else's."""
        raise NotImplementedError

    def walk(self) -> bool:
        """Walk until the end, or until ESI or the SSO cannot be asked; then put the message back. True at the end."""
        say = log.bind(user_id=self.user.id, character=self.user.character_name, run_id=self.run_id)
        if self.state.kind != "character":
            say = say.bind(list=f"{self.state.kind} {self.state.subject_id}")
        say.info("fetching killmails from ESI")
        runs.set_status(self.run_id, self.user.id, RUNNING)
        walk = begin(self.state.next_page, self.state.walked_at, utcnow(), self.settings.max_pages)
        try:
            while walk.page is not None:
                self._page(walk, say)
        except errors.EsiError as error:
            self._count(error.cost)
            self.interrupted(error, say)
            return False
        except SsoAway as error:
            self._wait(error.retry_after, str(error), say)
        except (NeedsLogin, Disabled) as error:
            runs.fail(self.run_id, self.user.id, str(error))
            metrics.sync_ended("failed")
            say.warning("sync stopped", reason=str(error))
            return False
        except VaultError as error:
            # Asking again is of no use before somebody puts the key back; the tokens stay as they are.
            runs.fail(self.run_id, self.user.id, str(error))
            metrics.sync_ended("failed")
            say.error("sync stopped", reason=str(error))
            self.plan(hours=1)
            return False
        self.plan()
        runs.mark_pages_read(self.run_id)
        say.info("pages done", pages=walk.last_page, killmails_found=self.found)
        return True

    def _page(self, walk: Walk, say: Any) -> None:
        page = walk.page
        assert page is not None
        known = runs.page_state(self.state.list_id, page)
        heard: PageState | None = None
        if known.expires_at is not None and known.expires_at > utcnow():
            # ESI would serve the same answer from its cache: what we know is the answer.
            metrics.sync_page("cached")
            self._note(page, known)
            walk.saw(new_ids=0, items=0, last_page=known.pages)
        else:
            answer = self._ask(walk, page, known)
            metrics.sync_page("unchanged" if answer.not_modified else "read")
            heard = PageState(answer.etag, answer.last_modified, answer.expires_at, answer.pages or known.pages)
            if answer.not_modified:
                self._count(answer.cost)
                heard = PageState(known.etag, known.last_modified, answer.expires_at, known.pages)
                say.info("page unchanged", page=page)
                walk.saw(new_ids=0, items=0, last_page=heard.pages)
            else:
                recorded = self._record(answer)
                say.info("page read", page=page, killmails=len(answer.refs), new=recorded.new_to_ledger)
                walk.saw(
                    new_ids=recorded.new_to_list,
                    items=len(answer.refs),
                    last_page=answer.pages,
                    past_end=answer.past_end or not answer.refs,
                )
            self._note(page, heard)
        ended = walk.is_history and walk.cursor is None and self.state.next_page is not None
        moves = walk.cursor != self.state.next_page or ended

        def remember() -> bool:
            if heard is not None:
                runs.store_page(self.state.list_id, page, heard)
            if moves:
                runs.move_cursor(self.state, walk.cursor, walked=ended)
            return runs.renew_lease(self.state, self.holder, LEASE_SECONDS)

        if not in_transaction(remember):
            raise TakenOver

    def _note(self, page: int, known: PageState) -> None:
        if page == 1:
            self.page_one_expires = known.expires_at

    def _record(self, answer: ListAnswer) -> ledger.Recorded:
        """Enter the ids of a page, and count them and what they cost, in one transaction; then have them fetched."""
        is_history = self.state.walked_at is None
        fetch_priority = ledger.fetch_priority_of(backlog=is_history, priority=self.user.priority)
        found = len({number for number, _ in answer.refs})

        def enter() -> ledger.Recorded:
            recorded = self.record(answer.refs, fetch_priority)
            skipped = found - recorded.new_to_ledger
            cost = {"esi_requests": answer.cost.requests, "esi_tokens": answer.cost.tokens}
            runs.add_to_run(self.run_id, pages=1, found=found, skipped=skipped, **cost)
            return recorded

        recorded = in_transaction(enter)
        self.found += found
        if not is_history:
            self.news += recorded.new_to_list
        if recorded.new_to_ledger:
            dispatch()
        return recorded

    def _ask(self, walk: Walk, page: int, known: PageState) -> Any:
        """One page; a token that ESI rejects is refreshed once."""
        if not self.token:
            self.token = access_token(self.user.id)
        ask: dict[str, Any] = {
            "payer": self.user.character_id,
            "etag": known.etag,
            "last_modified": known.last_modified,
            "backlog": walk.is_backlog,
        }
        try:
            return self.client.killmail_list(self.state.kind, self.state.subject_id, self.token, page, **ask)
        except self.curable as error:
            self._count(error.cost)
            self.token = access_token(self.user.id, rejected=self.token)
            return self.client.killmail_list(self.state.kind, self.state.subject_id, self.token, page, **ask)

    def _count(self, cost: Any) -> None:
        if cost is not None and cost.requests:
            runs.add_to_run(self.run_id, esi_requests=cost.requests, esi_tokens=cost.tokens)

    def interrupted(self, error: errors.EsiError, say: Any) -> None:
        """Put the message back for what passes; end the run for what does not."""
        if error.transient:
            self._wait(error.retry_after or 15.0, str(error), say)
        message = dramatiq.middleware.CurrentMessage.get_current_message()
        tries = int(message.options.get("retries", 0)) if message else MOST_MALFORMED
        if isinstance(error, errors.Malformed) and tries < MOST_MALFORMED:
            self._wait(10.0 * (tries + 1), str(error), say)
        runs.fail(self.run_id, self.user.id, str(error))
        metrics.sync_ended("failed")
        say.warning("sync failed", reason=str(error))
        self.plan(hours=1)

    def _wait(self, seconds: float, reason: str, say: Any) -> None:
        """Put the message back: no thread sleeps out a missing token."""
        delay = seconds + random.uniform(0.0, min(3.0, 0.1 * seconds + 0.2))  # noqa: S311
        runs.set_status(self.run_id, self.user.id, WAITING, reason)
        self.hold(delay + IN_FLIGHT_SECONDS)
        say.info("sync waits", reason=reason, retry_in=round(delay, 1), next_page=self.state.next_page)
        raise Retry(delay=int(delay * 1000))


def carry_out(sync: ListWalk) -> bool | None:
    """Walk a leased list, hand it back and have what it named fetched; whether it got through, None if it was taken over."""
    try:
        got_through = sync.walk()
    except TakenOver:
        log.info("sync taken over", user_id=sync.user.id, run_id=sync.run_id)
        return None
    finally:
        runs.release_list(sync.state, sync.holder)
    dispatch()
    progress.settle([sync.run_id])
    return got_through
