"""Clauses of a filter that can never hold together, and which they are. Values of one clause are not compared. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from killsync.killmails.filter import BOUNDS, PARTY_KINDS, PLACES, KillmailFilter

#: Pairs of flags and labels that no killmail has both of.
_APART = (("npc", "solo"), ("npc", "pvp"))


def contradiction(chosen: KillmailFilter, names: Mapping[str, str]) -> tuple[str, str] | None:
    """(what contradicts what, the name of the first), or None; *names* is how the reader calls each clause."""
    for one, other, why in _found(chosen):
        return f"{names[one]} and {names[other]} contradict each other: {why}", one
    return None


def _found(chosen: KillmailFilter) -> Iterator[tuple[str, str, str]]:
    for least, most, _ in BOUNDS:
        low, high = getattr(chosen, least), getattr(chosen, most)
        if low is not None and high is not None and low > high:
            yield least, most, "the first is above the second, and nothing can be both"
    yield from _excluded(chosen)
    yield from _places(chosen)
    yield from _kinds(chosen)


def _excluded(chosen: KillmailFilter) -> Iterator[tuple[str, str, str]]:
    """All that one clause wants is what another leaves out."""
    for of in ("victim", "attackers"):
        for name in PARTY_KINDS:
            wanted, unwanted = getattr(getattr(chosen, of), name), getattr(getattr(chosen, f"not_{of}"), name)
            if _is_within(wanted, unwanted):
                yield f"{of}.{name}", f"not_{of}.{name}", "all that the first wants is left out by the second"
    for name in PLACES:
        if _is_within(getattr(chosen, name), getattr(chosen, f"not_{name}")):
            yield name, f"not_{name}", "all that the first wants is left out by the second"
    if both := set(chosen.labels) & set(chosen.not_labels):
        yield "labels", "not_labels", f"“{min(both)}” is wanted and left out"


def _is_within(wanted: Collection[object], unwanted: Collection[object]) -> bool:
    return bool(wanted) and set(wanted) <= set(unwanted)


def _places(chosen: KillmailFilter) -> Iterator[tuple[str, str, str]]:
    for one, several in (
        ("system_id", "system_ids"),
        ("constellation_id", "constellation_ids"),
        ("region_id", "region_ids"),
    ):
        place, wanted = getattr(chosen, one), getattr(chosen, several)
        if place is not None and wanted and place not in wanted:
            yield one, several, "a killmail happens in one place"
        if place is not None and place in getattr(chosen, f"not_{several}"):
            yield one, f"not_{several}", "the place is wanted and left out"


def _kinds(chosen: KillmailFilter) -> Iterator[tuple[str, str, str]]:
    wanted = {name: name for name in ("npc", "solo", "awox", "war") if getattr(chosen, name)}
    unwanted = {name: name for name in ("npc", "solo", "awox", "war") if getattr(chosen, name) is False}
    wanted |= {label: "labels" for label in chosen.labels if label not in wanted}
    unwanted |= {label: "not_labels" for label in chosen.not_labels if label not in unwanted}
    for one, other in _APART:
        if one in wanted and other in wanted and wanted[one] != wanted[other]:
            yield wanted[one], wanted[other], f"no killmail is both {one} and {other}"
    for kind in wanted:
        if kind in unwanted:
            yield wanted[kind], unwanted[kind], f"“{kind}” is wanted and left out"
    counts = [label for label in chosen.labels if label.startswith("#:")]
    least = max((int(label[2:].rstrip("+")) for label in counts), default=0)
    if chosen.max_attackers is not None and chosen.max_attackers < least:
        yield "max_attackers", "labels", "fewer attackers are wanted than the label says"
    if "#:1" in counts and (chosen.min_attackers or 0) > 1:
        yield "min_attackers", "labels", "more attackers are wanted than the label says"
