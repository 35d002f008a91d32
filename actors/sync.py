"""One user's sync: a fresh token, the pages of the killmail list, their ids into the ledger. Details come after.

Told page by page in the log. A fault of ESI or the SSO puts the message back with a delay; the page cursor in the database
says where the walk goes on, so no page is asked for twice.
"""

from __future__ import annotations

import random
import uuid
from dataclasses import dataclass, field
from typing import Any

import dramatiq
from dramatiq.errors import Retry

import logs
import meters
import settings as settings_module
from actors import progress, schedule
from actors.broker import PERSON, USER_KILLMAILS
from actors.dispatch import dispatch
from actors.walk import Walk, begin
from esi import errors
from esi.client import EsiClient, shared
from models import ledger, runs, utcnow
from models.runs import ListState, PageState
from models.storage import newest_kill_time
from models.syncs import CHARACTER_LIST, RUNNING, WAITING
from models.users import ACTIVE, User
from sso.errors import Disabled, NeedsLogin, SsoAway
from sso.tokens import access_token

log = logs.get("sync")

#: A list is held this long without a sign of life, seconds: longer than one page can take with its refresh.
LEASE_SECONDS = 150.0
#: Unusable answers for the same list in a row before the run is given up; the next poll tries anew.
MOST_MALFORMED = 3


@dramatiq.actor(queue_name=USER_KILLMAILS, max_retries=20, notify_shutdown=True)
def sync_user_killmails(user_id: int, run_id: int | None = None, **_newer: Any) -> None:
    """Sync one user. A message for a user whose list another worker holds waits for that one to end."""
    message = dramatiq.middleware.CurrentMessage.get_current_message()
    message_id = str(message.message_id) if message else uuid.uuid4().hex
    holder = f"{message_id}:{uuid.uuid4().hex}"
    user = User.get_or_none(User.id == user_id)
    if user is None or user.status != ACTIVE:
        if run_id is not None:
            runs.fail(run_id, user_id, "the character needs to log in again")
        return
    leased = runs.lease_list(user_id, CHARACTER_LIST, user.character_id, holder, message_id, LEASE_SECONDS)
    if not isinstance(leased, ListState):
        if run_id is None or runs.is_open(run_id):
            raise Retry(delay=int(1000 * min(leased, 10.0)))
        return
    run_id = run_id if run_id is not None and runs.is_open(run_id) else runs.open_run(user_id)
    logs.about(run_id=run_id)
    log.info("processing user", character=user.character_name, character_id=user.character_id)
    sync = _Sync(user, run_id, leased, holder)
    try:
        sync.walk()
    except _TakenOver:
        log.info("sync taken over", user_id=user_id, run_id=run_id)
        return
    finally:
        runs.release_list(leased, holder)
    dispatch()
    progress.settle([run_id])


def request_sync(user_id: int, reason: str) -> int:
    """Ask for a sync of one user now, ahead of routine polls; the id of its run. One that is under way is joined."""
    from actors.enqueue import send_user

    run_id = runs.open_run(user_id)
    send_user(user_id, broker_priority=PERSON, run_id=run_id)
    log.info("sync requested", user_id=user_id, run_id=run_id, reason=reason)
    return run_id


class _TakenOver(Exception):
    """Another worker walks this list now, and goes on where this one stands."""


@dataclass
class _Sync:
    """The walk of one leased list."""

    user: Any
    run_id: int
    state: ListState
    holder: str
    client: EsiClient = field(default_factory=lambda: shared(settings_module.current()))
    settings: settings_module.Settings = field(default_factory=settings_module.current)
    token: str = ""
    page_one_expires: Any = None
    found: int = 0

    def walk(self) -> None:
        """Walk until the end, or until ESI or the SSO cannot be asked; then put the message back."""
        say = log.bind(user_id=self.user.id, character=self.user.character_name, run_id=self.run_id)
        say.info("fetching killmails from ESI")
        runs.set_status(self.run_id, self.user.id, RUNNING)
        walk = begin(self.state.next_page, self.state.walked_at, utcnow(), self.settings.max_pages)
        try:
            while walk.page is not None:
                self._page(walk, say)
        except errors.EsiError as error:
            self._count(error.cost)
            self._interrupted(error, say)
            return
        except SsoAway as error:
            self._wait(error.retry_after, str(error), say)
        except (NeedsLogin, Disabled) as error:
            runs.fail(self.run_id, self.user.id, str(error))
            meters.sync_ended("failed")
            say.warning("sync stopped", reason=str(error))
            return
        self._plan()
        runs.walked(self.run_id)
        say.info("pages done", pages=walk.last_page, killmails_found=self.found)

    def _page(self, walk: Walk, say: Any) -> None:
        page = walk.page
        assert page is not None
        known = runs.page_state(self.state.list_id, page)
        if known.expires_at is not None and known.expires_at > utcnow():
            # ESI would serve the same answer from its cache: what we know is the answer.
            meters.sync_page("cached")
            self._note(page, known)
            walk.saw(new_ids=0, items=0, last_page=known.pages)
        else:
            answer = self._ask(walk, page, known)
            self._count(answer.cost)
            meters.sync_page("unchanged" if answer.not_modified else "read")
            fresh = PageState(answer.etag, answer.last_modified, answer.expires_at, answer.pages or known.pages)
            if answer.not_modified:
                fresh = PageState(known.etag, known.last_modified, answer.expires_at, known.pages)
                say.info("page unchanged", page=page)
                walk.saw(new_ids=0, items=0, last_page=fresh.pages)
            else:
                recorded = self._record(walk, answer.refs)
                say.info("page read", page=page, killmails=len(answer.refs), new=recorded.new_to_ledger)
                walk.saw(
                    new_ids=recorded.new_to_list,
                    items=len(answer.refs),
                    last_page=answer.pages,
                    past_end=answer.past_end or not answer.refs,
                )
            runs.keep_page(self.state.list_id, page, fresh)
            self._note(page, fresh)
        ended = walk.is_history and walk.cursor is None and self.state.next_page is not None
        if walk.cursor != self.state.next_page or ended:
            runs.move_cursor(self.state, walk.cursor, walked=ended)
        if not runs.renew_lease(self.state, self.holder, LEASE_SECONDS):
            raise _TakenOver

    def _note(self, page: int, known: PageState) -> None:
        if page == 1:
            self.page_one_expires = known.expires_at

    def _record(self, walk: Walk, refs: list[tuple[int, str]]) -> ledger.Recorded:
        is_history = self.state.walked_at is None
        lane = ledger.lane_of(backlog=is_history, priority=self.user.priority)
        recorded = ledger.record_page(self.user.id, self.run_id, refs, lane)
        found = len({number for number, _ in refs})
        self.found += found
        runs.add_to_run(self.run_id, pages=1, found=found, skipped=found - recorded.new_to_ledger)
        if recorded.new_to_ledger:
            dispatch()
        return recorded

    def _ask(self, walk: Walk, page: int, known: PageState) -> Any:
        """One page; a token that ESI rejects is refreshed once, since it may have been revoked before its time."""
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
        except (errors.TokenRejected, errors.Forbidden) as error:
            self._count(error.cost)
            self.token = access_token(self.user.id, rejected=self.token)
            return self.client.killmail_list(self.state.kind, self.state.subject_id, self.token, page, **ask)

    def _count(self, cost: Any) -> None:
        if cost is not None and cost.requests:
            runs.add_to_run(self.run_id, esi_requests=cost.requests, esi_tokens=cost.tokens)

    def _interrupted(self, error: errors.EsiError, say: Any) -> None:
        """Put the message back for what passes; end the run for what does not."""
        if error.transient:
            self._wait(error.retry_after or 15.0, str(error), say)
        message = dramatiq.middleware.CurrentMessage.get_current_message()
        tries = int(message.options.get("retries", 0)) if message else MOST_MALFORMED
        if isinstance(error, errors.Malformed) and tries < MOST_MALFORMED:
            self._wait(10.0 * (tries + 1), str(error), say)
        runs.fail(self.run_id, self.user.id, str(error))
        meters.sync_ended("failed")
        say.warning("sync failed", reason=str(error))
        self._plan(hours=1)

    def _wait(self, seconds: float, reason: str, say: Any) -> None:
        """Put the message back: no thread sleeps out a missing token."""
        delay = seconds + random.uniform(0.0, min(3.0, 0.1 * seconds + 0.2))  # noqa: S311
        runs.set_status(self.run_id, self.user.id, WAITING, reason)
        say.info("sync waits", reason=reason, retry_in=round(delay, 1), next_page=self.state.next_page)
        raise Retry(delay=int(delay * 1000))

    def _plan(self, hours: int = 0) -> None:
        due = schedule.next_poll(
            utcnow(),
            floor_seconds=max(self.settings.sync_interval_seconds, hours * 3600),
            ceiling_seconds=self.settings.sync_ceiling_seconds,
            expires_at=self.page_one_expires,
            newest_kill=newest_kill_time(self.user.character_id),
            logged_in_at=self.user.logged_in_at,
            priority=self.user.priority,
        )
        if hours:
            runs.plan(self.user.id, due)
        else:
            runs.synced(self.user.id, due)
