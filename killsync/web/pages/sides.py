"""Who killed, by alliance and corporation: how many of each, and their share of the damage. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from killsync.killmails.killmail import Attacker, Entity


@dataclass
class Side:
    """An alliance, or a corporation or faction without one, and the corporations in it; `word`: how templates call its kind."""

    word: str
    entity: Entity | None
    pilots: int = 0
    damage: int = 0
    corporations: dict[int, Side] = field(default_factory=dict)

    def share(self, total: int) -> str:
        """Its part of the damage, as text."""
        return share(self.damage, total)

    @property
    def parts(self) -> list[Side]:
        """Its corporations, most damage first; none where it is one itself."""
        return _ordered(self.corporations.values()) if self.word == "alliance" else []


def share(damage: int, total: int) -> str:
    """A part of the damage, as text; empty where there was none."""
    if not total:
        return ""
    part = 100 * damage / total
    return "under 0.1 %" if 0 < part < 0.05 else f"{part:.1f} %"


def sides(attackers: list[Attacker]) -> list[Side]:
    """The sides of a killmail, most damage first. Whoever belongs to nobody is one side of its own, at its place."""
    found: dict[tuple[str, int], Side] = {}
    for attacker in attackers:
        word, entity = _belongs_to(attacker)
        side = found.setdefault((word, entity.id if entity else 0), Side(word, entity))
        _count(side, attacker)
        if attacker.corporation is not None:
            corporation = attacker.corporation
            _count(side.corporations.setdefault(corporation.id, Side("corporation", corporation)), attacker)
    return _ordered(found.values())


def _belongs_to(attacker: Attacker) -> tuple[str, Entity | None]:
    for word in ("alliance", "corporation", "faction"):
        entity: Entity | None = getattr(attacker, word)
        if entity is not None:
            return word, entity
    return "", None


def _count(side: Side, attacker: Attacker) -> None:
    side.pilots += 1
    side.damage += attacker.damage_done


def _ordered(sides: object) -> list[Side]:
    return sorted(sides, key=lambda side: (-side.damage, -side.pilots))  # type: ignore[call-overload,no-any-return]
