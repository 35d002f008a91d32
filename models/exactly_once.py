"""Transactions whose work must not be done twice: counters, and whatever is decided by what was new.

A connection can break while the answer to a COMMIT is on its way. Whether the transaction took place is then known to the
server alone, which is asked before anything is repeated.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from peewee import Select, Value, fn

from models.db import database, in_transaction
from models.errors import DatabaseAway
from models.expressions import either, evaluate
from models.prepared import Prepared

T = TypeVar("T")

#: A server that lost a client may still be ending its transaction; it is asked again for about this long, seconds.
ENDING_SECONDS = 5.0


@dataclass(frozen=True)
class _Finished(Generic[T]):
    """Work that was done up to its commit: the number of its transaction, and what it gave."""

    transaction: int
    result: T


def in_transaction_once(work: Callable[[], T], *, number_of: Callable[[T], int] | None = None) -> T:
    """Run *work* in a write transaction as `in_transaction` does, but never again after a commit that took place.

    It costs one statement more, unless *number_of* says which number of its transaction (`txid_current()`) *work* has
    brought along. What *work* gave is returned also when the answer to its commit was lost. Inside another transaction,
    that one decides: it has to be run by this function as well.
    """
    if database.obj.in_transaction():
        return work()
    finished: list[_Finished[T]] = []

    def repeatable() -> T:
        while finished:
            before = finished.pop()
            if _was_committed(before.transaction):
                return before.result
        result = work()
        finished.append(_Finished(number_of(result) if number_of is not None else _number(), result))
        return result

    return in_transaction(repeatable)


def _number() -> int:
    """Of the running transaction. A file has no answer to lose.

    https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-PG-SNAPSHOT
    """
    ((number,),) = _NUMBER.rows()
    return int(number)


_NUMBER = Prepared(lambda: Select([], [either(postgres=fn.txid_current(), sqlite=Value(0))]), lists=0)


def _was_committed(transaction: int) -> bool:
    deadline = time.monotonic() + ENDING_SECONDS
    while True:
        status = evaluate(either(postgres=fn.txid_status(transaction), sqlite=Value("aborted")))
        if status != "in progress":
            return status == "committed"
        if time.monotonic() > deadline:
            raise DatabaseAway("the database has not ended a transaction whose connection broke")
        time.sleep(0.1)
