"""What can go wrong between Killsync and ESI, by meaning. Each error names route and ids and never a token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from killsync.esi.rate_limit.circuit_breaker import Failure


@dataclass(frozen=True)
class Cost:
    """What a call spent at ESI."""

    requests: int = 0
    tokens: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.requests + other.requests, self.tokens + other.tokens)


class EsiError(Exception):
    """A call to ESI did not bring what was asked for.

    Attributes:
        route: the route with its ids, such as `/killmails/1/abc`.
        retry_after: seconds after which the same call may be made again; None when that is not known.
        cost: what the call spent.
        status: of ESI's answer; None when there was none.
        said: why, in ESI's own words as they may be shown; empty when it gave no reason.
    """

    #: Whether waiting alone may cure it.
    transient = False

    def __init__(self, route: str, reason: str, *, retry_after: float | None = None, cost: Cost | None = None,
                 status: int | None = None, said: str = "") -> None:  # fmt: skip
        super().__init__(f"{route}: {reason}")
        self.route = route
        self.reason = reason
        self.retry_after = retry_after
        self.cost = cost or Cost()
        self.status = status
        self.said = said


class NoToken(EsiError):
    """The rate limit has no token for the call; nothing was sent."""

    transient = True


class RateLimited(EsiError):
    """ESI answered 429: the bucket is empty. Nothing of that bucket leaves before `retry_after`."""

    transient = True


class ErrorLimited(EsiError):
    """ESI answered 420: too many errors on routes without a bucket. Nothing at all leaves before `retry_after`."""

    transient = True


class Downtime(EsiError):
    """ESI or the way to it is away: 5xx, 520, time-outs, resets, DNS, bodies that arrive cut short.

    Attributes:
        alone: this resource failed before, and others were answered since: it is this resource that is in trouble.
        is_only: nothing else is known to fail, though nothing else may have been asked.
        own_pause: seconds that the same resource is left alone where nobody waits for it in person.
    """

    transient = True
    alone = False
    is_only = False
    own_pause = 0.0

    def judged(self, verdict: Failure) -> Self:
        """This error with what the failure means, by the circuit breaker."""
        self.alone, self.is_only, self.own_pause = verdict.alone, verdict.is_only, verdict.own_pause
        return self


class TokenRejected(EsiError):
    """ESI answered 401: the access token is not (or no longer) valid."""


class Forbidden(EsiError):
    """ESI answered 403: the token lacks the scope, the role, or belongs to another character."""


class NotFound(EsiError):
    """ESI answered 404."""


class InvalidHash(EsiError):
    """ESI answered 422 for a killmail: the hash is wrong, or ESI is under load."""


class BadRequest(EsiError):
    """Another 4xx: ESI did not understand the call. Asking the same again is of no use."""


class Malformed(EsiError):
    """The answer is not what the route promises: another type, another content type, too large, a redirect."""
