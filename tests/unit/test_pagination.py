"""Which page to ask for next, held against a model of a killmail list that grows, ages, and is asked with gaps."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from killsync.sync.pagination import REWALK, Walk, begin

NOW = datetime(2026, 8, 18, 12, 0, tzinfo=UTC)
CACHE = timedelta(minutes=5)
WINDOW = timedelta(minutes=15)


@dataclass
class Listed:
    """A list as ESI serves it: pages of a size that may change, with or without X-Pages, 404 or empty past the end."""

    page_size: int
    past_end: str = "404"
    names_pages: bool = True
    ids: list[int] = field(default_factory=list)
    fresh: Any = field(default_factory=lambda: count(1))

    def happen(self, number: int) -> None:
        """New killmails, at the top."""
        for _ in range(number):
            self.ids.insert(0, next(self.fresh))

    def appear_late(self, part: float) -> int:
        """A killmail that belongs further down; never below all others."""
        late = next(self.fresh)
        self.ids.insert(int(part * max(0, len(self.ids) - 1)), late)
        return late

    @property
    def pages(self) -> int:
        return max(1, math.ceil(len(self.ids) / self.page_size))

    def page(self, number: int) -> list[int]:
        return self.ids[(number - 1) * self.page_size : number * self.page_size]


@dataclass
class Page:
    """What is remembered of a page."""

    ids: list[int] | None
    pages: int | None
    asked_at: datetime


@dataclass
class Reader:
    """One who reads a list by `walk`, remembers what a database would, and is cut off when its budget is spent."""

    listed: Listed
    max_pages: int = 50
    now: datetime = NOW
    next_page: int | None = 1
    walked_at: datetime | None = None
    seen: set[int] = field(default_factory=set)
    known: dict[int, Page] = field(default_factory=dict)
    asked: list[int] = field(default_factory=list)
    #: What was news in this walk.
    news: set[int] = field(default_factory=set)

    def poll(self, budget: int = 10_000, churn: tuple[int, ...] = ()) -> bool:
        """One walk with at most *budget* pages; *churn* killmails happen after each. Whether it came to its end."""
        walk = begin(self.next_page, self.walked_at, self.now, self.max_pages)
        self.asked = []
        self.news = set()
        steps: list[int] = []
        while walk.page is not None:
            steps.append(walk.page)
            assert 1 <= walk.page <= self.max_pages, "a page beyond the last that may be asked for"
            assert steps == sorted(set(steps)), "no page is looked at twice in one walk, nor backwards"
            if not self._step(walk, budget):
                return False
            ended = walk.is_history and walk.cursor is None and self.next_page is not None
            self.next_page = walk.cursor
            if ended:
                self.walked_at = self.now
            if len(steps) <= len(churn):
                self.listed.happen(churn[len(steps) - 1])
        return True

    def _step(self, walk: Walk, budget: int) -> bool:
        page = walk.page
        assert page is not None
        known = self.known.get(page)
        if known is not None and known.ids is not None and self.now < known.asked_at + CACHE:
            walk.advance(new_ids=0, items=0, last_page=known.pages, cached=True)
            return True
        if len(self.asked) >= budget:
            return False
        self.asked.append(page)
        ids = self.listed.page(page)
        pages = self.listed.pages if self.listed.names_pages else None
        if not ids and page > 1 and self.listed.past_end == "404":
            walk.advance(new_ids=0, items=0, last_page=None, past_end=True)
            self.known[page] = Page(None, None, self.now)
        elif known is not None and known.ids == ids:
            walk.advance(new_ids=0, items=0, last_page=known.pages)
            known.asked_at = self.now
        else:
            self.news |= set(ids) - self.seen
            self.seen |= set(ids)
            new = set(ids) & self.news
            walk.advance(new_ids=len(new), items=len(ids), last_page=pages, past_end=not ids)
            self.known[page] = Page(ids, pages, self.now)
        return True

    def finish(self, budget: int = 10_000) -> int:
        """Poll window after window until a walk comes to its end; how many it took."""
        for windows in range(1, 1000):
            if self.poll(budget):
                return windows
            self.now += WINDOW
        raise AssertionError("the walk never ended")

    def reachable(self) -> set[int]:
        return set(self.listed.ids[: self.max_pages * self.listed.page_size])


lists = st.builds(
    Listed, page_size=st.integers(1, 8), past_end=st.sampled_from(("404", "empty")), names_pages=st.booleans()
)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("happen"), st.integers(1, 30)),
        st.tuples(st.just("late"), st.floats(0, 1)),
        st.tuples(st.just("age"), st.integers(1, 10)),
        st.tuples(st.just("page size"), st.integers(1, 8)),
        st.tuples(st.just("poll"), st.tuples(st.integers(0, 12), st.lists(st.integers(0, 9), max_size=5))),
        st.tuples(st.just("wait"), st.sampled_from((1, 6, 20, 300, 1441))),
    ),
    max_size=25,
)


def live(reader: Reader, happenings: list[tuple[str, Any]]) -> None:
    listed = reader.listed
    for kind, value in happenings:
        if kind == "happen":
            listed.happen(value)
        elif kind == "late":
            listed.appear_late(value)
        elif kind == "age":
            del listed.ids[max(0, len(listed.ids) - value) :]
        elif kind == "page size":
            listed.page_size = value
        elif kind == "wait":
            reader.now += timedelta(minutes=value)
        else:
            reader.poll(value[0], tuple(value[1]))


@given(lists, st.integers(0, 60), st.integers(1, 40), st.sampled_from((None, 1)), steps, st.integers(2, 15))
@settings(max_examples=400, deadline=None)
def test_every_id_is_seen_in_the_end_whatever_happened_on_the_way(
    listed: Listed,
    length: int,
    max_pages: int,
    stored: int | None,
    happenings: list[tuple[str, Any]],
    budget: int,
) -> None:
    listed.happen(length)
    reader = Reader(listed, max_pages, next_page=stored)
    live(reader, happenings)
    for _ in range(3):
        reader.now += REWALK
        reader.finish(budget)
    assert reader.reachable() <= reader.seen


@given(lists, st.integers(0, 60), st.integers(1, 40), steps)
@settings(max_examples=200, deadline=None)
def test_an_unchanged_list_costs_one_page(
    listed: Listed, length: int, max_pages: int, happenings: list[tuple[str, Any]]
) -> None:
    listed.happen(length)
    reader = Reader(listed, max_pages)
    live(reader, happenings)
    for _ in range(2):
        reader.now += REWALK
        reader.finish()
    for _ in range(3):
        reader.now += CACHE
        assert reader.poll()
        assert reader.asked == [1]


@given(lists, st.integers(0, 80), st.integers(1, 12))
def test_a_first_walk_reads_each_page_once_and_stops_at_the_end(listed: Listed, length: int, max_pages: int) -> None:
    listed.happen(length)
    reader = Reader(listed, max_pages)
    assert reader.poll()
    last = min(listed.pages, max_pages)
    past = 0 if listed.names_pages or last == max_pages else 1
    if not length:
        past = 0
    assert reader.asked == list(range(1, last + past + 1))
    assert reader.seen == reader.reachable()
    assert reader.walked_at == reader.now
    assert reader.next_page is None


@given(lists, st.integers(9, 120), st.integers(2, 10))
def test_a_walk_cut_by_the_budget_goes_on_where_it_stopped(listed: Listed, length: int, budget: int) -> None:
    listed.names_pages = True
    listed.happen(length)
    reader = Reader(listed, 1000)
    deeper: list[int] = []
    for _ in range(length + 1):
        ended = reader.poll(budget)
        assert reader.asked[0] == 1, "each window looks at what is new first"
        assert len(reader.asked) <= budget
        deeper.extend(reader.asked[1:])
        assert reader.next_page == (None if ended else reader.asked[-1] + 1)
        if ended:
            break
        assert reader.walked_at is None, "a list that was not read to its end was not walked"
        reader.now += WINDOW
    assert deeper == list(range(2, listed.pages + 1)), "no page of history is asked for twice"
    assert reader.seen == set(listed.ids)


@given(lists, st.integers(20, 80), st.integers(1, 40), st.integers(2, 5))
def test_what_is_new_is_read_before_an_unfinished_first_walk_goes_on(
    listed: Listed, length: int, news: int, budget: int
) -> None:
    listed.happen(length)
    reader = Reader(listed, 1000)
    if reader.poll(budget):
        return
    listed.happen(news)
    new = set(listed.ids[:news])
    reader.now += WINDOW
    reader.poll()
    assert new <= reader.seen
    assert set(listed.ids) <= reader.seen


@given(lists, st.integers(0, 60), st.integers(1, 60))
def test_a_poll_reads_on_while_pages_name_new_ids_and_no_further(listed: Listed, length: int, news: int) -> None:
    listed.happen(length)
    reader = Reader(listed, 1000)
    reader.finish()
    listed.happen(news)
    reader.now += WINDOW
    assert reader.poll()
    assert reader.seen == set(listed.ids)
    assert len(reader.asked) <= math.ceil(news / listed.page_size) + 1
    assert reader.walked_at == NOW, "a poll that stopped early did not walk the list"


@given(lists, st.integers(2, 60), st.floats(0, 1))
def test_a_late_killmail_in_the_middle_is_found_within_a_day(listed: Listed, length: int, part: float) -> None:
    listed.happen(length)
    reader = Reader(listed, 1000)
    reader.finish()
    late = listed.appear_late(part)
    while reader.now < NOW + REWALK:
        reader.now += timedelta(hours=1)
        assert reader.poll()
    assert late in reader.seen


@given(lists, st.integers(2, 60))
def test_deeper_pages_are_looked_at_once_a_day_and_not_more(listed: Listed, length: int) -> None:
    listed.names_pages = True
    listed.happen(length)
    reader = Reader(listed, 1000)
    reader.finish()
    deep = 0
    for _ in range(24 * 3):
        reader.now += timedelta(hours=1)
        reader.poll()
        deep += len(reader.asked) - 1
    assert deep == 3 * (listed.pages - 1)


@given(lists, st.integers(1, 60), st.integers(1, 15))
def test_a_list_longer_than_max_pages_is_read_to_that_page_only(listed: Listed, length: int, max_pages: int) -> None:
    listed.happen(length + max_pages * listed.page_size)
    reader = Reader(listed, max_pages)
    for _ in range(3):
        reader.finish()
        assert max(reader.asked) == max_pages
        assert reader.next_page is None
        reader.now += REWALK
    assert reader.seen == reader.reachable()


@pytest.mark.parametrize("past_end", ["404", "empty"])
@pytest.mark.parametrize("names_pages", [True, False])
def test_a_list_that_became_shorter_ends_the_walk(past_end: str, names_pages: bool) -> None:
    listed = Listed(5, past_end, names_pages)
    listed.happen(50)
    reader = Reader(listed)
    assert not reader.poll(budget=8)
    assert reader.next_page == 9
    del listed.ids[12:]
    reader.now += WINDOW
    assert reader.poll()
    assert reader.next_page is None
    assert reader.walked_at == reader.now
    # Page 1 looks as it did, so only the page that is gone tells; nothing beyond it is asked for.
    assert reader.asked == [1, 9]


def test_a_list_that_became_longer_while_it_was_walked_is_walked_to_its_new_end() -> None:
    listed = Listed(5)
    listed.happen(15)
    reader = Reader(listed)
    assert reader.poll(churn=(5, 5, 5))
    assert reader.asked == [1, 2, 3, 4, 5, 6]
    reader.now += CACHE
    assert reader.poll()
    assert reader.seen == set(listed.ids)


@given(lists, st.integers(10, 60), st.integers(2, 4), st.integers(0, 20))
def test_only_pages_of_history_leave_tokens_to_others(listed: Listed, length: int, budget: int, news: int) -> None:
    listed.happen(length)
    first = begin(1, None, NOW, 1000)
    assert not first.is_backlog, "a person who just logged in waits for page 1"
    first.advance(new_ids=1, items=1, last_page=9)
    assert first.is_backlog
    poll = begin(None, NOW, NOW, 1000)
    assert not poll.is_backlog
    poll.advance(new_ids=1, items=1, last_page=9)
    assert poll.page == 2
    assert not poll.is_backlog, "a second page of news is not history"
    poll.advance(new_ids=0, items=1, last_page=9)
    assert poll.page is None
    assert not poll.is_backlog


@given(lists, st.integers(0, 30), st.integers(9, 60), st.integers(1, 3))
def test_a_poll_cut_among_the_news_reads_the_rest_of_them_in_the_next_window(
    listed: Listed, length: int, news: int, budget: int
) -> None:
    listed.happen(length)
    reader = Reader(listed, 1000)
    reader.finish()
    listed.happen(news)
    reader.now += WINDOW
    if not reader.poll(budget):
        reader.now += WINDOW
        assert reader.poll()
    assert reader.seen == set(listed.ids)


news_and_cut_polls = st.lists(
    st.one_of(st.tuples(st.just("happen"), st.integers(1, 30)), st.tuples(st.just("poll"), st.integers(0, 4))),
    max_size=12,
)


@given(lists, st.integers(0, 30), news_and_cut_polls, st.booleans())
@settings(max_examples=300, deadline=None)
def test_the_first_poll_that_is_not_cut_finds_all_that_the_cut_ones_left(
    listed: Listed, length: int, happenings: list[tuple[str, int]], was_walked: bool
) -> None:
    listed.happen(length)
    reader = Reader(listed, 1000)
    if was_walked:
        reader.finish()
    for kind, number in happenings:
        reader.now += WINDOW
        if kind == "happen":
            listed.happen(number)
        else:
            reader.poll(number)
    reader.now += WINDOW
    assert reader.poll()
    assert reader.seen == set(listed.ids), "no daily look was needed"
    assert reader.next_page is None


polls_with_news_meanwhile = st.lists(
    st.one_of(
        st.tuples(st.just("happen"), st.integers(1, 30)),
        st.tuples(st.just("wait"), st.sampled_from((1, 4, 6, 20))),
        st.tuples(st.just("poll"), st.tuples(st.integers(0, 6), st.lists(st.integers(0, 20), max_size=4))),
    ),
    max_size=12,
)


@given(lists, st.integers(0, 30), polls_with_news_meanwhile)
@settings(max_examples=400, deadline=None)
def test_news_that_push_pages_down_while_they_are_read_hide_nothing(
    listed: Listed, length: int, happenings: list[tuple[str, Any]]
) -> None:
    listed.happen(length)
    reader = Reader(listed, 1000)
    reader.finish()
    live(reader, happenings)
    for _ in range(2):
        reader.now += WINDOW
        assert reader.poll()
    assert reader.seen == set(listed.ids), "no daily look was needed"
    assert reader.next_page is None


def test_a_page_that_repeats_what_the_poll_has_just_read_is_no_end_of_the_news() -> None:
    listed = Listed(3)
    reader = Reader(listed)
    assert reader.poll()
    listed.happen(12)
    reader.now += WINDOW
    assert reader.poll(churn=(0, 4))
    reader.now += WINDOW
    assert reader.poll()
    assert reader.seen == set(listed.ids)


def test_a_page_that_the_cache_hides_behind_a_page_of_news_is_read_by_the_next_poll() -> None:
    listed = Listed(3)
    reader = Reader(listed)
    listed.happen(9)
    assert reader.poll()
    reader.known[1].asked_at -= CACHE
    listed.happen(9)
    assert reader.poll()
    assert reader.next_page == 2
    reader.now += WINDOW
    assert reader.poll()
    assert reader.seen == set(listed.ids)
    assert reader.next_page is None


def test_a_page_full_of_news_after_a_cut_poll_hides_nothing() -> None:
    listed = Listed(5)
    listed.happen(20)
    reader = Reader(listed)
    reader.finish()
    listed.happen(10)
    reader.now += WINDOW
    assert not reader.poll(budget=1)
    listed.happen(5)
    reader.now += WINDOW
    assert reader.poll()
    assert reader.seen == set(listed.ids)
    assert reader.walked_at == NOW, "that was no daily look"
