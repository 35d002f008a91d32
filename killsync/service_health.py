"""What all processes together know of the health of a service, each in one row that is read and changed under a lock.

Nothing here asks a service or decides what its health means.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from models.exactly_once import in_transaction_once
from models.expressions import epoch_of, evaluate, locked, now
from models.health import Health

S = TypeVar("S")
T = TypeVar("T")


def read(name: str, kind: type[S]) -> S:
    """What is known of the service *name*; what a new *kind* says when nothing is."""
    found = Health.get_or_none(Health.name == name)
    return _decoded(found.state if found else "{}", kind)


def change(name: str, kind: type[S], work: Callable[[S, float], T]) -> T:
    """Do *work* to what is known of the service *name*, in one transaction over all processes; its result.

    Args:
        kind: what is known, a struct whose fields all have defaults; *work* changes it in place, more than once if the
            transaction has to be repeated.
        work: is given it and the database's clock, seconds since the epoch.
    """

    def under_lock() -> T:
        Health.insert(name=name, state="{}", updated_at=now()).on_conflict_ignore().execute()
        row: Any = locked(Health.select().where(Health.name == name)).first()
        state = _decoded(row.state, kind)
        result = work(state, clock())
        text = msgspec.json.encode(state).decode()
        if text != row.state:
            Health.update(state=text, updated_at=now()).where(Health.name == name).execute()
        return result

    return in_transaction_once(under_lock)


def clock() -> float:
    """The database's clock, seconds since the epoch: hosts whose clocks differ judge by it alike."""
    return float(evaluate(epoch_of(now())))


def _decoded(text: str, kind: type[S]) -> S:
    """What another version stored is understood as far as it goes."""
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.ValidationError:
        return kind()
