"""The arithmetic of a token bucket: never a token that ESI has not given back, never one withheld for longer than a slice."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from killsync.esi.rate_limit.circuit_breaker import (
    MOST_SUSPECTS,
    SLOW_BELOW,
    STOP_BELOW,
    TRIPPED_AT,
    CircuitBreaker,
)
from killsync.esi.rate_limit.token_bucket import PACE_SLACK, PACED_FROM, SLICES, TokenBucket

START = 1_787_000_000.0
#: Epoch seconds in a float are true to a microsecond; sums of them a little less.
NEAR = 1e-5

windows = st.sampled_from((60.0, 900.0, 3600.0))
limits = st.one_of(st.sampled_from((30, 600, 3600)), st.integers(6, 300))
pauses = st.one_of(
    st.just(0.0), st.floats(0.01, 12.0), st.floats(0.0, 4000.0), st.sampled_from((60.0, 900.0, 3600.0, 10.0, 899.9))
)


@dataclass
class Spend:
    """Tokens that ESI counted, or may yet count for a call under way, at a moment."""

    at: float
    tokens: int


class Bucket(RuleBasedStateMachine):
    """An account beside what ESI counts: `truth`, and beside the latest that it may believe in a spend: `believed`."""

    @initialize(limit=limits, window=windows, offset=st.floats(0, 5000))
    def start(self, limit: int, window: float, offset: float) -> None:
        self.now = START + offset
        self.account = TokenBucket(limit, window)
        self.truth: list[Spend] = []
        self.believed: list[Spend] = []
        self.calls: list[tuple[Spend, Spend | None]] = []
        self.blocked_until = 0.0

    def spent(self, spends: list[Spend], more: float = 0.0) -> int:
        """Tokens of *spends* that are not back, if they come back *more* seconds after their window."""
        return sum(each.tokens for each in spends if each.at + self.account.window + more > self.now + NEAR)

    def at_most(self) -> int:
        return self.spent(self.believed, self.account.slice_length + 2 * NEAR)

    @rule(seconds=pauses)
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(cost=st.integers(1, 5), backlog=st.booleans(), share=st.sampled_from((0, 0, 0, 1, 5, 20, 50)))
    def reserve(self, cost: int, backlog: bool, share: int) -> None:
        reserve = self.account.limit * share // 100
        room = max(cost, self.account.limit - reserve)
        before = self.account.used(self.now)
        wait = self.account.take(self.now, cost, backlog=backlog, reserve=reserve)
        assert wait >= 0
        if wait > 0:
            assert self.account.used(self.now) == before, "a refused call spends nothing"
            assert self.now + wait >= self.blocked_until
            is_full = self.at_most() + cost > room
            assert backlog or is_full or self.now < self.blocked_until, "a fresh call was refused though there was room"
            return
        assert self.now >= self.blocked_until
        assert self.spent(self.truth) + cost <= room
        assert self.account.used(self.now) == before + cost
        call = Spend(self.now, cost), Spend(self.now, cost)
        self.truth.append(call[0])
        self.believed.append(call[1])
        self.calls.append(call)

    @precondition(lambda self: self.calls)
    @rule(data=st.data(), actual=st.sampled_from((0, 1, 2, 5)), counted=st.floats(0, 1))
    def settle(self, data: st.DataObject, actual: int, counted: float) -> None:
        true, believed = self.calls.pop(data.draw(st.integers(0, len(self.calls) - 1)))
        self.account.settle(true.at, true.tokens, self.now, actual)
        # ESI counted it somewhere between the question and the answer.
        true.at, true.tokens = true.at + counted * (self.now - true.at), actual
        if believed is not None:
            self.believed.remove(believed)
        self.believed.append(Spend(self.now, actual))

    @rule(less=st.integers(0, 40))
    def esi_says_that_fewer_tokens_are_left(self, less: int) -> None:
        before = self.account.used(self.now)
        remaining = max(0, self.account.limit - before - less)
        added = self.account.adopt(self.now, remaining)
        assert added == max(0, self.account.limit - remaining - before)
        assert self.account.used(self.now) == before + added
        self.truth.append(Spend(self.now, added))
        self.believed.append(Spend(self.now, added))

    @rule(more=st.integers(0, 40))
    def esi_says_that_more_tokens_are_left(self, more: int) -> None:
        """Answers overtake each other: an older, better number gives nothing back."""
        before = self.account.used(self.now)
        assert self.account.adopt(self.now, min(self.account.limit, self.account.limit - before + more)) == 0
        assert self.account.used(self.now) == before

    @rule(limit=limits, window=st.one_of(st.none(), windows))
    def esi_names_another_limit(self, limit: int, window: float | None) -> None:
        used, changed = self.account.used(self.now), window not in (None, self.account.window)
        if changed:
            # What was back by the old window stays back; the rest may count from now on for a whole new one.
            self.truth = [each for each in self.truth if each.at + self.account.window > self.now + NEAR]
            self.believed = [Spend(self.now, used)]
            self.calls = [(true, None) for true, _ in self.calls if true in self.truth]
        self.account.resize(self.now, limit, window or self.account.window)
        assert self.account.limit == limit
        assert self.account.window == (window or self.account.window)
        assert self.account.used(self.now) == used, "what was spent is spent all the same"

    @rule(seconds=st.floats(-5, 300))
    def esi_answers_429(self, seconds: float) -> None:
        self.account.block(self.now + seconds)
        self.blocked_until = max(self.blocked_until, self.now + seconds)

    @rule()
    def another_process_reads_it(self) -> None:
        stored = self.account.dump()
        self.account = TokenBucket.load(stored)
        assert self.account.dump() == stored

    @invariant()
    def it_counts_what_is_spent_and_not_much_longer(self) -> None:
        if not hasattr(self, "account"):
            return
        used = self.account.used(self.now)
        assert used >= self.spent(self.truth), "a token was believed to be back before ESI had it"
        assert used <= self.at_most(), "a token was held back for more than a slice of the window"

    @invariant()
    def it_stays_small(self) -> None:
        if hasattr(self, "account"):
            assert len(self.account.spent) <= SLICES + 2
            assert all(tokens > 0 for tokens in self.account.spent.values())


TestNoSequenceOfStepsSpendsATokenThatEsiDoesNotHave = Bucket.TestCase
TestNoSequenceOfStepsSpendsATokenThatEsiDoesNotHave.settings = settings(
    max_examples=250, stateful_step_count=60, deadline=None
)


@given(
    limits,
    windows,
    st.sampled_from((0, 1, 5, 30)),
    st.lists(st.tuples(st.floats(0, 40), st.integers(1, 5), st.booleans()), min_size=1, max_size=150),
)
@settings(deadline=None)
def test_no_floating_window_holds_more_than_the_limit_less_the_reserve(
    limit: int, window: float, share: int, steps: list[tuple[float, int, bool]]
) -> None:
    account, now, spends = TokenBucket(limit, window), START, []
    reserve = min(limit * share // 100, limit - 5)
    for pause, cost, backlog in steps:
        now += pause
        if account.take(now, cost, backlog=backlog, reserve=reserve) == 0:
            spends.append((now, cost))
    assert spends
    for end, _ in spends:
        assert sum(cost for at, cost in spends if end - window + NEAR < at <= end) <= limit - reserve


@given(limits, windows, st.floats(0, 5000), st.integers(1, 5))
def test_tokens_come_back_one_window_after_they_were_spent_rounded_up_to_a_slice(
    limit: int, window: float, offset: float, cost: int
) -> None:
    account, spent_at = TokenBucket(limit, window), START + offset
    assert account.take(spent_at, cost, backlog=False, reserve=0) == 0
    assert account.used(spent_at + window - NEAR) == cost
    assert account.used(spent_at + window + window / SLICES + NEAR) == 0


@given(limits, windows, st.floats(0, 5000))
def test_a_reservation_that_is_never_settled_is_released_after_a_window(
    limit: int, window: float, offset: float
) -> None:
    account, now = TokenBucket(limit, window), START + offset
    while account.take(now, 5, backlog=False, reserve=0) == 0:
        pass
    assert account.used(now) == limit - limit % 5
    assert account.take(now + window * 0.99, 5, backlog=False, reserve=0) > 0
    later = TokenBucket.load(account.dump())
    assert later.take(now + window + later.slice_length + NEAR, limit, backlog=False, reserve=0) == 0


@given(limits, windows, st.integers(1, 5), st.lists(st.tuples(st.floats(0, 500), st.integers(1, 5)), max_size=60))
@settings(deadline=None)
def test_the_wait_of_a_fresh_call_is_exactly_long_enough(
    limit: int, window: float, cost: int, spends: list[tuple[float, int]]
) -> None:
    account, now = TokenBucket(limit, window), START
    for pause, tokens in spends:
        now += pause
        account.take(now, tokens, backlog=False, reserve=0)
    account.adopt(now, 0)
    wait = account.wait(now, cost, backlog=False, reserve=0)
    assert 0 < wait <= window + account.slice_length + NEAR
    if wait > 0.01:
        early = TokenBucket.load(account.dump())
        assert early.take(now + wait - 0.005, cost, backlog=False, reserve=0) > 0
    assert account.take(now + wait + NEAR, cost, backlog=False, reserve=0) == 0


@given(limits, st.lists(st.floats(-10, 600), min_size=1, max_size=5), st.floats(0, 1), st.booleans())
def test_nothing_leaves_before_the_longest_block_is_over(
    limit: int, blocks: list[float], part: float, backlog: bool
) -> None:
    account, until = TokenBucket(limit, 900.0), START + max(blocks)
    for seconds in blocks:
        account.block(START + seconds)
    account = TokenBucket.load(account.dump())
    now = START + part * (until - START)
    if now < until:
        assert account.take(now, 2, backlog=backlog, reserve=0) == pytest.approx(until - now, abs=NEAR)
        assert account.calls(now, 2, backlog=backlog, reserve=0) == 0
        assert account.used(now) == 0
    assert account.take(max(until, START), 2, backlog=backlog, reserve=0) == 0


@given(st.integers(6, 3600), st.integers(6, 3600), st.integers(0, 3600))
def test_a_limit_learnt_from_headers_is_obeyed_at_once(limit: int, learnt: int, used: int) -> None:
    account = TokenBucket(limit, 900.0)
    account.adopt(START, max(0, limit - used))
    spent = account.used(START)
    account.resize(START, learnt, 900.0)
    granted = 0
    while account.take(START, 1, backlog=False, reserve=0) == 0:
        granted += 1
    assert granted == max(0, learnt - spent)


@given(limits, windows, windows, st.floats(0, 500))
def test_a_window_learnt_from_headers_is_obeyed_for_what_is_spent(
    limit: int, window: float, learnt: float, since: float
) -> None:
    account = TokenBucket(limit, window)
    assert account.take(START, limit, backlog=False, reserve=0) == 0
    heard_at = START + min(since, window - 1.0)
    account.resize(heard_at, limit, learnt)
    back_at = START + learnt if learnt != window else START + window
    if back_at > heard_at + NEAR:
        assert account.take(back_at - NEAR, 1, backlog=False, reserve=0) > 0
    assert account.take(heard_at + learnt + account.slice_length + NEAR, limit, backlog=False, reserve=0) == 0


@given(limits, windows, st.integers(1, 5), st.integers(0, 3600), st.integers(0, 50))
def test_the_number_of_fresh_calls_that_could_leave_is_the_number_that_may(
    limit: int, window: float, cost: int, used: int, share: int
) -> None:
    account, reserve = TokenBucket(limit, window), limit * share // 100
    if limit - reserve < cost:
        reserve = limit - cost
    account.adopt(START, max(0, limit - used))
    promised = account.calls(START, cost, backlog=False, reserve=reserve)
    granted = 0
    while account.take(START, cost, backlog=False, reserve=reserve) == 0:
        granted += 1
    assert granted == promised


@given(st.integers(PACED_FROM, 4000), windows, st.integers(1, 5), st.floats(0, 60), st.integers(0, 40))
def test_the_number_of_paced_calls_that_could_leave_is_the_number_that_may(
    limit: int, window: float, cost: int, pause: float, before: int
) -> None:
    account, now = TokenBucket(limit, window), START
    account.adopt(now, limit - (limit + 1) // 2)
    for _ in range(before):
        account.take(now, cost, backlog=True, reserve=0)
    now += min(pause, window / 2)
    promised = account.calls(now, cost, backlog=True, reserve=0)
    granted = 0
    while account.take(now, cost, backlog=True, reserve=0) == 0:
        granted += 1
    assert abs(granted - promised) <= 1, "floats may round the last one away, no more"


@given(st.integers(PACED_FROM, 4000), st.integers(0, 50), st.integers(1, 5))
def test_a_backlog_leaves_the_reserve_to_what_is_fresh(limit: int, share: int, cost: int) -> None:
    account, reserve, now = TokenBucket(limit, 900.0), limit * share // 100, START
    for _ in range(1000):
        wait = account.take(now, cost, backlog=True, reserve=reserve)
        now += wait
        if now > START + 800:
            break
        assert account.used(now) <= limit - reserve
    left = limit - account.used(now)
    assert left >= reserve
    if left:
        assert account.take(now, min(left, 5), backlog=False, reserve=0) == 0


@given(st.integers(PACED_FROM, 4000), st.integers(1, 5), st.lists(st.floats(0, 30), min_size=1, max_size=40))
@settings(deadline=None)
def test_a_backlog_that_has_used_half_goes_on_at_the_pace_at_which_tokens_come_back(
    limit: int, cost: int, pauses: list[float]
) -> None:
    account, now = TokenBucket(limit, 900.0), START
    account.adopt(now, limit - (limit + 1) // 2)
    apart = cost * 900.0 / limit
    granted: list[float] = []
    for pause in pauses:
        now += min(pause, 800.0 / len(pauses))
        account = TokenBucket.load(account.dump())
        while account.take(now, cost, backlog=True, reserve=0) == 0:
            granted.append(now)
    assert granted
    for first, start in enumerate(granted):
        for last in range(first, len(granted)):
            assert last - first <= (granted[last] - start + PACE_SLACK) / apart + NEAR


@given(st.integers(PACED_FROM, 4000))
def test_a_backlog_that_has_used_less_than_half_goes_as_fast_as_it_can(limit: int) -> None:
    account = TokenBucket(limit, 900.0)
    for _ in range((limit + 1) // 2):
        assert account.take(START, 1, backlog=True, reserve=0) == 0


@given(st.integers(10, PACED_FROM - 1))
def test_a_small_bucket_is_not_paced_since_a_person_waits_for_it(limit: int) -> None:
    account, granted = TokenBucket(limit, 900.0), 0
    while account.take(START, 2, backlog=True, reserve=0) == 0:
        granted += 1
    assert granted == limit // 2


@given(
    st.integers(STOP_BELOW - 2, SLOW_BELOW + 5),
    st.lists(
        st.one_of(
            st.tuples(st.just("ask"), st.floats(0, 2)),
            st.tuples(st.just("error"), st.floats(0, 2)),
            st.tuples(st.just("block"), st.floats(0, 5)),
        ),
        max_size=80,
    ),
)
@settings(deadline=None)
def test_the_gate_slows_and_stops_and_never_lets_the_error_limit_run_out(
    left: int, steps: list[tuple[str, float]]
) -> None:
    """A peer that errs at each call is slowed and stopped long before ESI's 100 errors a minute are used up."""
    gate, now = CircuitBreaker(), START
    resets_at, blocked_until, last_slow = START + 60.0, START, -1e9
    gate.record_errors(now, left, 60.0)
    for kind, seconds in steps:
        if kind == "block":
            gate.block(now + seconds)
            blocked_until = max(blocked_until, now + seconds)
            continue
        now += seconds
        if now >= resets_at:
            left, resets_at = 100, now + 60.0
        wait = gate.take(now)
        if wait > 0:
            assert now + wait <= max(blocked_until, resets_at, last_slow + 1.0) + NEAR
            continue
        assert now >= blocked_until
        assert left >= STOP_BELOW
        if left < SLOW_BELOW:
            assert now - last_slow >= 1.0 - NEAR
            last_slow = now
        left -= kind == "error"
        gate.record_errors(now, left, resets_at - now)
        gate = CircuitBreaker.load(gate.dump())


def test_a_peer_that_errs_at_each_call_is_stopped_with_errors_left() -> None:
    gate, now, left = CircuitBreaker(), START, 100
    for _ in range(1000):
        wait = gate.take(now)
        now += wait
        if now >= START + 60.0:
            break
        if wait == 0:
            left -= 1
            gate.record_errors(now, left, START + 60.0 - now)
    assert left == STOP_BELOW - 1
    assert now == pytest.approx(START + 60.0, abs=NEAR)


@given(st.permutations(range(100)), st.integers(1, 100))
def test_answers_that_overtake_each_other_leave_the_lowest_count_of_the_minute(order: list[int], heard: int) -> None:
    gate = CircuitBreaker()
    for left in order[:heard]:
        gate.record_errors(START, left, 40.0)
    assert gate.errors_left == min(order[:heard])
    gate.record_errors(START + 41.0, 100, 60.0)
    assert gate.errors_left == 100
    assert gate.take(START + 41.0) == 0


@given(st.integers(1, 60))
def test_failures_in_a_row_make_everything_wait_a_little_and_never_longer_than_a_minute(failures: int) -> None:
    gate, paused = CircuitBreaker(), []
    for number in range(failures):
        paused.append(gate.failed(START, f"/killmails/{number}/a").pause)
        assert gate.wait(START) >= paused[-1]
    assert paused == sorted(paused)
    assert all(pause == 0 for pause in paused[: TRIPPED_AT - 1])
    assert all(0 < pause <= 60 for pause in paused[TRIPPED_AT - 1 :])
    assert gate.wait(START + 60.0) == 0
    assert gate.take(START) == gate.wait(START)


def test_a_call_that_gets_through_ends_the_pause_of_failures_and_no_other() -> None:
    gate = CircuitBreaker()
    for number in range(TRIPPED_AT):
        gate.failed(START, f"/killmails/{number}/a")
    assert gate.wait(START) == 5.0
    for number in range(100):
        failure = gate.failed(START + 1.0, f"/killmails/{number}/a")
        assert failure.pause == 4.0, "what left before the pause does not make it longer"
    failure = gate.failed(START + 5.0, "/killmails/1/a")
    assert failure.pause == 10.0, "ESI is still down after it: the next is longer, whoever asked"
    gate.succeeded(START + 6.0)
    assert gate.wait(START + 6.0) == 0.0
    gate.block(START + 60.0)
    gate.succeeded(START + 6.0)
    assert gate.wait(START + 6.0) == 54.0, "what ESI itself asked for stays"


def test_a_resource_that_fails_for_ever_backs_off_alone_to_hours_and_trips_nothing() -> None:
    """ESI's own schema check fails on one killmail: it answers 500 for it for ever, and everything else is well."""
    breaker, now, pauses = CircuitBreaker(), START, []
    for _ in range(40):
        failure = breaker.failed(now, "/killmails/1/a")
        assert breaker.wait(now) == 0, "nothing else waits"
        breaker = CircuitBreaker.load(breaker.dump())
        breaker.succeeded(now + 0.5)
        pauses.append(failure.pause)
        now += max(5.0, failure.pause)
    assert pauses == sorted(pauses) and pauses[:4] == [0.0, 5.0, 5.0, 5.0]
    assert pauses[-1] == 6 * 3600 and now - START > 6 * 86_400, "and it is asked for four times a day"
    another = breaker.failed(now, "/killmails/2/b")
    assert (another.pause, another.alone, another.own_pause) == (0.0, False, 5.0), (
        "another is not in trouble because of it"
    )


def test_a_resource_that_fails_again_and_again_while_nothing_else_is_asked_is_one_failure() -> None:
    breaker = CircuitBreaker()
    for number in range(50):
        failure = breaker.failed(START + number, "/killmails/1/a")
        breaker = CircuitBreaker.load(breaker.dump())
        assert (failure.pause, failure.alone, failure.is_only) == (0.0, False, True)
    assert breaker.failures == 1
    assert failure.own_pause == 6 * 3600, "whatever else is asked, it waits for hours by its own failures"


@given(st.integers(2, TRIPPED_AT - 1))
def test_a_killmail_that_fails_among_a_few_others_waits_for_a_small_part_of_the_outage(number: int) -> None:
    breaker, now = CircuitBreaker(), START
    due = {f"/killmails/{each}/a": now for each in range(number)}
    while now < START + 4 * 3600:
        resource = min(due, key=lambda each: due[each])
        now = due[resource]
        failure = breaker.failed(now, resource)
        wait = max(5.0, failure.own_pause)
        assert wait <= 45 + (now - START) / 5
        due[resource] = now + wait
    assert wait > 120, "and is asked ever more rarely all the same"
    breaker = CircuitBreaker.load(breaker.dump())
    for each in range(TRIPPED_AT):
        failure = breaker.failed(now, f"/lists/{each}")
    assert failure.pause and breaker.failed(now + 6.0, "/killmails/1/a").own_pause == 0, "ESI as a whole is down"


def test_what_fails_for_ever_is_remembered_though_much_else_failed_since() -> None:
    breaker = CircuitBreaker()
    for number in range(400):
        breaker.succeeded(START + number)
        if number % 10 == 0:
            failure = breaker.failed(START + number, "/killmails/1/a")
        breaker.failed(START + number, f"/killmails/{number + 2}/a")
    assert failure.own_pause > 3600
    for number in range(MOST_SUSPECTS):
        for _ in range(3):
            breaker.failed(START + 5000, f"/lists/{number}")
            breaker.succeeded(START + 5000.5)
    for _ in range(9):
        failure = breaker.failed(START + 50_000, "/killmails/0/a")
    assert failure.own_pause > 60, "those that are long past make room"


def test_a_resource_that_was_answered_since_begins_anew_and_what_is_remembered_is_bounded() -> None:
    breaker, now = CircuitBreaker(), START
    for _ in range(8):
        breaker.failed(now, "/list")
        breaker.succeeded(now + 1.0)
        now += 10.0
    assert breaker.failed(now, "/list").pause > 5.0
    breaker.succeeded(now + 1.0)
    assert breaker.failed(now + 86_400.0, "/list").pause == 0.0
    for number in range(500):
        breaker.failed(now + 90_000.0, f"/killmails/{number}/a")
    assert len(breaker.suspects) == MOST_SUSPECTS and len(breaker.dump()) < 3000


def test_what_another_version_stored_is_understood() -> None:
    later = {"blocked_until": 5.0, "failures": 3, "tripped_until": 7.0, "half_open_at": 9.0}
    breaker = CircuitBreaker.load(json.dumps(later))
    assert (breaker.blocked_until, breaker.failures, breaker.tripped_until) == (5.0, 3, 7.0)
    assert (breaker.errors_left, breaker.next_at) == (100, 0.0), "what it does not name is as in a new one"
    bucket = TokenBucket.load(json.dumps({"limit": 30, "window": 900.0, "spent": [[4, 2]], "colour": "red"}))
    assert bucket == TokenBucket(30, 900.0, {4: 2})
