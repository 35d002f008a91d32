"""Which killmails a webhook wants. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from killsync.killmails.filter import BOTH_SIDES, Filter
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
        parties = Filter(
            corporation_id=self.corporation_id,
            alliance_id=self.alliance_id,
            system_id=self.system_id,
            sides=_SIDES[self.side],
            mine=tuple(character_ids) if self.mine else None,
        )
        return parties.matches(killmail)

    def is_loss(self, killmail: Killmail, character_ids: Sequence[int]) -> bool:
        """Whether the side that this webhook watches lost the ship."""
        watched = Filter(
            corporation_id=self.corporation_id,
            alliance_id=self.alliance_id,
            sides=VICTIM_SIDE,
            mine=tuple(character_ids) if self.mine else None,
        )
        return bool(watched.parties) and watched.matches(killmail)

    def dump(self) -> str:
        """The filter as JSON."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def load(cls, text: str) -> WebhookFilter:
        """The filter that `dump` wrote; conditions of a newer version are left out."""
        data = {name: value for name, value in json.loads(text).items() if name in cls.__dataclass_fields__}
        data["ship_type_ids"] = tuple(data.get("ship_type_ids", ()))
        return cls(**data)
