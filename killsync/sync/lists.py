"""Queries of killmail lists: who holds the lease of a list, where its pagination stands, what ESI said of each page.

A lease keeps two workers from reading one list at once. Nothing here asks ESI, and nothing decides which page comes next.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from peewee import Alias, fn

from models.db import in_transaction
from models.expressions import at, locked, now
from models.fields import from_any, utcnow
from models.sync import ListPage, MailList
from models.users import User


@dataclass(frozen=True)
class LeasedList:
    """A killmail list that *holder* may read: what it lists, and where its pagination stands.

    Attributes:
        list_id: its row.
        kind, subject_id: whose killmails it names, as `models.sync` says.
        holder: of the lease.
        user_id: by whose token it is read.
        next_page: where an unfinished pagination goes on; None when none is unfinished.
        walked_at: when it was last read to its end; None for never.
    """

    list_id: int
    kind: str
    subject_id: int
    holder: str
    user_id: int
    next_page: int | None
    walked_at: datetime | None


@dataclass(frozen=True)
class LeaseAttempt:
    """What became of asking for a list: it is leased, or another worker holds it for *held_seconds* more."""

    leased: LeasedList | None
    held_seconds: float = 0.0


@dataclass(frozen=True)
class PageState:
    """What ESI last said of one page; all None when it was never asked for."""

    etag: str | None = None
    last_modified: str | None = None
    expires_at: datetime | None = None
    pages: int | None = None


def lease(user_id: int, kind: str, subject_id: int, holder: str, message_id: str, seconds: float) -> LeaseAttempt:
    """Take the list for *seconds*, to be read by the token of *user_id*.

    *holder* begins with *message_id*. A message that comes again was taken from a worker that died or lost the broker:
    whoever has it now takes the lease over at once. The list of a user who is gone is leased to nobody.
    """
    is_this_list = (MailList.kind == kind) & (MailList.subject_id == subject_id)
    mark = f"{message_id}:"
    is_free = (
        MailList.leased_until.is_null()
        | (MailList.leased_until <= now())
        | (fn.substr(MailList.leased_by, 1, len(mark)) == mark)
    )
    columns = (MailList.id, MailList.next_page, MailList.walked_at)

    def work() -> LeaseAttempt:
        if not _lock_user(user_id):
            return LeaseAttempt(None, 1.0)
        MailList.insert(user_id=user_id, kind=kind, subject_id=subject_id, next_page=1).on_conflict_ignore().execute()
        taken = MailList.update(leased_by=holder, leased_until=now(seconds), user_id=user_id).where(
            is_this_list & is_free
        )
        for row in taken.returning(*columns).execute():
            return LeaseAttempt(LeasedList(row.id, kind, subject_id, holder, user_id, row.next_page, row.walked_at))
        held: Any = MailList.select(MailList.leased_until, Alias(now(), "database_now")).where(is_this_list)
        row = held.namedtuples().get()
        database_now = from_any(row.database_now)
        left = (row.leased_until - database_now).total_seconds() if row.leased_until and database_now else 0.0
        return LeaseAttempt(None, max(1.0, left))

    return in_transaction(work)


def _lock_user(user_id: int) -> bool:
    """Keep the user from being deleted until the transaction ends; False when that has happened already.

    Always before their lists are locked, in the order in which an account is deleted: of the two, one waits for the other.
    """
    return locked(User.select(User.id).where(User.id == user_id)).first() is not None


def renew(leased: LeasedList, seconds: float) -> bool:
    """Keep the list for *seconds* more; False when another worker has taken it over, or the user was deleted.

    In a transaction both stay as they are until it ends.
    """
    held = (MailList.id == leased.list_id) & (MailList.leased_by == leased.holder)
    renewing = MailList.update(leased_until=now(seconds)).where(held)
    return in_transaction(lambda: _lock_user(leased.user_id) and bool(renewing.execute()))


def release(leased: LeasedList) -> None:
    """Give the list back; one that another worker has taken over stays with that worker."""
    held = (MailList.id == leased.list_id) & (MailList.leased_by == leased.holder)
    in_transaction(MailList.update(leased_by=None, leased_until=None).where(held).execute)


def move_cursor(leased: LeasedList, next_page: int | None, walked_at: datetime | None) -> None:
    """Remember where the pagination goes on, None for its end, and when the list was last read to its end."""
    moved = MailList.update(next_page=next_page, walked_at=walked_at)
    in_transaction(moved.where((MailList.id == leased.list_id) & (MailList.leased_by == leased.holder)).execute)


def page_state(list_id: int, page: int) -> PageState:
    """What ESI last said of the page."""
    row = (
        ListPage.select(ListPage, Alias(now(), "database_now"))
        .where((ListPage.list_id == list_id) & (ListPage.page == page))
        .namedtuples()
        .first()
    )
    if row is None:
        return PageState()
    expires_at, database_now = row.expires_at, from_any(row.database_now)
    if expires_at is not None and database_now is not None:
        # Stored by the database's clock; the host that reads it may have another one than the host that wrote it.
        expires_at += utcnow() - database_now
    return PageState(row.etag, row.last_modified, expires_at, row.pages)


def store_page(list_id: int, page: int, state: PageState) -> None:
    """Remember what ESI said of the page, in the transaction that records the page's ids: never before them."""
    values = {
        "etag": state.etag,
        "last_modified": state.last_modified,
        "expires_at": at(state.expires_at) if state.expires_at else None,
        "pages": state.pages,
    }
    stored = ListPage.insert(list_id=list_id, page=page, **values).on_conflict(
        conflict_target=(ListPage.list_id, ListPage.page),
        preserve=(ListPage.etag, ListPage.last_modified, ListPage.expires_at, ListPage.pages),
    )
    in_transaction(stored.execute)
