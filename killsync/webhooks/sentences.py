"""What a message says of a killmail, in sentences for people. Pure; names are hostile and put through an escape."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from killsync.killmails.amounts import isk
from killsync.killmails.classification import shown_security
from killsync.killmails.killmail import Entity, Killmail, Party, SolarSystem

#: Makes a name safe for one kind of receiver.
Escape = Callable[[str], str]


@dataclass(frozen=True)
class Origin:
    """How far a killmail is from the system from which its tracker counts; None where no way leads, or none is known."""

    name: str
    jumps: int | None
    light_years: float | None


def name(entity: Entity | None, noun: str) -> str:
    return "" if entity is None else entity.name or f"{noun} {entity.id}"


def _who(party: Party, escape: Escape) -> tuple[str, str]:
    """(the pilot, or who stands for a party without one; their corporation and alliance), escaped."""
    pilot, corporation = name(party.character, "Character"), name(party.corporation, "Corporation")
    alliance, faction = name(party.alliance, "Alliance"), name(party.faction, "Faction")
    first = pilot or corporation or faction or "Unknown"
    rest = [name for name in (corporation, alliance or faction) if name and name != first]
    return escape(first), ", ".join(escape(name) for name in rest)


def _article(killmail: Killmail) -> str:
    return "an" if name(killmail.victim.ship_type, "Type")[:1] in tuple("AEIOUaeiou") else "a"


def _where(system: SolarSystem, escape: Escape) -> str:
    """Security as the game shows it, and the region, as far as they are known."""
    known = [
        *([f"{shown_security(system.security_status):.1f}"] if system.security_status is not None else []),
        *([escape(system.region.name)] if system.region is not None and system.region.name else []),
    ]
    return f" ({', '.join(known)})" if known else ""


def sentences(killmail: Killmail, escape: Escape, bold: str, origin: Origin | None = None) -> list[str]:
    """What a message says, a line each; names are put through *escape*, the most important words stand in *bold*."""
    ship = escape(name(killmail.victim.ship_type, "Type"))
    system = escape(name(killmail.solar_system, "System"))
    group = killmail.victim.ship_type.group
    kind = f" ({escape(group.name)})" if group is not None and group.name else ""
    who, of = _who(killmail.victim, escape)
    lines = [
        f"{bold}{who}{bold}{f' ({of})' if of else ''} lost {_article(killmail)} {bold}{ship}{bold}{kind} in {bold}{system}{bold}"
        f"{_where(killmail.solar_system, escape)}."
    ]
    if origin is not None and (distance := _distance(origin, escape)):
        lines.append(distance)
    blow = killmail.final_blow
    if blow:
        killer, of = _who(blow, escape)
        flown = f" in {escape(name(blow.ship_type, 'Type'))}" if blow.ship_type else ""
        lines.append(f"Final blow by {bold}{killer}{bold}{f' ({of})' if of else ''}{flown}.")
    if killmail.value is not None:
        lines.append(f"Worth {bold}{isk(killmail.value.total)}{bold}, of which {isk(killmail.value.dropped)} dropped.")
    marks = [word for word, is_so in (("solo", killmail.solo), ("NPC", killmail.npc)) if is_so]
    count = killmail.attacker_count
    lines.append(f"{count} attacker{'' if count == 1 else 's'}{f' ({marks[0]})' if marks else ''}, "
                 f"{killmail.victim.damage_taken:,} damage.{_most(killmail, escape)}")  # fmt: skip
    return lines


def _distance(origin: Origin, escape: Escape) -> str:
    ways = [f"{origin.jumps} jump{'' if origin.jumps == 1 else 's'}"] if origin.jumps is not None else []
    ways += [f"{origin.light_years:.1f} light years"] if origin.light_years is not None else []
    return f"{' and '.join(ways)} from {escape(origin.name)}." if ways else ""


def _most(killmail: Killmail, escape: Escape) -> str:
    """Whose most of the attackers are, and what most of them fly; nothing for one alone."""
    if killmail.attacker_count < 2:
        return ""
    organizations = Counter(
        entity.name for party in killmail.attackers if (entity := party.alliance or party.corporation or party.faction)
    )
    groups = Counter(
        party.ship_type.group.name for party in killmail.attackers if party.ship_type and party.ship_type.group
    )
    said = [_first(organizations, escape), _first(groups, escape, "in ")]
    found = [each for each in said if each]
    return f" Most of them: {', '.join(found)}." if found else ""


def _first(counted: Counter[str | None], escape: Escape, before: str = "") -> str:
    del counted[None]
    if not counted:
        return ""
    first, count = counted.most_common(1)[0]
    return f"{before}{escape(str(first))} ({count})"
