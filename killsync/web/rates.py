"""How often, and for how much, one address or account may ask. Counts in this process; knows nothing of requests."""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass
from ipaddress import ip_network


@dataclass(frozen=True)
class Rate:
    """At most *burst* at once, and *per_minute* after that."""

    burst: float
    per_minute: float


RATES = {
    # Every request but health answers, whatever it asks for.
    "request": Rate(1_000, 6_000),
    "login": Rate(120, 60),
    "callback": Rate(240, 120),
    "logout": Rate(30, 60),
    "mutation": Rate(30, 30),
    # Of one access key, wherever it is used from; and keys that are none, of one address.
    "key": Rate(300, 600),
    "wrong_key": Rate(20, 10),
    "graphql": Rate(300, 1200),
    "socket": Rate(60, 60),
    # What comes over WebSockets, pings too: more is read later.
    "message": Rate(3_000, 60_000),
    "search": Rate(60, 240),
    "rows": Rate(200, 600),
    "page": Rate(120, 600),
    "webhooks": Rate(60, 30),
    "webhook_test": Rate(10, 6),
    "metrics": Rate(30, 60),
    "feed": Rate(600, 1200),
    "api": Rate(60, 120),
    "stream": Rate(200, 120),
    # In ESI's tokens: what is no killmail costs five, one that is there two. ESI gives 3,600 in 15 minutes.
    "submit": Rate(50, 10),
    "submit_in_all": Rate(150, 40),
    # In seconds of this process's computing: a third of one core, and some seconds at once.
    "computing": Rate(5, 20),
    # The same for making pages, so that who computes too much can still read.
    "rendering": Rate(5, 20),
    # In megabytes of files: the explorer has two.
    "files": Rate(60, 300),
}
#: Callers that each kind is counted for by themselves.
MOST_CALLERS = 10_000
#: What does not fit is counted together with its neighbours, who may do so many times as much as one of them.
NEIGHBOURS = 20


class _Account:
    """What one caller may still do of one kind."""

    __slots__ = ("at", "left", "rate", "scale")

    def __init__(self, rate: Rate, scale: float, now: float) -> None:
        self.rate, self.scale, self.at = rate, scale, now
        self.left = rate.burst * scale

    def refill(self, now: float) -> None:
        self.left = min(self.rate.burst * self.scale, self.left + (now - self.at) * self.per_second)
        self.at = now

    @property
    def per_second(self) -> float:
        return self.rate.per_minute * self.scale / 60

    def take(self, cost: float, now: float) -> float:
        """0.0, and *cost* is counted; else the seconds to wait."""
        self.refill(now)
        if self.left < cost:
            return (cost - self.left) / self.per_second
        self.left -= cost
        return 0.0

    def is_full(self, now: float) -> bool:
        self.refill(now)
        return self.left >= self.rate.burst * self.scale


class Limiter:
    """Counts what each address or account asks for, in this process.

    A caller is forgotten when it may do everything again, and not earlier: however many addresses somebody has, none of
    them begins anew by using the others. Where there is no room for a new caller, its neighbourhood is counted instead.
    """

    def __init__(self, most_callers: int = MOST_CALLERS) -> None:
        self._most = most_callers
        #: By kind and caller, who asked last is last.
        self._callers: dict[str, OrderedDict[str, _Account]] = {}
        self._neighbourhoods: dict[tuple[str, str], _Account] = {}

    def wait(self, kind: str, who: str, now: float | None = None, *, cost: float = 1.0, scale: float = 1.0) -> float:
        """0.0 when *who* may do *kind* now, and *cost* is counted; else the seconds to wait.

        *scale*: how many times one visitor's rate *who* has, for a network of many.
        """
        now = time.monotonic() if now is None else now
        return self._account(kind, who, scale, now).take(cost, now)

    def charge(self, kind: str, who: str, cost: float, now: float | None = None, *, scale: float = 1.0) -> None:
        """Count *cost* that was not known before it arose; a negative one gives back what was counted too much."""
        now = time.monotonic() if now is None else now
        account = self._account(kind, who, scale, now)
        account.refill(now)
        account.left = min(account.rate.burst * account.scale, account.left - cost)

    def _account(self, kind: str, who: str, scale: float, now: float) -> _Account:
        callers, rate = self._callers.setdefault(kind, OrderedDict()), RATES[kind]
        found = callers.get(who)
        if found is None:
            if len(callers) >= self._most and not _forget_one(callers, now):
                key = (kind, _neighbourhood(who))
                return self._neighbourhoods.setdefault(key, _Account(rate, scale * NEIGHBOURS, now))
            found = callers[who] = _Account(rate, scale, now)
        found.rate = rate
        callers.move_to_end(who)
        return found


def _forget_one(callers: OrderedDict[str, _Account], now: float) -> bool:
    """Forget the caller that asked longest ago, if it may do everything again."""
    who = next(iter(callers))
    if not callers[who].is_full(now):
        return False
    del callers[who]
    return True


def _neighbourhood(who: str) -> str:
    """The network that a caller's own is part of: few enough to count each."""
    try:
        network = ip_network(who, strict=False)
    except ValueError:
        return "others"
    return str(network.supernet(new_prefix=min(network.prefixlen, 8 if network.version == 4 else 20)))
