"""Which page of a killmail list to ask for next. Pure decisions, no I/O.

A list is newest first and at most 90 days long. A poll reads from page 1 while pages name ids this list did not have; a
first walk (and a daily look at the deeper pages, where a late killmail can hide) goes to the end, over as many windows as
the budget needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

#: Deeper pages of a walked list are looked at again this often: killmails can appear late, out of order.
REWALK = timedelta(days=1)


@dataclass
class Walk:
    """The state of one walk over one list.

    Attributes:
        cursor: first page still to be read, by a walk to the end or by a poll that was cut among the news; None for none.
        is_history: walk to the end whatever the pages hold; else only while they hold news.
        max_pages: never ask beyond this page.
        page: the page to ask for now; None at the end.
        last_page: ESI's X-Pages, as last heard.
    """

    cursor: int | None
    max_pages: int
    is_history: bool = False
    page: int | None = 1
    last_page: int | None = None

    @property
    def is_backlog(self) -> bool:
        """Whether the page to ask for is history rather than a look at what is new."""
        return self.is_history and self.page is not None and self.page > 1 and self.cursor is not None

    def advance(self, *, new_ids: int, items: int, last_page: int | None, past_end: bool = False) -> None:
        """Take in the answer for `page` and choose the next one.

        Args:
            new_ids: ids of the page that this list did not have before; 0 for a page that has not changed.
            items: number of items on the page; 0 also for a page that has not changed.
            last_page: X-Pages of the answer, or what is remembered of an unchanged page; None when unknown.
            past_end: ESI says that the page does not exist, or it is empty.
        """
        assert self.page is not None
        if last_page is not None:
            self.last_page = last_page
        here, cursor = self.page, self.cursor
        if self.cursor is not None and here >= self.cursor:
            self.cursor = here + 1
        if past_end or self._is_last(here):
            self.cursor, self.page = None, None
        elif self.is_history and self.cursor is not None:
            self.page = here + 1 if new_ids else max(self.cursor, here + 1)
        elif new_ids:
            # Noted before the next page is asked for: a poll that is cut there goes on there.
            self.page, self.cursor = here + 1, max(self.cursor or 0, here + 1)
        elif cursor is not None and here < cursor:
            self.page = cursor
        else:
            self.cursor, self.page = None, None
        if self.page is not None and self._beyond(self.page):
            self.cursor, self.page = None, None

    def _is_last(self, page: int) -> bool:
        return page >= self.max_pages or (self.last_page is not None and page >= self.last_page)

    def _beyond(self, page: int) -> bool:
        return page > self.max_pages or (self.last_page is not None and page > self.last_page)


def begin(cursor: int | None, walked_at: datetime | None, now: datetime, max_pages: int) -> Walk:
    """The walk for a list whose stored cursor is *cursor* and which was last walked to its end at *walked_at*."""
    is_history = walked_at is None or now - walked_at >= REWALK
    if is_history and cursor is None:
        cursor = 1 if walked_at is None else 2
    return Walk(cursor=cursor, max_pages=max_pages, is_history=is_history)
