"""What is held open for somebody, and how much one may hold: each socket, each address, each account, the process. No I/O.

`rates` bounds how often somebody asks; this bounds what of it is there at the same time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Most:
    """The most that each may hold of one kind."""

    socket: int
    address: int
    account: int
    process: int


LIMITS = {
    "open sockets": Most(socket=1, address=100, account=100, process=5_000),
    "open operations": Most(socket=100, address=5_000, account=5_000, process=20_000),
    # What one event costs all the subscriptions that are executed for it: about 10 µs a point.
    "points of open subscriptions": Most(socket=30_000, address=100_000, account=100_000, process=1_000_000),
    # Documents and variables of what is open.
    "bytes of open operations": Most(socket=8_388_608, address=33_554_432, account=33_554_432, process=268_435_456),
    # Answers that wait until a client takes them, each as often as it lies in memory.
    "bytes of answers not taken": Most(socket=25_165_824, address=33_554_432, account=33_554_432, process=134_217_728),
}


class TooMuch(Exception):
    """Somebody would hold more than one may. Says of what, how much, whose limit, and the limit."""

    def __init__(self, what: str, found: int, whose: str, limit: int) -> None:
        super().__init__(f"{found} {what} of one {whose}; the limit is {limit}")
        self.what, self.found, self.whose, self.limit = what, found, whose, limit


@dataclass(frozen=True)
class Holder:
    """For whom something is held. *address* is a network (`security.network_of`)."""

    socket: int
    address: str
    account: int | None = None

    def each(self) -> Iterator[tuple[str, int | str]]:
        yield "socket", self.socket
        yield "address", self.address
        if self.account is not None:
            yield "account", self.account
        yield "process", 0


class Held:
    """What was taken; `release` gives it back, once."""

    def __init__(self, shares: Shares, keys: list[tuple[str, str, int | str]], amount: int) -> None:
        self._shares = shares
        self._keys = keys
        self._amount = amount

    def release(self) -> None:
        for key in self._keys:
            self._shares.give(key, self._amount)
        self._keys = []


class Shares:
    """Everything that is held in this process."""

    def __init__(self) -> None:
        self._held: Counter[tuple[str, str, int | str]] = Counter()

    def take(self, what: str, holder: Holder, amount: int = 1) -> Held:
        """Hold *amount* of *what* for *holder*.

        Raises:
            TooMuch: that would be more than the socket, address, account or process may hold.
        """
        keys = [(what, whose, key) for whose, key in holder.each()]
        for key in keys:
            limit: int = getattr(LIMITS[what], key[1])
            if self._held[key] + amount > limit:
                raise TooMuch(what, self._held[key] + amount, key[1], limit)
        for key in keys:
            self._held[key] += amount
        return Held(self, keys, amount)

    def give(self, key: tuple[str, str, int | str], amount: int) -> None:
        """Hold so much less."""
        self._held[key] -= amount
        if self._held[key] <= 0:
            del self._held[key]

    def held(self, what: str) -> int:
        """How much of *what* the process holds."""
        return self._held[what, "process", 0]
