"""Queries of killmail lists: who holds the lease of a list, where its pagination stands, what ESI said of each page.

A lease keeps two workers from reading one list at once. Nothing here asks ESI, and nothing decides which page comes next.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from peewee import Alias, Node, Value, fn

from models.db import in_statement, in_transaction
from models.exactly_once import in_transaction_once
from models.expressions import locked, now
from models.fields import from_any, utcnow
from models.prepared import Prepared
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
        walked_at: when it was last read to its end, by this host's clock; None for never.
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
    """What became of asking for a list.

    Attributes:
        leased: the list, if this worker has it now.
        held_seconds: otherwise, for how much longer another worker holds it.
        is_overtaken: another copy of the same message goes on with it.
    """

    leased: LeasedList | None
    held_seconds: float = 0.0
    is_overtaken: bool = False


@dataclass(frozen=True)
class PageState:
    """What ESI last said of one page; all None when it was never asked for."""

    etag: str | None = None
    last_modified: str | None = None
    expires_at: datetime | None = None
    pages: int | None = None


@dataclass(frozen=True)
class Copy:
    """A delivery of a message that asks for a list. The broker delivers one again whose worker it has lost; that worker may
    still be at it, or have sent the message back to wait.

    Attributes:
        message_id: the same of each.
        known_by: the marks by which the list may know it, since it was sent back, to wait or since its worker's database went
            away; none for one that never was.
        redelivered: the broker delivers it again.
        holder: a new mark, by which it holds the list if it is given it; empty for whichever.
    """

    message_id: str
    known_by: tuple[str, ...] = ()
    redelivered: bool = False
    holder: str = ""


def new_mark(message_id: str) -> str:
    """A new mark, by which one copy is told from all others of its message."""
    return f"{message_id}:{uuid.uuid4().hex}"


def lease(user_id: int, kind: str, subject_id: int, asked: Copy, seconds: float) -> LeaseAttempt:
    """Take the list for *seconds*, to be read by the token of *user_id*.

    Of all copies of a message one goes on with the list. One that is delivered again takes it over at once, since the worker
    that had it most likely died; any other leaves it alone where the list knows of a later copy, at work or waiting, and goes
    on with it where the list knows this one. The list of a user who is gone is leased to nobody.
    """
    is_this_list = (MailList.kind == kind) & (MailList.subject_id == subject_id)
    prefix = f"{asked.message_id}:"
    is_of_message = fn.COALESCE(fn.substr(MailList.leased_by, 1, len(prefix)) == prefix, False)
    is_free = MailList.leased_until.is_null() | (MailList.leased_until <= now())
    is_known = MailList.leased_by.in_(asked.known_by) if asked.known_by else Value(False)
    holder = asked.holder or new_mark(asked.message_id)
    may_take = is_free | is_of_message if asked.redelivered else is_free & ~is_of_message | is_known
    columns = (MailList.id, MailList.next_page, MailList.walked_at, Alias(now(), "database_now"))

    def work() -> LeaseAttempt:
        if not lock_user(user_id):
            return LeaseAttempt(None, 1.0)
        _ENTER.run(user_id, kind, subject_id)
        taken = MailList.update(leased_by=holder, leased_until=now(seconds), user_id=user_id).where(
            is_this_list & may_take
        )
        for row in taken.returning(*columns).dicts().execute():
            walked_at = _here(row["walked_at"], row["database_now"])
            return LeaseAttempt(LeasedList(row["id"], kind, subject_id, holder, user_id, row["next_page"], walked_at))
        held: Any = MailList.select(MailList.leased_by, MailList.leased_until, Alias(now(), "database_now"))
        row = held.where(is_this_list).namedtuples().get()
        database_now = from_any(row.database_now)
        left = (row.leased_until - database_now).total_seconds() if row.leased_until and database_now else 0.0
        return LeaseAttempt(None, max(1.0, left), is_overtaken=(row.leased_by or "").startswith(prefix))

    return in_transaction_once(work)


def wait(leased: LeasedList, mark: str) -> None:
    """Give the list back to the copy of its message that is sent back to wait with *mark*, and to no other copy."""
    held = _held(leased.list_id, leased.holder)
    in_transaction(MailList.update(leased_by=mark, leased_until=None).where(held).execute)


def _entering(user_id: Node, kind: Node, subject_id: Node) -> Any:
    return MailList.insert(user_id=user_id, kind=kind, subject_id=subject_id, next_page=1).on_conflict_ignore()


_ENTER = Prepared(_entering, lists=0, values=3)


def lock_user(user_id: int) -> bool:
    """Keep the user from being deleted until the transaction ends; False when that has happened already.

    Always before their lists are locked, in the order in which an account is deleted: of the two, one waits for the other.
    """
    return _LOCK_USER.first(user_id) is not None


_LOCK_USER = Prepared(lambda user_id: locked(User.select(User.id).where(User.id == user_id)), lists=0, values=1)


def _held(list_id: Node | int, holder: Node | str) -> Any:
    """That somebody still has the lease of a list."""
    return (MailList.id == list_id) & (MailList.leased_by == holder)


def renew(leased: LeasedList, seconds: float) -> bool:
    """Keep the list for *seconds* more; False when another worker has taken it over, or the user was deleted.

    In a transaction both stay as they are until it ends.
    """

    def work() -> bool:
        return lock_user(leased.user_id) and bool(_RENEW.run(leased.list_id, leased.holder, seconds))

    return in_transaction(work)


_RENEW = Prepared(
    lambda list_id, holder, seconds: MailList.update(leased_until=now(seconds)).where(_held(list_id, holder)),
    lists=0, values=3,
)  # fmt: skip


def release(leased: LeasedList) -> None:
    """Give the list back; one that another worker has taken over stays with that worker."""
    in_statement(lambda: _RELEASE.run(leased.list_id, leased.holder))


_RELEASE = Prepared(
    lambda list_id, holder: MailList.update(leased_by=None, leased_until=None).where(_held(list_id, holder)),
    lists=0, values=2,
)  # fmt: skip


def move_cursor(leased: LeasedList, next_page: int | None, *, ended: bool) -> None:
    """Remember where the pagination goes on, None for its end; *ended*: the list was read to its end just now."""
    moving = _MOVE_TO_END if ended else _MOVE
    in_transaction(lambda: moving.run(leased.list_id, leased.holder, next_page))


def _moving(list_id: Node, holder: Node, next_page: Node, **end: Any) -> Any:
    return MailList.update(next_page=next_page, **end).where(_held(list_id, holder))


_MOVE = Prepared(_moving, lists=0, values=3)
_MOVE_TO_END = Prepared(lambda *given: _moving(*given, walked_at=now()), lists=0, values=3)


def page_state(list_id: int, page: int) -> PageState:
    """What ESI last said of the page."""
    found = _PAGE.first(list_id, page)
    if found is None:
        return PageState()
    etag, last_modified, expires_at, pages, database_now = found
    return PageState(etag, last_modified, _here(from_any(expires_at), database_now), pages)


def _page(list_id: Node, page: Node) -> Any:
    columns = ListPage.etag, ListPage.last_modified, ListPage.expires_at, ListPage.pages, Alias(now(), "database_now")
    return ListPage.select(*columns).where((ListPage.list_id == list_id) & (ListPage.page == page))


_PAGE = Prepared(_page, lists=0, values=2)


def _here(stored: datetime | None, database_now: datetime | str) -> datetime | None:
    """A moment on the database's clock by this host's, which may be another one than that of the host that stored it."""
    now_there = from_any(database_now)
    return stored + (utcnow() - now_there) if stored is not None and now_there is not None else stored


def store_page(list_id: int, page: int, state: PageState) -> None:
    """Remember what ESI said of the page, in the transaction that records the page's ids: never before them."""
    seconds = (state.expires_at - utcnow()).total_seconds() if state.expires_at else None
    given = list_id, page, state.etag, state.last_modified, seconds, state.pages
    in_transaction(lambda: _STORE_PAGE.run(*given))


def _storing(list_id: Node, page: Node, etag: Node, last_modified: Node, seconds: Node, pages: Node) -> Any:
    stored = ListPage.insert(
        list_id=list_id, page=page, etag=etag, last_modified=last_modified, expires_at=now(seconds), pages=pages
    )
    return stored.on_conflict(
        conflict_target=(ListPage.list_id, ListPage.page),
        preserve=(ListPage.etag, ListPage.last_modified, ListPage.expires_at, ListPage.pages),
    )


_STORE_PAGE = Prepared(_storing, lists=0, values=6)
