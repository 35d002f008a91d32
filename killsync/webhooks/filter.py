"""Which killmails a webhook wants. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from killsync.killmails.filter import BOTH_SIDES, KillmailFilter
from killsync.killmails.killmail import Killmail
from models.killmails import ATTACKER_SIDE, VICTIM_SIDE

KILLS = "kills"
LOSSES = "losses"
BOTH = "both"
_SIDES = {KILLS: ATTACKER_SIDE, LOSSES: VICTIM_SIDE, BOTH: BOTH_SIDES}

#: Killmails older than this when they were stored are not sent, seconds: a first sync brings 90 days of them.
DEFAULT_AGE = 3600
MOST_AGE = 90 * 86_400
MOST_SHIPS = 50
MOST_ATTACKERS = 10_000
#: An id is a positive number that the database's BIGINT holds.
MOST_ID = 2**63 - 1


class BadFilter(ValueError):
    """These conditions cannot be evaluated; the text says which, for the webhook's owner."""


@dataclass(frozen=True)
class WebhookFilter:
    """All conditions hold.

    Attributes:
        mine: a character of the webhook's account takes part.
        side: where the account's characters, the corporation and the alliance stand: kills, losses or both.
        corporation_id, alliance_id: takes part, on that side.
        ship_type_ids: the ship that was lost is one of these; empty for any.
        system_id: where it happened.
        min_attackers: attackers at least.
        max_age: seconds between the fight and its being stored, at most.
    """

    mine: bool = True
    side: str = BOTH
    corporation_id: int | None = None
    alliance_id: int | None = None
    ship_type_ids: tuple[int, ...] = ()
    system_id: int | None = None
    min_attackers: int = 1
    max_age: int = DEFAULT_AGE

    def matches(self, killmail: Killmail, character_ids: Sequence[int], stored_at: datetime) -> bool:
        """Whether the killmail is wanted.

        Args:
            killmail: the killmail.
            character_ids: the characters of the webhook's account.
            stored_at: when the killmail was stored; its age counts then, so a worker that was away loses nothing.
        """
        if killmail.killmail_time < stored_at - timedelta(seconds=self.max_age):
            return False
        if killmail.attacker_count < self.min_attackers:
            return False
        if self.ship_type_ids and killmail.victim.ship_type.id not in self.ship_type_ids:
            return False
        parties = KillmailFilter(
            corporation_id=self.corporation_id,
            alliance_id=self.alliance_id,
            system_id=self.system_id,
            sides=_SIDES[self.side],
            mine=tuple(character_ids) if self.mine else None,
        )
        return parties.matches(killmail)

    def is_loss(self, killmail: Killmail, character_ids: Sequence[int]) -> bool:
        """Whether the side that this webhook watches lost the ship."""
        watched = KillmailFilter(
            corporation_id=self.corporation_id,
            alliance_id=self.alliance_id,
            sides=VICTIM_SIDE,
            mine=tuple(character_ids) if self.mine else None,
        )
        return bool(watched.clauses) and watched.matches(killmail)

    def check(self) -> None:
        """See that every condition can be evaluated.

        Raises:
            BadFilter: one cannot be.
        """
        if not isinstance(self.mine, bool):
            raise BadFilter("“one of my characters” is neither yes nor no")
        if self.side not in (KILLS, LOSSES, BOTH):
            raise BadFilter("the side is none of kills, losses and both")
        for what, number in (
            ("corporation", self.corporation_id),
            ("alliance", self.alliance_id),
            ("solar system", self.system_id),
        ):
            if number is not None and not _is_whole(number, 0, MOST_ID):
                raise BadFilter(f"the {what} is no id")
        if len(self.ship_type_ids) > MOST_SHIPS:
            raise BadFilter(f"there are more than {MOST_SHIPS} ships")
        if not all(_is_whole(number, 0, MOST_ID) for number in self.ship_type_ids):
            raise BadFilter("a ship is no id")
        if not _is_whole(self.min_attackers, 0, MOST_ATTACKERS):
            raise BadFilter(f"the number of attackers is not between 0 and {MOST_ATTACKERS}")
        if not _is_whole(self.max_age, 0, MOST_AGE):
            raise BadFilter(f"the age is not between 0 and {MOST_AGE // 86_400} days")

    def dump(self) -> str:
        """The filter as JSON.

        Raises:
            BadFilter: a condition cannot be evaluated, and is not stored.
        """
        self.check()
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def load(cls, text: str) -> WebhookFilter:
        """The filter that `dump` wrote; conditions of a newer version are left out.

        Raises:
            BadFilter: it is no filter, or a condition cannot be evaluated.
        """
        try:
            stored = json.loads(text)
        except (ValueError, RecursionError):
            raise BadFilter("they are not readable") from None
        if not isinstance(stored, dict):
            raise BadFilter("they are not readable")
        data = {name: value for name, value in stored.items() if name in cls.__dataclass_fields__}
        ships = data.get("ship_type_ids", [])
        if not isinstance(ships, list):
            raise BadFilter("a ship is no id")
        loaded = cls(**{**data, "ship_type_ids": tuple(ships)})
        loaded.check()
        return loaded


def _is_whole(value: Any, least: int, most: int) -> bool:
    return type(value) is int and least <= value <= most
