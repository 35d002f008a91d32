"""One call to ESI: reserve its tokens, send it, settle by what came, and say what came as an answer or an error by meaning.

Nothing here knows what an answer holds.
"""

from __future__ import annotations

from typing import Any

import aiohttp

from killsync import http_session
from killsync.answers import answered, said
from killsync.esi import errors, routes
from killsync.esi.clock import Clock
from killsync.esi.errors import Cost
from killsync.esi.rate_limit.circuit_breaker import Failure
from killsync.esi.rate_limit.rate_limit import Bucket, RateLimit, Reservation, Unbucketed, Wait
from killsync.esi.responses import Answer, Sent, outcome, seconds_of
from killsync.esi.routes import Route
from killsync.esi.transport import send
from killsync.esi.usage import Usage
from killsync.observability import metrics
from killsync.settings import Settings


class Calls:
    """The calls of one process, with what they learned from ESI's headers."""

    def __init__(self, settings: Settings, timeouts: aiohttp.ClientTimeout, clock: Clock) -> None:
        self._settings = settings
        self._timeouts = timeouts
        self._clock = clock
        self.rate_limit = RateLimit(settings.esi_reserve_percent, clock)
        self.usage = Usage()
        #: Whether the newest answer that any process got may have been a failure.
        self.is_failing = False
        #: Groups as ESI's headers name them, where they differ from the table in `routes`.
        self._groups: dict[str, str] = {}

    def bucket(self, route: Route, subject: str) -> Bucket:
        """The bucket of *route* for *subject*, which is an address or a character."""
        return Bucket(self._groups.get(route.name, str(route.group)), subject, route.limit, route.window)

    def call(
        self, route: Route, subject: str | None, method: str, path: str, headers: dict[str, str],
        query: dict[str, str], *, json: Any = None, backlog: bool = False,
    ) -> Answer:  # fmt: skip
        """Reserve, send, settle; the answer of a 2xx or 304, or the exception that says what came instead."""
        taken = self._reserve(route, subject, path, backlog=backlog)
        try:
            sent: Sent = http_session.run(self.send(route, method, path, headers, query, json))
        except errors.EsiError as error:
            sent = error
        return self.conclude(route, taken, path, sent, headers.get("Authorization", "").removeprefix("Bearer "))

    async def send(
        self, route: Route, method: str, path: str, headers: dict[str, str], query: dict[str, str], json: Any = None
    ) -> tuple[int, dict[str, str], bytes]:
        """Send a request for which tokens were reserved; `conclude` is the caller's to call."""
        return await send(self._settings, self._timeouts, route, method, path, headers, query, json)

    def conclude(self, route: Route, taken: Reservation | Unbucketed, path: str, sent: Sent, token: str = "") -> Answer:
        """Settle what was reserved by what came of it; the answer of a 2xx or 304, or the exception.

        *token* was sent with the call, and is in no exception's text.
        """
        if isinstance(sent, errors.EsiError):
            self._settle(route, taken, None, {})
            sent.cost = Cost(1, 0)
            self.usage.add(route.name, "error", 0)
            if isinstance(sent, errors.Downtime):
                verdict = self._failed(path)
                sent.judged(verdict).retry_after = max(verdict.pause, 5.0)
            raise sent
        status, headers, body = sent
        tokens = routes.cost(status) if isinstance(taken, Reservation) else 0
        cost = Cost(1, tokens)
        self._settle(route, taken, status, headers)
        self.usage.add(route.name, outcome(status), tokens)
        if 200 <= status < 300 or status == 304:
            if self.is_failing:
                self.succeeded()
            return Answer(status, headers, body, cost)
        raise self._refusal(route, taken, path, status, headers, cost, said(body, token))

    def _reserve(self, route: Route, subject: str | None, path: str, *, backlog: bool) -> Reservation | Unbucketed:
        taken: Reservation | Unbucketed | Wait
        if subject is None:
            taken = self.rate_limit.take_unbucketed()
        else:
            taken = self.rate_limit.take(self.bucket(route, subject), routes.TOKENS[2], backlog=backlog)
        if isinstance(taken, Wait):
            raise self.no_token(route, path, taken.seconds)
        self.is_failing |= taken.failures > 0
        return taken

    def _failed(self, path: str) -> Failure:
        self.is_failing = True
        return self.rate_limit.failed(path)

    def cut_short(self, path: str, cost: Cost) -> errors.Downtime:
        """The error of an answer whose body did not arrive whole."""
        verdict = self._failed(path)
        error = errors.Downtime(path, "the answer arrived cut short", retry_after=max(verdict.pause, 15.0), cost=cost)
        return error.judged(verdict)

    def succeeded(self) -> None:
        """A call got through."""
        self.is_failing = False
        self.rate_limit.succeeded()

    def no_token(self, route: Route, path: str, seconds: float) -> errors.NoToken:
        """The error of a call for which the rate limit has no token for so many seconds."""
        metrics.budget_refusal(route.name)
        return errors.NoToken(path, f"no token for {seconds:.0f} s", retry_after=self._clock.here(seconds))

    def _settle(
        self, route: Route, taken: Reservation | Unbucketed, status: int | None, headers: dict[str, str]
    ) -> None:
        if not isinstance(taken, Reservation):
            left, reset = headers.get("x-esi-error-limit-remain", ""), headers.get("x-esi-error-limit-reset", "")
            if left.isdecimal() and reset.isdecimal() and (int(left) < 60 or status is None or status >= 400):
                self.rate_limit.record_errors(int(left), float(reset))
            return
        group = headers.get("x-ratelimit-group")
        if group and group != taken.bucket.group:
            self._groups[route.name] = group
        remaining = headers.get("x-ratelimit-remaining", "")
        left_over = int(remaining) if remaining.isdecimal() else None
        self.rate_limit.settle(
            taken,
            routes.cost(status) if status is not None else 0,
            limit=routes.parse_limit(headers.get("x-ratelimit-limit", "")),
            remaining=left_over,
        )

    def _refusal(
        self, route: Route, taken: Reservation | Unbucketed, path: str, status: int, headers: dict[str, str], cost: Cost,
        words: str,
    ) -> errors.EsiError:  # fmt: skip
        why = answered("ESI", status, words)
        if status == 429:
            seconds = seconds_of(headers.get("retry-after"), 60.0)
            if isinstance(taken, Reservation):
                self.rate_limit.block(taken.bucket, seconds)
            else:
                self.rate_limit.block_all(seconds)
            wait = self._clock.here(seconds)
            return errors.RateLimited(
                path, f"{why} (for {seconds:.0f} s)", retry_after=wait, cost=cost, status=status, said=words
            )
        if status == 420:
            seconds = seconds_of(headers.get("x-esi-error-limit-reset") or headers.get("retry-after"), 60.0)
            self.rate_limit.block_all(seconds)
            wait = self._clock.here(seconds)
            return errors.ErrorLimited(
                path, f"{why} (for {seconds:.0f} s)", retry_after=wait, cost=cost, status=status, said=words
            )
        if status >= 500:
            verdict = self._failed(path)
            pause = max(verdict.pause, seconds_of(headers.get("retry-after"), 5.0))
            error = errors.Downtime(path, why, retry_after=pause, cost=cost, status=status, said=words)
            return error.judged(verdict)
        if 300 <= status < 400:
            return errors.Malformed(path, f"ESI answered {status}, a redirect", cost=cost, status=status)
        kind = {
            401: errors.TokenRejected,
            403: errors.Forbidden,
            404: errors.NotFound,
            422: errors.InvalidHash if route is routes.KILLMAIL else errors.BadRequest,
        }.get(status, errors.BadRequest)
        return kind(path, why, cost=cost, status=status, said=words)
