"""Which page of a killmail list to ask for next. Pure decisions, no I/O.

A list is newest first and at most 90 days long, and news push down what is on its pages while they are read. A poll reads
from page 1 while pages name ids this list did not have before the poll; a first walk (and a daily look at the deeper pages,
where a late killmail can hide) goes to the end, over as many windows as the budget needs. So does whatever goes on after a
cut: how far news have pushed down what was not read yet is unknown.
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
        cursor: where a walk that is cut now goes on, after page 1: nothing behind this page counts as read; None for none.
        tail: first page of those that are all still to be read, to the end; None for a poll, which stops where news end.
        is_history: a first walk or the daily look at deeper pages.
        max_pages: never ask beyond this page.
        page: the page to ask for now; None at the end.
        last_page: ESI's X-Pages, as last heard.
        unsure: first page that ESI's cache hides right behind a page of nothing but news: more of them may be there. The next
            walk reads from it to the end.
        cut_at: where the walk before this one was cut.
    """

    cursor: int | None
    max_pages: int
    tail: int | None = None
    is_history: bool = False
    page: int | None = 1
    last_page: int | None = None
    unsure: int | None = None
    cut_at: int | None = None
    _after_news_alone: bool = False

    @property
    def is_backlog(self) -> bool:
        """Whether the page to ask for is history rather than a look at what is new."""
        return self.is_history and self.page is not None and self.page > 1 and self.tail is not None

    def advance(
        self, *, new_ids: int, items: int, last_page: int | None, past_end: bool = False, cached: bool = False
    ) -> None:
        """Take in the answer for `page` and choose the next one.

        Args:
            new_ids: ids of the page that this list did not have before this walk began, be it that an earlier page of the
                walk had them too; 0 for a page that has not changed.
            items: number of items on the page; 0 also for a page that has not changed.
            last_page: X-Pages of the answer, or what is remembered of an unchanged page; None when unknown.
            past_end: ESI says that the page does not exist, or it is empty.
            cached: ESI was not asked, since its cache would give the answer that it gave last.
        """
        assert self.page is not None
        if cached and self._after_news_alone and self.unsure is None:
            self.unsure = self.page
        self._after_news_alone = bool(items) and new_ids >= items
        if last_page is not None:
            # What is remembered of an unchanged page may be older than the cut.
            is_remembered = not items and not past_end
            self.last_page = max(last_page, self.cut_at or 0) if is_remembered else last_page
        here, following = self.page, self.page + 1
        if self.tail is not None and here >= self.tail:
            self.tail = following
        if self.tail is not None and not new_ids:
            following = max(self.tail, following)
        goes_on = bool(new_ids) or self.tail is not None
        if past_end or not goes_on or self._is_last(here) or self._beyond(following):
            self.page = self.tail = None
            self.cursor = self.unsure
        else:
            # Noted before the next page is asked for: a walk that is cut there goes on there, also where it was further
            # down before. Between the two may lie news that nobody has read.
            self.page = following
            self.cursor = min(following, self.unsure or following)

    def _is_last(self, page: int) -> bool:
        return page >= self.max_pages or (self.last_page is not None and page >= self.last_page)

    def _beyond(self, page: int) -> bool:
        return page > self.max_pages or (self.last_page is not None and page > self.last_page)


def begin(cursor: int | None, walked_at: datetime | None, now: datetime, max_pages: int) -> Walk:
    """The walk for a list whose stored cursor is *cursor* and which was last walked to its end at *walked_at*."""
    is_history = walked_at is None or now - walked_at >= REWALK
    cut_at = cursor
    if is_history and cursor is None:
        cursor = 1 if walked_at is None else 2
    return Walk(cursor=cursor, max_pages=max_pages, tail=cursor, is_history=is_history, cut_at=cut_at)
