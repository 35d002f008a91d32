"""The universe: who exists, who fought whom and when. Pure and seeded; bodies of killmails are made when asked for."""

from __future__ import annotations

import hashlib
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from simulator import catalog, names
from simulator.bodies import make_body
from simulator.config import SimulatorConfig

DAY = 86_400.0


@dataclass
class Character:
    """A pilot."""

    character_id: int
    name: str
    corporation_id: int
    owner: str
    is_director: bool = False


@dataclass(frozen=True)
class Kill:
    """One kill: who took part and when.

    `visible_at` is when lists may first name it. `credited_id` is the pilot with the final blow or, where an NPC has it, the last
    pilot who did damage: beside the victim's, this pilot's list alone names the kill; None where only NPCs took part.
    """

    killmail_id: int
    killmail_hash: str
    time: float
    visible_at: float
    victim_id: int | None
    attackers: tuple[int, ...]
    credited_id: int | None
    kind: str
    victim_corporation_id: int


@dataclass
class Universe:
    """Everything that exists. `now` anchors the newest kills."""

    config: SimulatorConfig
    now: float
    characters: dict[int, Character] = field(default_factory=dict)
    corporations: dict[int, tuple[str, int | None]] = field(default_factory=dict)
    alliances: dict[int, str] = field(default_factory=dict)
    kills: dict[int, Kill] = field(default_factory=dict)
    by_character: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    by_corporation: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        self._rng = random.Random(self.config.seed)
        self._next_id = 120_000_000 + self.config.seed * 1_000_000
        self._populate()
        self._fight()

    @property
    def demo_characters(self) -> list[Character]:
        """The first three pilots, the ones with long lists."""
        return list(self.characters.values())[:3]

    def _populate(self) -> None:
        for number in range(1, 4):
            self.alliances[99_000_000 + number] = names.alliance_name(number)
        for number in range(1, 11):
            alliance = 99_000_001 + number % 4 if number % 4 < 3 else None
            self.corporations[98_000_000 + number] = (
                names.corporation_name(number, hostile=self.config.hostile_names),
                alliance,
            )
        for number in range(self.config.characters):
            character_id = 2_112_000_001 + number * 17
            corporation = 98_000_001 if number < 6 else 98_000_001 + self._rng.randrange(10)
            self.characters[character_id] = Character(
                character_id,
                names.character_name(self._rng, number, hostile=self.config.hostile_names),
                corporation,
                hashlib.sha1(f"owner:{self.config.seed}:{character_id}".encode(), usedforsecurity=False).hexdigest(),
                is_director=number in (0, 2),
            )

    def _fight(self) -> None:
        """Fill the lists of the first characters to their wanted lengths; the others come in as company and as victims."""
        everyone = list(self.characters)
        for position, wanted in enumerate(self.config.kills):
            hero = everyone[position]
            moments = sorted(
                self.now - self._rng.random() ** 2 * (self.config.days - 1) * DAY
                for _ in range(max(0, wanted - len(self.by_character[hero])))
            )
            for moment in moments:
                full = [
                    other
                    for other, limit in zip(everyone, self.config.kills, strict=False)
                    if len(self.by_character[other]) >= limit
                ]
                self.add_kill(hero, moment, without=full)

    def add_kill(
        self, hero: int, moment: float, *, visible_at: float | None = None, company: Sequence[int] = (),
        without: Sequence[int] = (), kind: str | None = None, credited: int | None = None,
    ) -> Kill:  # fmt: skip
        """Add one kill or loss of *hero*; company of a random size joins in, heavy-tailed, never those of *without*.

        The lists of *hero* name it: a kill is credited to them, whoever joined in. *credited* names another attacker.
        """
        rng = self._rng
        others = [pilot for pilot in self.characters if pilot != hero and pilot not in without]
        size = min(len(others), max(0, int(rng.paretovariate(1.1)) - 1), 5 if self.config.many_items else len(others))
        joined = list(dict.fromkeys([*company, *rng.sample(others, size)]))
        kind = kind or rng.choices(
            ("kill", "loss", "npc loss", "structure", "solo", "awox"), (46, 22, 10, 6, 12, 4)
        )[0]  # fmt: skip
        if not others:
            kind = "npc loss"
        victim: int | None
        if kind in ("loss", "npc loss"):
            victim, attackers = hero, joined or [rng.choice(others)] if kind == "loss" and others else []
        elif kind == "structure":
            victim, attackers = None, [hero, *joined]
        else:
            free = [pilot for pilot in others if pilot not in joined] or others
            victim = rng.choice(free)
            if kind == "awox":
                kin = [pilot for pilot in free if self.characters[pilot].corporation_id ==
                       self.characters[hero].corporation_id]  # fmt: skip
                victim = rng.choice(kin) if kin else victim
            attackers = [hero] if kind == "solo" else [hero, *(pilot for pilot in joined if pilot != victim)]
        corporation = self.characters[victim].corporation_id if victim else 98_000_001 + rng.randrange(10)
        # Ids mostly grow with time; now and then one is out of order, as on Tranquility.
        self._next_id += rng.randrange(1, 40)
        kill = Kill(
            killmail_id=self._next_id,
            killmail_hash=hashlib.sha1(
                f"{self.config.seed}:{self._next_id}".encode(), usedforsecurity=False
            ).hexdigest(),
            time=float(int(moment)),
            visible_at=moment if visible_at is None else visible_at,
            victim_id=victim,
            attackers=tuple(dict.fromkeys(attackers)),
            credited_id=credited or (hero if hero in attackers else next(iter(attackers), None)),
            kind=kind,
            victim_corporation_id=corporation,
        )
        self._enter(kill)
        return kill

    def _enter(self, kill: Kill) -> None:
        self.kills[kill.killmail_id] = kill
        listing = {pilot for pilot in (kill.credited_id, kill.victim_id) if pilot is not None}
        for pilot in listing:
            self.by_character[pilot].append(kill.killmail_id)
        corporations = {self.characters[pilot].corporation_id for pilot in listing} | {kill.victim_corporation_id}
        for corporation in corporations:
            self.by_corporation[corporation].append(kill.killmail_id)

    def listed(self, kind: str, subject_id: int, now: float) -> list[tuple[int, str]]:
        """What killmails/recent of a character or corporation names at *now*, newest first."""
        index = self.by_character if kind == "character" else self.by_corporation
        oldest = now - self.config.days * DAY
        found = [self.kills[number] for number in index.get(subject_id, ())]
        shown = [kill for kill in found if kill.visible_at <= now and kill.time >= oldest]
        shown.sort(key=lambda kill: (-kill.time, -kill.killmail_id))
        return [(kill.killmail_id, kill.killmail_hash) for kill in shown]

    def body(self, killmail_id: int) -> dict[str, Any]:
        """The killmail as ESI serves it; the same each time."""
        return make_body(self, self.kills[killmail_id])

    def name_of(self, entity_id: int) -> tuple[str, str] | None:
        """(category, name) of any id of the universe."""
        if entity_id in self.characters:
            return "character", self.characters[entity_id].name
        if entity_id in self.corporations:
            return "corporation", self.corporations[entity_id][0]
        if entity_id in self.alliances:
            return "alliance", self.alliances[entity_id]
        if entity_id in names.NPC_CORPORATIONS:
            return "corporation", names.NPC_CORPORATIONS[entity_id]
        if entity_id in names.FACTIONS:
            return "faction", names.FACTIONS[entity_id]
        if entity_id in catalog.SYSTEMS:
            return "solar_system", catalog.SYSTEMS[entity_id][0]
        if entity_id in catalog.TYPES:
            return "inventory_type", catalog.name_of(entity_id)
        return None
