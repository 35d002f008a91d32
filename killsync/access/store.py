"""Where characters belong, as ESI said it: what is due to be asked, and what was answered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from peewee import Node

from killsync.esi.schemas import Affiliation as Said
from models.access import Affiliation
from models.db import in_transaction
from models.expressions import locked, now
from models.users import User

#: Where a character belongs is asked for anew after this long, seconds.
RECHECK_SECONDS = 86_400.0
#: A request that is sent anyway carries those too whose answer is this old, so that all are asked in few requests, seconds.
SOON_SECONDS = 43_200.0
#: What was asked for and not answered is asked for again after this long, seconds.
AGAIN_SECONDS = 900.0
#: What is known of characters that are no users is kept this long, seconds.
STRANGERS_SECONDS = 86_400.0


def _due(seconds: float) -> Any:
    """Users of whom ESI said nothing for so long, and whom nobody has just asked about."""
    is_old = Affiliation.checked_at.is_null() | (Affiliation.checked_at <= now(-seconds))
    is_free = Affiliation.asked_at.is_null() | (Affiliation.asked_at <= now(-AGAIN_SECONDS))
    joined: Any = User.select(User.character_id).left_outer_join(
        Affiliation, on=(Affiliation.character_id == User.character_id)
    )
    return joined.where(is_old & is_free)


def is_due() -> bool:
    """Whether somebody's answer is a day old."""
    return bool(_due(RECHECK_SECONDS).exists())


def claim_due(limit: int) -> list[int]:
    """Up to *limit* characters to ask ESI about, those of the oldest answers; nobody else asks about them for a while."""

    def work() -> list[int]:
        # Two workers at once would ask twice: the second waits here, and finds nothing due.
        locked(Affiliation.select().where(Affiliation.character_id == _TURN)).first()
        if not is_due():
            return []
        ordered = _due(SOON_SECONDS).order_by(Affiliation.checked_at.asc(nulls="FIRST"), User.id).limit(limit)
        chosen = [row.character_id for row in ordered.namedtuples()]
        entered = Affiliation.insert_many([{"character_id": number} for number in chosen]).on_conflict_ignore()
        if chosen:
            entered.execute()
        Affiliation.update(asked_at=now()).where(Affiliation.character_id.in_(chosen)).execute()
        return chosen

    in_transaction(Affiliation.insert(character_id=_TURN, checked_at=now()).on_conflict_ignore().execute)
    return in_transaction(work)


#: The row that who claims holds, so that two never claim at once.
_TURN = 0


def note(found: Mapping[int, Said], missing: Iterable[int] = ()) -> None:
    """Note an answer. Of the *missing* nothing was said: what was known of them stays, and they are asked about in a day."""

    def work() -> None:
        for number, said in sorted(found.items()):
            values: dict[str, Any] = {
                "corporation_id": said.corporation_id, "alliance_id": said.alliance_id, "checked_at": now(),
            }  # fmt: skip
            entering = Affiliation.insert(character_id=number, **values)
            entering.on_conflict(conflict_target=(Affiliation.character_id,), update=values).execute()
        left = [number for number in missing if number not in found]
        if left:
            Affiliation.update(checked_at=now()).where(Affiliation.character_id.in_(left)).execute()

    in_transaction(work)


def fresh(character_id: int, seconds: float) -> Affiliation | None:
    """What ESI said of a character at most *seconds* ago."""
    is_fresh: Node = (Affiliation.character_id == character_id) & (Affiliation.checked_at > now(-seconds))
    return Affiliation.select().where(is_fresh).first()


def prune() -> None:
    """Forget characters that only tried to log in. Inside the caller's transaction."""
    users = User.select(User.character_id)
    is_old = Affiliation.checked_at <= now(-STRANGERS_SECONDS)
    is_nobody = Affiliation.character_id.not_in(users) & (Affiliation.character_id != _TURN)
    Affiliation.delete().where(is_old & is_nobody).execute()
